"""The patient's nightly backup: a dump with a signed manifest.

    python -m deployments.lab.backup

The manifest says how many records the log had in the very snapshot that was dumped. Environment:
LAB_SEALER_DSN, LAB_SEALER_KEY_FILE, LAB_PG_DUMP (the program), and the store as RUNBOOK_ settings
with the sealer's own access key. Prints the key of the dump.
"""

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psycopg

from deployments.key_files import read_signer
from tasks.clients.object_store import ObjectStore
from tasks.clients.postgres import environment
from tasks.domain.backups import DUMP_SUFFIX, MANIFEST_SUFFIX, Backup
from tasks.domain.ledger import KeyType, sign_note
from tasks.settings import Settings

_LEVEL = 1  # of gzip; the fastest that still halves hashes in hex
_SIZE = "SELECT coalesce(max(seq) + 1, 0), pg_export_snapshot() FROM audit_records"


def dump(dsn: str, program: str, file: Path) -> int:
    """Dump the database of `dsn` in custom format; the log's size in the dumped snapshot."""
    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        row = connection.execute(_SIZE).fetchone()
        if row is None:
            raise RuntimeError("expected the size of the log, found no row")
        subprocess.run(
            [
                *(program, "--format=custom", f"--compress=gzip:{_LEVEL}"),
                *(f"--snapshot={row[1]}", f"--file={file}", "--no-password"),
            ],
            env={**os.environ, **environment(dsn)},
            check=True,
            timeout=600,
        )
        return int(row[0])


def main() -> None:
    """Dump, sign, upload: the dump first, because a manifest promises that it is there."""
    settings = Settings()
    now = datetime.now(UTC)
    name = f"{settings.database.name}_backup_{now:%Y%m%d_%H%M%S}"
    key = f"{settings.store.database_prefix}{name}{DUMP_SUFFIX}"
    store = ObjectStore(settings.store)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"{name}{DUMP_SUFFIX}"
        size = dump(os.environ["LAB_SEALER_DSN"], os.environ["LAB_PG_DUMP"], file)
        content = file.read_bytes()
    backup = Backup(key, len(content), sha256(content).hexdigest(), size, now)
    store.put(settings.store.backups_bucket, key, content)
    signer = read_signer(Path(os.environ["LAB_SEALER_KEY_FILE"]), KeyType.LOG)
    manifest = sign_note(backup.manifest_text(), signer).encode()
    manifest_key = key.removesuffix(DUMP_SUFFIX) + MANIFEST_SUFFIX
    store.put(settings.store.backups_bucket, manifest_key, manifest)
    store.close()
    print(key)


if __name__ == "__main__":
    main()
