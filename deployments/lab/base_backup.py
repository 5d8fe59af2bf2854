"""A base backup of the patient with a signed manifest, as pg_basebackup takes it.

    python -m deployments.lab.base_backup

Environment: LAB_BASE_DSN (a login with REPLICATION), LAB_PG_BASEBACKUP (the program),
LAB_SEALER_DSN, LAB_SEALER_KEY_FILE, and the store as RUNBOOK_ settings with the sealer's own access
key. Prints the key of the base.
"""

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psycopg
import zstandard

from deployments.key_files import read_signer
from tasks.clients.object_store import ObjectStore
from tasks.clients.postgres import environment
from tasks.domain.backups import Backup, Kind
from tasks.domain.ledger import KeyType, NoteSigner, sign_note
from tasks.sections.systems import StoreSettings
from tasks.settings import Settings
from tasks.work.base_backups import BASE_TAR, MANIFEST, NOTE_SUFFIX, WAL_TAR

_LEVEL = 1
_SIZE = "SELECT coalesce(max(seq) + 1, 0) FROM audit_records"


def take(dsn: str, program: str, directory: Path) -> None:
    """Write base.tar, pg_wal.tar and backup_manifest of the server of `dsn` into `directory`."""
    subprocess.run(
        [
            *(program, f"--pgdata={directory}", "--format=tar", "--wal-method=stream"),
            *("--checkpoint=fast", "--manifest-checksums=SHA256", "--no-sync", "--no-password"),
        ],
        env={**os.environ, **environment(dsn)},
        check=True,
        timeout=600,
    )


def publish(
    store: ObjectStore, settings: StoreSettings, directory: Path, size: int, signer: NoteSigner
) -> Backup:
    """Compress, upload and sign what `take` wrote; the note last, because it promises the rest.

    `size`: records that the log had before it was taken.
    """
    now = datetime.now(UTC)
    key = f"{settings.base_prefix}{now:%Y%m%dT%H%M%S%f}Z"
    manifest = (directory / MANIFEST).read_bytes()
    for name in (BASE_TAR, WAL_TAR):
        compressed = directory / f"{name}.zst"
        with (directory / name).open("rb") as plain, compressed.open("wb") as target:
            zstandard.ZstdCompressor(level=_LEVEL).copy_stream(plain, target)
        store.put_file(settings.backups_bucket, f"{key}/{name}.zst", compressed)
    store.put(settings.backups_bucket, f"{key}/{MANIFEST}", manifest)
    digest = sha256(manifest).hexdigest()
    backup = Backup(key, len(manifest), digest, size, now, trusted=True, kind=Kind.BASE)
    note = sign_note(backup.manifest_text(), signer).encode()
    store.put(settings.backups_bucket, key + NOTE_SUFFIX, note)
    return backup


def main() -> None:
    """Look how long the log is, take the base, upload it."""
    settings = Settings().store
    with psycopg.connect(os.environ["LAB_SEALER_DSN"]) as connection:
        row = connection.execute(_SIZE).fetchone()
    store = ObjectStore(settings)
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        take(os.environ["LAB_BASE_DSN"], os.environ["LAB_PG_BASEBACKUP"], directory)
        signer = read_signer(Path(os.environ["LAB_SEALER_KEY_FILE"]), KeyType.LOG)
        base = publish(store, settings, directory, int(row[0]) if row else 0, signer)
    store.close()
    print(base.key)


if __name__ == "__main__":
    main()
