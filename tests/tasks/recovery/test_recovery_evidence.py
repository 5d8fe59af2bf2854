"""The snapshot that gates every change: complete, locked, found again, and not to be removed."""

import json
import os
import resource
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard
from botocore.exceptions import ClientError

from deployments.lab.s3 import EVIDENCE
from tasks.clients.errors import Malformed
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Status
from tasks.domain.restore import incident_suffix
from tasks.sections.systems import StoreSettings
from tasks.work.evidence import Item, evidence_is_sealed, seal_snapshot
from tasks.work.log_store import ObjectLog
from tasks.work.verification import verify_log
from tests.tasks.recovery.conftest import SIZE, Patient

pytestmark = pytest.mark.components


@pytest.fixture
def incident(request: pytest.FixtureRequest) -> str:
    """One of the test's own: nothing can be removed from a locked bucket."""
    return f"INC-{abs(hash(request.node.name)):x}"


@pytest.fixture
def responders_settings(patient: Patient, store_settings: StoreSettings) -> StoreSettings:
    """The product's own identity, with no right to more than adding evidence."""
    key = patient.servers.s3.keys["responder"]
    names = {"access_key_id": key.key_id, "secret_access_key": key.secret}
    return StoreSettings(**(store_settings.model_dump() | names))


@pytest.fixture
def responders_store(responders_settings: StoreSettings) -> ObjectStore:
    return ObjectStore(responders_settings)


def sealed(
    patient: Patient, incident: str, store: ObjectStore, settings: StoreSettings, hold: int = 7
) -> list[Item]:
    dsn = patient.servers.postgres.dsn("audit_reader", "rlhf_audit")
    return seal_snapshot(incident, hold, dsn, patient.site.log, patient.head(), store, settings)


def test_table_segments_and_checkpoint_are_sealed_as_they_are(
    patient: Patient,
    incident: str,
    responders_store: ObjectStore,
    responders_settings: StoreSettings,
) -> None:
    patient.hurt("UPDATE audit_records SET record = 'tampered-with' WHERE seq = 5")

    items = sealed(patient, incident, responders_store, responders_settings)

    assert evidence_is_sealed(responders_store, EVIDENCE, [item.as_json() for item in items])
    names = {item.name: item for item in items}
    assert set(names) == {"checkpoint", f"segment 0-{2600}.jsonl.zst", "damaged table", "manifest"}
    packed = responders_store.get(EVIDENCE, names["damaged table"].key)
    copied = zstandard.ZstdDecompressor().stream_reader(packed).read()
    assert copied.startswith(b"PGCOPY\n\xff\r\n\x00")
    assert copied.count(b"tampered-with") == 1
    assert patient.genuine[SIZE - 1].record in copied
    assert patient.genuine[5].record not in copied
    manifest = json.loads(responders_store.get(EVIDENCE, names["manifest"].key))
    assert manifest["encrypted"] is False
    assert manifest["items"] == [item.as_json() for item in items[:-1]]
    assert "password" not in json.dumps(manifest)


