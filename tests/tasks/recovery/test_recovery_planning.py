"""A plan says what the writers could not tell, and outlives the hourly sealing."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from tasks.domain.ledger import Checkpoint
from tasks.domain.recovery_target import Target
from tasks.domain.restore_loss import will_be_lost
from tasks.sections.systems import ApiSettings
from tasks.work import planning
from tasks.work.log_heads import Head
from tasks.work.looking import looking
from tasks.work.sealing import seal
from tests.clients.loopback import answering, http, sending
from tests.tasks.recovery.conftest import BACKUP, NAMES, ORIGIN, SIGNED, SIGNER, SIZE, Patient

pytestmark = pytest.mark.components

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
HEAD = json.dumps({"size": SIGNED, "leaf": "ab" * 32}).encode()
NOBODY = ApiSettings(url="http://127.0.0.1:9", timeout_seconds=1)
LATEST = Target()


def observed(patient: Patient, planned: dict[str, Any], head: Head | None = None) -> dict[str, Any]:
    """What is so now, of what a plan was made against."""
    content = str(planned["backup_content"])
    return planning.observed_state(
        patient.site, head or patient.head(), patient.backup, LATEST, content=content
    )


def oid_of(patient: Patient) -> int:
    with patient.servers.postgres.connect() as admin:
        query = "SELECT oid FROM pg_database WHERE datname = %s"
        row = admin.execute(query, (NAMES.production,)).fetchone()
    assert row is not None
    return int(row[0])


def looked(patient: Patient, target: Target = LATEST) -> planning.Situation:
    inside = looking(patient.site, patient.head(), lambda *_: patient.archive)
    return planning.look(patient.site, [patient.backup], NOBODY, target, inside)


def test_an_api_that_does_not_answer_or_lacks_the_head_cannot_be_asked() -> None:
    assert planning.ask_writers(NOBODY) is None
    with answering(sending(NOT_FOUND)) as port:
        api = ApiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=5)
        assert planning.ask_writers(api) is None


def test_a_dropped_table_whose_writers_are_silent_needs_two_approvers(patient: Patient) -> None:
    readable = looked(patient)
    patient.hurt("DROP TABLE audit_records CASCADE")

    lost = looked(patient)

    assert (readable.numbers.unsigned_tail, readable.numbers.approvers_needed) == (SIZE - SIGNED, 1)
    assert lost.numbers.approvers_needed == 2
    for each in (readable, lost):
        assert each.numbers.will_be_lost.startswith("unknown: the writers could not be asked")


def test_a_seal_after_the_plan_does_not_make_it_stale_and_another_database_does(
    patient: Patient,
) -> None:
    planned = looked(patient).observed
    dsn = patient.servers.postgres.dsn("sealer", NAMES.production)
    assert seal(dsn, patient.site.log, SIGNER, patient.site.trust).checkpoint.size == SIZE

    assert observed(patient, planned) == planned

    patient.servers.admin(f"ALTER DATABASE {NAMES.production} RENAME TO rlhf_audit_elsewhere")
    patient.servers.admin(f"CREATE DATABASE {NAMES.production} OWNER audit_owner")
    assert observed(patient, planned) == planned | {"production_oid": oid_of(patient)}
    assert observed(patient, planned) != planned


def test_a_head_that_no_longer_reaches_to_the_backup_makes_the_plan_stale(
    patient: Patient,
) -> None:
    planned = looked(patient).observed
    shorter = Head(Checkpoint(ORIGIN, BACKUP - 1, bytes(32)), "")

    assert observed(patient, planned, shorter) == planned | {"backup_is_signed": False}


def test_other_rules_for_other_tables_make_the_plan_stale(patient: Patient) -> None:
    planned = looked(patient).observed
    site = replace(patient.site, rules=patient.site.rules.only_listed())
    content = str(planned["backup_content"])

    found = planning.observed_state(site, patient.head(), patient.backup, LATEST, content=content)

    assert {name for name in found if found[name] != planned[name]} == {"reconciliation_rules"}


def test_an_unsigned_backup_is_planned_with_the_bytes_that_were_looked_into(
    patient: Patient,
) -> None:
    planned = looked(patient).observed
    assert planned["backup_content"] == sha256(patient.archive.read_bytes()).hexdigest()
    newer = replace(patient.backup, sha256="", taken_at=None)
    other = planning.observed_state(patient.site, patient.head(), newer, LATEST)
    assert other["backup_identity"] != planned["backup_identity"]


@pytest.mark.parametrize("answer", [DENIED, HTML], ids=["denied", "html"])
def test_an_api_that_refuses_us_or_answers_nonsense_keeps_nobody_from_a_restore(
    patient: Patient, answer: bytes
) -> None:
    with answering(sending(answer)) as port:
        api = ApiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=5)
        inside = looking(patient.site, patient.head(), lambda *_: patient.archive)
        found = planning.look(patient.site, [patient.backup], api, LATEST, inside)

    assert found.extent.table_readable
    assert found.numbers.approvers_needed == 2
    assert found.numbers.will_be_lost.startswith("unknown: the writers did not say intelligibly")
    assert found.numbers.doubt


def test_without_the_living_database_rows_are_lost_and_two_must_say_yes(patient: Patient) -> None:
    patient.servers.drop_all()
    with answering(sending(http(200, HEAD))) as port:
        api = ApiSettings(url=f"http://127.0.0.1:{port}", timeout_seconds=5)
        inside = looking(patient.site, patient.head(), lambda *_: patient.archive)
        found = planning.look(patient.site, [patient.backup], api, LATEST, inside)

    assert found.numbers.acknowledged_known
    assert found.numbers.approvers_needed == 2
    lost = will_be_lost(found.choice, found.numbers)
    assert "on no list: the living database is gone" in lost
