"""A fault does what it says, and the product's verification names exactly that."""

import httpx
import psycopg
import pytest

from deployments.lab.faults import FAULTS, notification
from deployments.lab.scenarios import SCENARIOS
from deployments.lab.stack import Lab
from deployments.lab.table_faults import table_dropped, tampered_records
from tasks.clients.object_store import ObjectStore
from tasks.domain.ledger import Code, Status, leaf_hash, parse_line
from tasks.settings import settings
from tasks.work.log_store import ObjectLog
from tasks.work.table_verification import verify_table
from tests.pristine import Pristine

pytestmark = pytest.mark.components


def _records(database: psycopg.Connection) -> dict[int, bytes]:
    return dict(database.execute("SELECT seq, record FROM audit_records").fetchall())


def test_tampering_is_found_record_by_record(
    patient: Lab, api: httpx.Client, database: psycopg.Connection
) -> None:
    before = _records(database)
    damage = tampered_records(patient)
    after = _records(database)
    assert sorted(before.keys() - after.keys()) == list(damage.deleted)
    assert sorted(seq for seq in after if after[seq] != before[seq]) == list(damage.modified)
    assert (len(damage.modified), len(damage.deleted)) == (7, 5)

    store = settings().store
    objects = ObjectStore(store)
    verdict = verify_table(
        patient.reader_dsn,
        ObjectLog(objects, store.backups_bucket, store.audit_prefix),
        settings().ledger.read_trust(),
    )
    objects.close()
    assert verdict.status is Status.TAMPERED
    found: dict[Code, set[int]] = {code: set() for code in (Code.MODIFIED, Code.DELETED)}
    for finding in verdict.findings:
        if finding.code in found and finding.first is not None:
            found[finding.code] |= set(range(finding.first, finding.first + finding.count))
    assert found == {Code.MODIFIED: set(damage.modified), Code.DELETED: set(damage.deleted)}

    seen = api.get("/api/v1/audit/integrity/verify", params={"full": True}).json()
    assert seen["anomalies_detected"] >= 12


def test_tampering_is_the_same_for_the_same_seed(pristine_patient: Pristine) -> None:
    patient = pristine_patient.restore()
    first = tampered_records(patient, seed=5)
    assert tampered_records(pristine_patient.restore(), seed=5) == first
    assert tampered_records(pristine_patient.restore(), seed=6) != first
    assert len(set(first.modified) | set(first.deleted)) == 12
    neighbours = [seq for seq in first.deleted if seq + 1 in first.deleted]
    assert neighbours
    assert max(first.deleted) >= patient.backup_size
    assert max(first.modified) >= patient.backup_size
    assert max(*first.deleted, *first.modified) < patient.sealed_size


def test_a_rewritten_record_keeps_its_place_and_its_old_hash(
    patient: Lab, database: psycopg.Connection
) -> None:
    damage = tampered_records(patient)
    row = database.execute(
        "SELECT record, leaf FROM audit_records WHERE seq = %s", (damage.modified[0],)
    ).fetchone()
    assert row is not None
    assert parse_line(row[0])["seq"] == damage.modified[0]
    assert leaf_hash(row[0]) != row[1]


def test_a_dropped_table_is_gone(patient: Lab, database: psycopg.Connection) -> None:
    assert table_dropped(patient).table
    row = database.execute("SELECT to_regclass('audit_records'), to_regclass('audit_events')")
    assert row.fetchone() == (None, None)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_each_fault_brings_an_alert_as_alertmanager_sends_it(name: str) -> None:
    fault = FAULTS[name]
    body = notification(fault)
    assert body["version"] == "4"
    (alert,) = body["alerts"]
    assert alert["labels"]["alertname"] == body["groupLabels"]["alertname"]
    assert {"severity", "category"} <= alert["labels"].keys()
    assert alert["fingerprint"] == notification(fault)["alerts"][0]["fingerprint"]


def test_each_fault_is_a_scenario() -> None:
    assert set(SCENARIOS) == set(FAULTS)
