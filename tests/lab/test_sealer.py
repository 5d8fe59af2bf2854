"""The sealer's jobs: a signed log, a signed backup, and a key that nobody else has."""

import subprocess
from hashlib import sha256

import httpx
import pytest

from deployments.lab.dataset import events
from deployments.lab.postgres import binaries
from deployments.lab.stack import ORIGIN, Lab
from tasks.clients.errors import Denied
from tasks.clients.object_store import ObjectStore
from tasks.domain.ledger import NoteVerifier, Trust, open_note
from tasks.domain.restore import read_manifest
from tasks.settings import settings
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
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
    for name in ("sealer.key", "responder.key", "s3/identities.json", "cache/valkey.conf"):
        assert (patient.path / name).stat().st_mode & 0o077 == 0, name
    assert not any("PRIVATE+KEY" in value for value in patient.environment.values())
    assert str(patient.path / "sealer.key") not in patient.environment.values()
