"""A real cluster that archives its WAL into the real store, and bases of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import zstandard

from deployments.lab import base_backup
from deployments.lab.archiving import Archiver, base_variables, upload_archived
from deployments.lab.postgres import PATIENT, SUPERUSER, PostgresServer, binaries, init_cluster
from deployments.lab.processes import Processes
from tasks.clients.object_store import ObjectStore
from tasks.domain.backups import Backup
from tasks.domain.ledger import NoteSigner, sign_note
from tasks.sections.systems import StoreSettings
from tasks.work.base_backups import list_base, wal_archive
from tasks.work.point_in_time import Source

SIGNER = NoteSigner.from_seed("sealer.lab", b"s" * 32)


@dataclass
class Archived:
    """The cluster, and what of it lies in the store."""

    server: PostgresServer
    archiver: Archiver
    store: ObjectStore
    settings: StoreSettings
    times: dict[int, datetime] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        return Source(self.store, self.settings.backups_bucket, self.settings.wal_prefix)

    def note(self, number: int) -> datetime:
        """Commit a row of that number; a moment after it and before any other commit."""
        with self.server.connect("log") as connection:
            connection.execute("INSERT INTO notes VALUES (%s)", (number,))
        time.sleep(0.02)
        self.times[number] = datetime.now(UTC)
        time.sleep(0.02)
        return self.times[number]

    def switch(self) -> None:
        """Let the WAL so far go to the store, in this process: nothing goes on behind a test."""
        with self.server.connect() as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert row
            query = "SELECT coalesce(last_archived_wal, '') >= %s FROM pg_stat_archiver"
            until = time.monotonic() + 60
            while not (connection.execute(query, (row[0],)).fetchone() or [False])[0]:
                assert time.monotonic() < until, "not archived"
                time.sleep(0.02)
        upload_archived(self.store, self.settings, self.archiver.directory)

    def taken(self, directory: Path) -> Path:
        """What pg_basebackup writes of it."""
        variables = base_variables(self.server)
        directory.mkdir(parents=True)
        base_backup.take(variables["LAB_BASE_DSN"], variables["LAB_PG_BASEBACKUP"], directory)
        return directory

    def published(self, taken: Path) -> Backup:
        """Signed and uploaded, as the catalogue lists it."""
        key = base_backup.publish(self.store, self.settings, taken, 0, SIGNER).key
        return self.listed(key)

    def exchanged(self, genuine: Backup, manifest: bytes) -> Backup:
        """A base with the signature of `genuine` and another backup_manifest."""
        bucket, key = self.settings.backups_bucket, f"{genuine.key}x"
        for stored in self.store.list(bucket, f"{genuine.key}/"):
            name = stored.key.removeprefix(genuine.key)
            content = self.store.get(bucket, stored.key)
            self.store.put(bucket, key + name, manifest if "manifest" in name else content)
        note = sign_note(replace(genuine, key=key).manifest_text(), SIGNER)
        self.store.put(bucket, f"{key}.manifest", note.encode())
        return self.listed(key)

    def base(self, directory: Path) -> Backup:
        """Take and publish one."""
        return self.published(self.taken(directory))

    def listed(self, key: str) -> Backup:
        archive = wal_archive(self.store, self.settings.backups_bucket, self.settings.wal_prefix)
        found = list_base(
            self.store,
            self.settings.backups_bucket,
            self.settings.base_prefix,
            [SIGNER.verifier],
            archive,
        )
        return next(each for each in found if each.key == key)

    def segments(self) -> list[str]:
        """Keys of the archive, oldest first."""
        stored = self.store.list(self.settings.backups_bucket, self.settings.wal_prefix)
        return [each.key for each in stored]

    def copied(
        self, prefix: str, *, without: str = "", damaged: str = "", position: int = 0
    ) -> Source:
        """A source whose archive lacks a segment, or has it with a bit changed at `position`."""
        bucket = self.settings.backups_bucket
        for key in self.segments():
            if key == without:
                continue
            content = self.store.get(bucket, key)
            name = key.removeprefix(self.settings.wal_prefix)
            if key == damaged:
                content = _flipped(content, position)
            self.store.put(bucket, f"{prefix}{name}", content)
        return replace(self.source, wal_prefix=prefix)


def _flipped(content: bytes, position: int) -> bytes:
    plain = bytearray(zstandard.ZstdDecompressor().decompress(content, 1 << 25))
    plain[position] ^= 1
    return zstandard.ZstdCompressor(level=1).compress(bytes(plain))


@contextmanager
def archived_cluster(
    processes: Processes, home: Path, store: ObjectStore, settings: StoreSettings
) -> Iterator[Archived]:
    """A new cluster with an empty table, archiving from the start."""
    archiver = Archiver(processes, home / "wal-out")
    init_cluster(processes, home / "archived", "lab-superuser")
    options = PATIENT | archiver.prepare() | {"archive_timeout": "0"}
    server = PostgresServer(
        "archived", home / "archived", processes, options, {SUPERUSER: "lab-superuser"}
    )
    server.start()
    try:
        with server.connect() as connection:
            connection.execute("CREATE DATABASE log")
        with server.connect("log") as connection:
            connection.execute("CREATE TABLE notes (number int PRIMARY KEY)")
        yield Archived(server, archiver, store, settings)
    finally:
        server.stop()


def numbers(dsn: str) -> list[int]:
    """What a recovered instance has."""
    with psycopg.connect(dsn) as connection:
        return [n for (n,) in connection.execute("SELECT number FROM notes ORDER BY 1").fetchall()]


__all__ = ["SIGNER", "Archived", "archived_cluster", "binaries", "numbers"]
