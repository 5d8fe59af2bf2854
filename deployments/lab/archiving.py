"""The patient's WAL into the object store, and base backups: what point in time needs.

    python -m deployments.lab.archiving

PostgreSQL copies each finished segment into a directory; this process, with the sealer's access
key, puts what it finds there into the store and removes it. Environment: LAB_WAL_DIRECTORY, and the
store as RUNBOOK_ settings.
"""

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import zstandard

from deployments.lab.environment import clean_environment
from deployments.lab.errors import LabError
from deployments.lab.postgres import PostgresServer, binaries
from deployments.lab.processes import Child, Processes
from tasks.clients.errors import Transient
from tasks.clients.object_store import ObjectStore
from tasks.clients.server_user import make_server_directory
from tasks.domain.wal import history_timeline
from tasks.sections.systems import StoreSettings
from tasks.settings import Settings

ROLE = "base_backup"
"""Login that may stream the patient's WAL and files, and read nothing else."""

_LEVEL = 1  # of zstd: an archiver must keep up
_LOOK_SECONDS = 0.1
_ARRIVAL_SECONDS = 60.0
_UNFINISHED = ".part"


def archive_options(directory: Path) -> dict[str, str]:
    """Settings of a server that copies its finished WAL into `directory`, whole or not at all.

    PostgreSQL removes what was archived: so the copy is on the disk before the command ends. One
    that is there already must be the same, or archiving fails; the store refuses others as well.
    """
    where = shlex.quote(str(directory)).replace("%", "%%")
    part, whole = f"{where}/%f{_UNFINISHED}", f"{where}/%f"
    copy = (
        f"if test -e {whole}; then cmp -s %p {whole}; "
        f"else cp %p {part} && sync {part} && mv {part} {whole} && sync {where}; fi"
    )
    return {"archive_mode": "on", "archive_command": copy, "archive_timeout": "60"}


def upload_archived(store: ObjectStore, settings: StoreSettings, directory: Path) -> int:
    """Put every finished file of the directory into the store, oldest first; how many."""
    names = sorted(each.name for each in directory.iterdir() if each.suffix != _UNFINISHED)
    for name in names:
        file = directory / name
        key, content = f"{settings.wal_prefix}{name}", file.read_bytes()
        if history_timeline(name) is None:
            key, content = f"{key}.zst", zstandard.ZstdCompressor(level=_LEVEL).compress(content)
        store.put(settings.backups_bucket, key, content)
        file.unlink()
    return len(names)


@dataclass(slots=True)
class Archiver:
    """The directory between server and store, and the process that empties it."""

    processes: Processes
    directory: Path
    child: Child | None = None

    def prepare(self) -> dict[str, str]:
        """Make the directory; the options that the server is to be started with."""
        make_server_directory(self.directory)
        return archive_options(self.directory)

    def start(self, store_environment: dict[str, str]) -> None:
        """Start to upload; nobody waits for the first file."""
        self.child = self.processes.start(
            "archiver",
            [sys.executable, "-m", "deployments.lab.archiving"],
            environment={
                **clean_environment(),
                **store_environment,
                "LAB_WAL_DIRECTORY": str(self.directory),
            },
        )

    def flush(self, server: PostgresServer) -> str:
        """Have archived and uploaded all that was committed so far; the last segment's name.

        The switch is a transaction of its own: one that commits after it would miss the archive.
        """
        with server.connect() as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            last = str(row[0]) if row else ""
            until = time.monotonic() + _ARRIVAL_SECONDS
            query = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
            while (row := connection.execute(query, (last,)).fetchone()) is None or not row[0]:
                if time.monotonic() > until:
                    raise LabError(f"expected WAL {last} to be archived, found it is not")
                time.sleep(0.05)
        while any(self.directory.iterdir()):
            if time.monotonic() > until:
                raise LabError(f"expected WAL up to {last} to be uploaded, found files left")
            time.sleep(0.05)
        return last


def base_variables(server: PostgresServer) -> dict[str, str]:
    """What the sealer's job `base_backup` needs to know of the server; makes its login."""
    if ROLE not in server.passwords:
        server.add_login(ROLE, "REPLICATION")
    return {
        "LAB_BASE_DSN": server.dsn(ROLE, "postgres"),
        "LAB_PG_BASEBACKUP": str(binaries() / "pg_basebackup"),
    }


def main() -> None:
    """Upload until ended; a store that is away is waited for, as PostgreSQL's own archiver does."""
    settings = Settings().store
    directory = Path(os.environ["LAB_WAL_DIRECTORY"])
    store = ObjectStore(settings)
    while True:
        try:
            upload_archived(store, settings, directory)
        except Transient as error:
            print(error, flush=True)
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
