"""The lab's sealer and witnesses: signed and witnessed logs, a signed backup, keys of their own."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from deployments.lab.dataset import events
from deployments.lab.environment import PROJECT, clean_environment
from deployments.lab.errors import LabError
from deployments.lab.postgres import binaries
from deployments.lab.stack import ORIGIN, Lab
from tasks.clients import sealer
from tasks.clients.errors import Denied, NotFound, Transient
from tasks.clients.object_store import ObjectStore
from tasks.domain.backups import read_manifest
from tasks.domain.errors import NotProven
from tasks.domain.facts import FactKind
from tasks.domain.ledger import NoteVerifier, Status, Trust, open_note
from tasks.sections.house import SealerSettings
from tasks.settings import settings
from tasks.work import anchors, journal, responder
from tasks.work.journal_verification import verify_journal
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tasks.work.sealing_order import order_sealing, prove_continues
from tests.conftest import RECORDS

pytestmark = pytest.mark.components


def test_the_backup_is_what_its_signed_manifest_says(patient: Lab) -> None:
    store = settings().store
    objects = ObjectStore(store)
    content = objects.get(store.backups_bucket, patient.backup_key)
    note = objects.get(store.backups_bucket, f"{patient.backup_key}.manifest").decode()
    objects.close()
    backup = read_manifest(
        open_note(note, [NoteVerifier.parse(patient.log_key)]), patient.backup_key
    )
    assert backup.sha256 == sha256(content).hexdigest()
    assert backup.size == len(content)
    assert backup.log_size == patient.backup_size == RECORDS * 9 // 10
    listed = subprocess.run(
        [binaries() / "pg_restore", "--list"], input=content, capture_output=True, check=True
    )
    assert b"TABLE DATA public audit_records" in listed.stdout


def test_the_log_is_sealed_to_its_end_and_sealing_goes_on(patient: Lab, api: httpx.Client) -> None:
    store = settings().store
    objects = ObjectStore(store)
    log = ObjectLog(objects, store.backups_bucket, store.audit_prefix)
    trust = Trust.in_key(patient.log_key, ORIGIN)
    assert latest_head(log, trust).checkpoint.size == RECORDS
    source = events(8)
    batch = {"events": [next(source) for _ in range(30)]}
    assert api.post("/api/v1/audit/records", json=batch).status_code == 200
    assert patient.seal_now() == RECORDS + 30
    assert latest_head(log, trust).checkpoint.size == RECORDS + 30
    objects.close()


@pytest.mark.usefixtures("patient")
def test_the_responder_cannot_write_what_the_sealer_signs() -> None:
    store = settings().store
    objects = ObjectStore(store)
    with pytest.raises(Denied):
        objects.put(store.backups_bucket, "audit-logs/checkpoints/9999", b"forged")
    objects.close()


def test_private_keys_are_readable_by_their_owner_alone(patient: Lab) -> None:
    names = [
        "sealer.key",
        "journal.key",
        "responder.key",
        "s3/identities.json",
        "cache/valkey.conf",
    ]
    for name in [*names, *(f"{witness.name}/witness.key" for witness in patient.witnesses)]:
        assert (patient.path / name).stat().st_mode & 0o077 == 0, name
    assert not any("PRIVATE+KEY" in value for value in patient.environment.values())
    known = patient.environment.values()
    assert not {str(patient.path / name) for name in ("sealer.key", "journal.key")} & set(known)


def add_records(api: httpx.Client, count: int, seed: int = 8) -> None:
    source = events(seed)
    batch = {"events": [next(source) for _ in range(count)]}
    assert api.post("/api/v1/audit/records", json=batch).status_code == 200


def post(patient: Lab, path: str, token: str | None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{patient.sealer.url}{path}", headers=headers, timeout=60)


@pytest.mark.parametrize("token", [None, "wrong", "\xe4" * 32])
def test_without_its_token_the_sealer_does_nothing(
    patient: Lab, api: httpx.Client, token: str | None
) -> None:
    add_records(api, 3)
    headers = {} if token is None else {b"Authorization": b"Bearer " + token.encode("latin-1")}
    answer = httpx.post(f"{patient.sealer.url}/seal/audit", headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (401, "Denied")
    wrong = SealerSettings(url=patient.sealer.url, token=SecretStr("wrong"))
    with pytest.raises(Denied):
        sealer.seal(wrong, "audit")
    assert patient.seal_now() == RECORDS + 3


@pytest.mark.parametrize("path", ["/seal/other", "/seal/", "/seal/audit/", "/other"])
def test_a_log_that_is_none_is_not_sealed(patient: Lab, path: str) -> None:
    answer = post(patient, path, patient.sealer.token)
    assert answer.status_code in {404, 502}
    assert answer.json()["error"] == "NotFound"
    with pytest.raises(NotFound):
        sealer.seal(patient.sealer.settings, "other")


def test_an_answer_is_proven_by_log_witnesses_store_and_anchor(
    patient: Lab, api: httpx.Client
) -> None:
    add_records(api, 30)
    head = order_sealing(LogName.AUDIT, settings())
    assert (head.checkpoint.size, head.added) == (RECORDS + 30, 30)
    assert set(head.witnesses) == {witness.name for witness in patient.witnesses}
    prove_continues(head, settings())
    assert order_sealing(LogName.AUDIT, settings()).added == 0


@pytest.mark.usefixtures("patient")
def test_sealings_asked_for_at_once_are_made_one_after_the_other(api: httpx.Client) -> None:
    add_records(api, 30)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(order_sealing, LogName.AUDIT, settings()) for _ in range(4)]
        heads = [each.result() for each in asked]
    assert sorted(each.added for each in heads) == [0, 0, 0, 30]
    assert len({each.note for each in heads}) == 1


def test_the_journal_is_sealed_as_the_audit_log_is(patient: Lab) -> None:
    for number in range(5):
        journal.append("INC-1", FactKind.NOTE, {"text": str(number)})
    head = order_sealing(LogName.JOURNAL, settings())
    prove_continues(head, settings())
    assert (head.checkpoint.size, head.checkpoint.origin) == (5, f"{ORIGIN}/journal")
    assert set(head.witnesses) == {witness.name for witness in patient.witnesses}
    journal.append("INC-1", FactKind.NOTE, {"text": "after"})
    assert journal_verdict() == (Status.VERIFIED, 5, set())
    assert order_sealing(LogName.JOURNAL, settings()).added == 1


def journal_verdict() -> tuple[Status, int, set[str]]:
    known = settings()
    log = ObjectLog(ObjectStore(known.store), *place_of(LogName.JOURNAL, known))
    dsn = known.responder.dsn.get_secret_value()
    verdict = verify_journal(dsn, log, trust_of(LogName.JOURNAL, known))
    codes = {each.code.value for each in verdict.findings} - {"UNSIGNED_TAIL"}
    return verdict.status, verdict.signed, codes


@pytest.mark.usefixtures("patient")
def test_a_fact_that_was_altered_or_lost_shows_and_is_not_sealed_over() -> None:
    for number in range(6):
        journal.append("INC-1", FactKind.NOTE, {"text": str(number)})
    order_sealing(LogName.JOURNAL, settings())
    with responder.connection() as connection:
        connection.execute("UPDATE journal SET line = line || ' ' WHERE seq = 2")
    assert journal_verdict() == (Status.TAMPERED, 6, {"MODIFIED", "NONCANONICAL"})
    with responder.connection() as connection:
        connection.execute("DELETE FROM journal WHERE seq = 5")
    assert journal_verdict() == (Status.TAMPERED, 6, {"MODIFIED", "NONCANONICAL", "TRUNCATED"})
    with pytest.raises(NotProven, match="5 of the 6"):
        order_sealing(LogName.JOURNAL, settings())


def test_the_sealers_login_reads_facts_and_nothing_else_of_the_responder(patient: Lab) -> None:
    dsn = patient.sealer_variables()["SEALER_JOURNAL_DSN"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        for statement in (
            "SELECT * FROM people",
            "SELECT * FROM notifications",
            "DELETE FROM journal",
            "INSERT INTO anchors (origin, size, note) VALUES ('o', 1, 'n')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_sealer_touches_no_evidence_but_the_journal(patient: Lab) -> None:
    store = settings().store
    client = patient.objects.client("sealer")
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.put_object(Bucket=store.evidence_bucket, Key="INC-1/manifest", Body=b"x")
    client.close()


def test_a_witness_that_knows_another_history_stops_the_sealer(
    patient: Lab, api: httpx.Client
) -> None:
    """As an attacker who rewrote the newest signed records and the object store would be."""
    add_records(api, 40)
    assert patient.seal_now() == RECORDS + 40
    client = patient.objects.client("operator")
    bucket = settings().store.backups_bucket
    for version in client.list_object_versions(Bucket=bucket, Prefix="audit-logs/")["Versions"]:
        if version["Key"].endswith(f"checkpoints/{RECORDS + 40}"):
            client.delete_object(Bucket=bucket, Key=version["Key"])
    client.close()
    with patient.patient.connect("rlhf_audit") as connection:
        connection.execute("DELETE FROM audit_records WHERE seq >= %s", (RECORDS + 20,))
    with pytest.raises(NotProven, match="contradicts the head"):
        order_sealing(LogName.AUDIT, settings())
    with pytest.raises(LabError, match="contradicts the head"):
        patient.seal_now()


def test_with_a_witness_away_the_sealer_says_which(patient: Lab, api: httpx.Client) -> None:
    add_records(api, 5)
    away = patient.witnesses[1]
    away.stop()
    with pytest.raises(Transient, match=away.url):
        order_sealing(LogName.AUDIT, settings())
    away.start(list(patient.trust_files.values()))
    assert patient.seal_now() == RECORDS + 5


@pytest.mark.slow
def test_a_sealer_killed_while_it_seals_leaves_the_old_head_or_the_new_one(
    patient: Lab, api: httpx.Client
) -> None:
    size = RECORDS
    for number, pause in enumerate((0.02, 0.1, 0.2, 0.35)):
        add_records(api, 50, seed=100 + number)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(post, patient, "/seal/audit", patient.sealer.token)
            time.sleep(pause)
            assert patient.sealer.child is not None
            patient.sealer.child.kill()
            assert asked.exception() is not None or asked.result().status_code == 200
        patient.sealer.stop()
        patient.sealer.start()
        size += 50
        assert patient.seal_now() == size
    trust = trust_of(LogName.AUDIT, settings())
    anchor = anchors.newest(trust)
    assert anchor is None or anchor.checkpoint.size <= size


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SEALER_KEY_FILE", "open.key", "chmod 600"),
        ("SEALER_KEY_FILE", "responder.key", "nobody would believe"),
        ("SEALER_KEY_FILE", "missing.key", "key file"),
        ("SEALER_TOKEN", "short", "SEALER_TOKEN"),
        ("SEALER_WITNESSES", "no json", "witnesses"),
        ("SEALER_TSA_URL", "http://127.0.0.1:1", "SEALER_TSA_ROOTS"),
        ("RUNBOOK_LEDGER__TRUST_FILE", "missing.toml", "missing.toml"),
    ],
)
def test_a_sealer_that_is_told_wrong_does_not_start(
    patient: Lab, name: str, value: str, told: str
) -> None:
    readable = patient.path / "open.key"
    readable.write_text((patient.path / "sealer.key").read_text())
    readable.chmod(0o644)
    told_value = str(patient.path / value) if "FILE" in name else value
    environment = {**clean_environment(), **patient.sealer_variables()}
    environment |= {"SEALER_TOKEN": "x" * 20, "SEALER_PORT": "8791", name: told_value}
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.sealer"],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    readable.unlink()
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "PRIVATE+KEY" not in ended.stderr
    assert "short" not in ended.stderr
