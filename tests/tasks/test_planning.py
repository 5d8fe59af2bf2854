"""What a recovery is planned against: nothing that is being written counts as missing."""

import json
import socket
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from tasks.clients.object_store import ObjectStore
from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backups import Backup
from tasks.domain.carry_over import WritersHead
from tasks.domain.errors import NotProven
from tasks.domain.ledger import NoteVerifier
from tasks.domain.recovery_target import Target
from tasks.sections.systems import ApiSettings
from tasks.settings import settings
from tasks.work import planning
from tasks.work.backup_places import StorePlace
from tasks.work.catalogue import look_at
from tasks.work.log_store import ObjectLog
from tasks.work.recovery import Site, site_of
from tests.clients import loopback
from tests.clients.loopback import answering, sending

pytestmark = pytest.mark.components

INCIDENT = "INC-20260314-030012-a1b2"
LEAF = "ab" * 32


@pytest.fixture
def site(patient: Lab) -> Site:
    assert patient.patient.child is not None
    store = settings().store
    log = ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    return site_of(INCIDENT, log, settings())


@pytest.fixture
def backups(patient: Lab) -> list[Backup]:
    store = settings().store
    keys = [NoteVerifier.parse(patient.log_key)]
    place = StorePlace(ObjectStore(store), store.backups_bucket, store.database_prefix)
    return look_at(place, keys)


def unseen(backup: Backup) -> Contents:
    return Contents(Inside.CLEAN, size=backup.log_size)


def api_at(port: int) -> ApiSettings:
    return ApiSettings(url=f"http://127.0.0.1:{port}", token=SecretStr("t"), timeout_seconds=5)


def head_of(size: object, leaf: object = LEAF) -> bytes:
    return loopback.http(200, json.dumps({"size": size, "leaf": leaf}).encode())


def write(lab: Lab, first: int, count: int) -> None:
    """Rows as if the API had appended them."""
    with lab.patient.connect(DATABASE) as connection:
        connection.execute(
            "INSERT INTO audit_records (seq, record, leaf, event_type)"
            " SELECT seq, '{}', %s, '' FROM generate_series(%s::bigint, %s) AS seq",
            (bytes.fromhex(LEAF), first, first + count - 1),
        )


def test_records_that_are_written_while_we_look_are_not_missing(
    patient: Lab, site: Site, backups: list[Backup]
) -> None:
    size = patient.options.records

    def answer(connection: socket.socket) -> None:
        write(patient, size, 7)  # acknowledged at the very moment that we ask
        connection.sendall(head_of(size + 7))

    with answering(answer) as port:
        found = planning.look(site, backups, api_at(port), Target(), unseen)
    assert (found.extent.end, found.numbers.size_after) == (size + 7, size + 7)
    assert (found.numbers.unsigned_tail, found.numbers.lost_at_most) == (7, 0)


def test_records_that_were_acknowledged_and_are_not_there_are_missing(
    patient: Lab, site: Site, backups: list[Backup]
) -> None:
    size = patient.options.records
    write(patient, size, 5)
    with answering(sending(head_of(size + 9))) as port:
        found = planning.look(site, backups, api_at(port), Target(), unseen)
    assert (found.numbers.size_after, found.numbers.lost_at_most) == (size + 9, 4)
    assert f"{size}..{size + 8}" in found.numbers.will_be_lost


def test_without_an_api_the_table_itself_says_how_much_there_is(
    patient: Lab, site: Site, backups: list[Backup]
) -> None:
    write(patient, patient.options.records, 3)
    patient.api.stop()
    found = planning.look(site, backups, settings().api, Target(), unseen)
    assert found.numbers.size_after == patient.options.records + 3
    assert found.numbers.lost_at_most == 0


def test_what_must_still_be_so_names_database_and_backup(
    patient: Lab, site: Site, backups: list[Backup]
) -> None:
    def observed() -> dict[str, Any]:
        return planning.look(site, backups, settings().api, Target(), unseen).observed

    before = observed()
    assert before["backup"] == patient.backup_key
    assert observed() == before
    write(patient, patient.options.records, 3)
    assert observed() == before  # production may go on writing
    with patient.patient.connect() as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER audit_owner")
    assert {name for name, value in observed().items() if value != before[name]} == {
        "production_oid"
    }


@pytest.mark.usefixtures("patient")
def test_without_a_backup_that_is_proven_there_is_no_plan(site: Site) -> None:
    stranger = Backup("database/x.dump", unusable="its manifest bears no signature of ours")
    with pytest.raises(NotProven, match="bears no signature"):
        planning.look(site, [stranger], settings().api, Target(), unseen)


def test_the_labs_api_says_what_it_acknowledged(patient: Lab) -> None:
    with patient.patient.connect(DATABASE) as connection:
        row = connection.execute("SELECT leaf FROM audit_records ORDER BY seq DESC LIMIT 1")
        (leaf,) = row.fetchone() or (b"",)
    assert planning.ask_writers(settings().api) == WritersHead(patient.options.records, leaf)


@pytest.mark.parametrize(
    ("size", "leaf"),
    [
        (-1, LEAF),
        (1 << 62, LEAF),
        (True, LEAF),
        (1.5, LEAF),
        ("7", LEAF),
        (None, LEAF),
        (7, None),
        (7, ""),
        (7, "ab" * 31),
        (7, "zz" * 32),
        (7, ["ab"]),
    ],
)
def test_writers_who_talk_nonsense_are_not_taken_for_writers_who_are_silent(
    size: object, leaf: object
) -> None:
    with answering(sending(head_of(size, leaf))) as port:
        assert planning.hear_writers(api_at(port)).doubt.startswith("expected")
        assert planning.ask_writers(api_at(port)) is None


def test_writers_who_do_not_answer_are_silent_and_who_refuse_us_are_doubted() -> None:
    for status in (404, 503):
        with answering(sending(loopback.http(status, b"{}"))) as port:
            assert planning.hear_writers(api_at(port)) == planning.Heard(None)
    for answer in (loopback.http(401, b"{}"), loopback.http(200, b"<html>"), b"SSH-2.0\r\n"):
        with answering(sending(answer)) as port:
            assert planning.ask_writers(api_at(port)) is None
    with answering(sending(loopback.http(401, b"{}"))) as port:
        assert planning.hear_writers(api_at(port)).doubt