def test_a_second_seal_finds_the_first_whatever_happened_since(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    first = sealed(patient, incident, store, store_settings)
    patient.hurt("DELETE FROM audit_records WHERE seq = 5")

    assert sealed(patient, incident, store, store_settings) == first


def test_what_is_held_for_later_damage_is_sealed_as_it_is_then_beside_the_first(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    first = sealed(patient, incident, store, store_settings)
    patient.hurt("DELETE FROM audit_records WHERE seq = 5")

    second = sealed(patient, incident, store, store_settings, hold=8)

    tables = [next(item for item in each if "table" in item.name) for each in (first, second)]
    assert tables[0].sha256 != tables[1].sha256
    assert not {item.key for item in first} & {item.key for item in second}
    for items in (first, second):
        assert evidence_is_sealed(store, EVIDENCE, [item.as_json() for item in items])


def half_sealed(store: ObjectStore, items: list[Item], incident: str, days: int) -> None:
    """What an attempt leaves that was killed before its manifest; unlocked with 0 days."""
    until = datetime.now(UTC) + timedelta(days=days) if days else None
    for item in items[:2]:
        key = f"evidence/{incident}/" + item.key.split("/", 2)[2]
        store.put(EVIDENCE, key, store.get(EVIDENCE, item.key), retain_until=until)


def test_a_seal_killed_before_its_manifest_is_completed(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    first = sealed(patient, incident, store, store_settings)
    half_sealed(store, first, f"{incident}-half", days=1)

    again = sealed(patient, f"{incident}-half", store, store_settings)

    assert [item.sha256 for item in again[:-1]] == [item.sha256 for item in first[:-1]]


def test_objects_that_lie_there_unlocked_are_no_evidence(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    first = sealed(patient, incident, store, store_settings)
    half_sealed(store, first, f"{incident}-open", days=0)

    with pytest.raises(NotProven, match="Object Lock"):
        sealed(patient, f"{incident}-open", store, store_settings)


def test_sealed_evidence_cannot_be_deleted_not_even_by_the_operator(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    items = sealed(patient, incident, store, store_settings)
    client = patient.servers.s3.client("operator")

    for item in items:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=EVIDENCE, Key=item.key, VersionId=item.version_id)

    assert evidence_is_sealed(store, EVIDENCE, [item.as_json() for item in items])
    client.close()


def test_a_hidden_or_overwritten_object_is_no_longer_sealed_evidence(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    items = sealed(patient, incident, store, store_settings)
    shown = [item.as_json() for item in items]
    client = patient.servers.s3.client("operator")

    client.put_object(
        Bucket=EVIDENCE, Key=items[0].key, Body=b"x", Metadata={"sha256": items[0].sha256}
    )
    assert not evidence_is_sealed(store, EVIDENCE, shown)
    assert evidence_is_sealed(store, EVIDENCE, shown[1:])
    client.delete_object(Bucket=EVIDENCE, Key=items[1].key)
    assert not evidence_is_sealed(store, EVIDENCE, shown[1:2])
    with pytest.raises(NotProven, match="tell security"):
        sealed(patient, incident, store, store_settings)
    client.close()


def test_no_items_or_wrong_ones_are_not_sealed_evidence(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    item = sealed(patient, incident, store, store_settings)[0].as_json()

    assert not evidence_is_sealed(store, EVIDENCE, [])
    assert not evidence_is_sealed(store, EVIDENCE, [item | {"sha256": "ab" * 32}])
    assert not evidence_is_sealed(store, EVIDENCE, [item | {"key": "evidence/none"}])
    assert not evidence_is_sealed(store, EVIDENCE, [{"name": "no key"}])


def test_a_bucket_without_object_lock_is_not_accepted(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    client = patient.servers.s3.client("operator")
    client.create_bucket(Bucket="no-lock-here")
    client.close()
    settings = store_settings.model_copy(update={"evidence_bucket": "no-lock-here"})

    with pytest.raises((NotProven, Malformed)):
        sealed(patient, incident, store, settings)


def test_a_missing_table_is_evidence_as_well(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    patient.hurt("DROP TABLE audit_records CASCADE")

    items = sealed(patient, incident, store, store_settings)

    assert "damaged table" not in {item.name for item in items}
    manifest = json.loads(store.get(EVIDENCE, items[-1].key))
    assert len(manifest["missing"]) == 1
    assert "has no public.audit_records" in manifest["missing"][0]


def test_evidence_is_locked_for_the_days_of_the_settings(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    settings = store_settings.model_copy(update={"retention_days": 3})

    items = sealed(patient, incident, store, settings)

    head = store.head(EVIDENCE, items[-1].key)
    assert head.retain_until is not None
    assert timedelta(days=2, hours=23) < head.retain_until - head.modified < timedelta(days=4)


def test_a_name_that_is_no_segment_stops_neither_evidence_nor_verification(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    client = patient.servers.s3.client("operator")
    client.create_bucket(Bucket="odd-names")
    for file in patient.log.rglob("*"):
        if file.is_file():
            key = f"log/{file.relative_to(patient.log)}"
            client.put_object(Bucket="odd-names", Key=key, Body=file.read_bytes())
    for odd in ("log/seg/\u00fc", "log/seg/a b.tmp", "log/checkpoints/2600 (copy)"):
        client.put_object(Bucket="odd-names", Key=odd, Body=b"x")
    client.close()
    log = ObjectLog(store, "odd-names", "log")
    reader = patient.servers.postgres.dsn("audit_reader", "rlhf_audit")

    verdict = verify_log(log, patient.site.trust)
    items = seal_snapshot(incident, 7, reader, log, patient.head(), store, store_settings)

    assert verdict.status is Status.VERIFIED
    assert [(each.code.value, each.count) for each in verdict.findings] == [
        ("STRAY", 2),
        ("STRAY", 1),
    ]
    names = {item.name for item in items}
    assert {"segment 0-2600.jsonl.zst", "segment a b.tmp", "damaged table"} <= names
    missing = json.loads(store.get(EVIDENCE, items[-1].key))["missing"]
    assert missing == ["1 names among the segments that cannot be read: 'seg/\\xfc'"]


def test_segments_pass_through_a_file_and_never_whole_through_memory(
    patient: Patient, incident: str, store: ObjectStore, store_settings: StoreSettings
) -> None:
    with (patient.log / "seg/0-65536.jsonl.zst").open("wb") as large:
        large.truncate(300 * 1024 * 1024)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    items = sealed(patient, incident, store, store_settings)

    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held  # KiB
    assert more < 250 * 1024
    assert 300 * 1024 * 1024 in {item.size for item in items}
    top = Path(tempfile.gettempdir()) / f"runbook-{os.getuid()}"
    assert top.is_dir()
    assert not (top / incident_suffix(incident)).exists()
