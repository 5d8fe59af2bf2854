"""A base backup and 100 WAL segments from the object store, beside the same done by hand.

Run it: python -m pytest tests/benchmarks/bench_point_in_time.py -rP. By hand everything lies on the
local disk already, uncompressed: tar, pg_verifybackup, restore_command='cp', the same settings.
Ours has both in the store, compressed, and fetches, unpacks and checks each segment.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from deployments.lab.processes import Processes
from deployments.lab.s3 import BACKUPS, ObjectServer
from deployments.lab.state import StateDirectory
from tasks.clients.object_store import ObjectStore
from tasks.clients.postgres import connect
from tasks.clients.postgres_instance import Instance, unstarted
from tasks.clients.server_user import give_to_server, server_uid
from tasks.domain.backups import Backup
from tasks.domain.recovery_target import Target
from tasks.sections.systems import StoreSettings
from tasks.work.instance_place import instance_place
from tasks.work.point_in_time import recovered
from tests.benchmarks.figures import beside, show
from tests.tasks.recovery.archived import Archived, archived_cluster, binaries

pytestmark = [pytest.mark.slow, pytest.mark.components, pytest.mark.timeout(900)]

SEGMENTS = 100
ROUNDS = 3
LIMIT = 1.3
_TABLE = """
CREATE TABLE events (seq bigint PRIMARY KEY, record bytea NOT NULL, leaf bytea NOT NULL, kind text);
CREATE INDEX ON events (kind)
"""
_ROWS = 10_000  # in one transaction
_APPEND = """
INSERT INTO events SELECT n, convert_to(repeat(md5(n::text), 20), 'UTF8'),
       sha256(n::text::bytea), 'kind ' || n %% 50
  FROM generate_series(%s::bigint, %s::bigint) n
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Archived]:
    directory = StateDirectory.take()
    directory.clear()
    processes = Processes(directory)
    try:
        s3 = ObjectServer(directory.path / "s3", processes)
        s3.start()
        key = s3.keys["operator"]
        settings = StoreSettings(
            endpoint_url=s3.url,
            access_key_id=key.key_id,
            secret_access_key=key.secret,
            backups_bucket=BACKUPS,
        )
        store = ObjectStore(settings)
        with archived_cluster(processes, directory.path, store, settings) as made:
            yield made
        store.close()
    finally:
        processes.stop_all()
        directory.clear()
        directory.release()


def test_point_in_time_takes_little_longer_than_by_hand_with_everything_on_the_disk(
    cluster: Archived,
) -> None:
    with cluster.server.connect("log") as connection:
        connection.execute(_TABLE)
    base, taken = filled(cluster)
    spent: dict[str, list[float]] = {"ours": [], "by hand": []}
    with instance_place("local") as local:
        wal = on_the_disk(cluster, local)
        expected = _rows(cluster.server.dsn("postgres", "log"))
        for _ in range(ROUNDS):
            spent["by hand"].append(by_hand(taken, wal, expected))
            spent["ours"].append(ours(cluster, base, expected))
    print(spent)
    best = {name: min(seconds) for name, seconds in spent.items()}
    work = f"point in time: a base and {SEGMENTS} WAL segments from the store"
    show([beside(work, best["ours"], "by hand, all on the local disk", best["by hand"], LIMIT)])


def filled(cluster: Archived) -> tuple[Backup, Path]:
    """A base with some rows, then rows until 100 segments have been archived."""
    first = 0
    with cluster.server.connect("log") as connection:
        for _ in range(10):
            connection.execute(_APPEND, (first, first + _ROWS - 1))
            first += _ROWS
        cluster.switch()
        before = len(cluster.segments())
        directory = cluster.archiver.directory.parent / "base"
        taken = cluster.taken(directory)
        base = cluster.published(taken)
        position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint / 16777216"
        last = _number(connection.execute(position).fetchone()) + SEGMENTS
        while _number(connection.execute(position).fetchone()) < last:
            connection.execute(_APPEND, (first, first + _ROWS - 1))
            first += _ROWS
    cluster.switch()
    assert len(cluster.segments()) >= before + SEGMENTS
    return base, taken


def on_the_disk(cluster: Archived, place: Path) -> Path:
    """The archive as plain files that the server's user may read."""
    wal = place / "plain"
    wal.mkdir(mode=0o755)
    for key in cluster.segments():
        file = wal / Path(key).name.removesuffix(".zst")
        content = cluster.store.get(BACKUPS, key)
        file.write_bytes(zstandard.ZstdDecompressor().decompress(content, 1 << 25))
        file.chmod(0o644)
    return wal


def ours(cluster: Archived, base: Backup, expected: int) -> float:
    began = time.monotonic()
    with (
        instance_place("bench") as place,
        recovered(base, Target(), place, source=cluster.source, binaries=binaries()) as found,
    ):
        seconds = time.monotonic() - began
        assert found.wal_segments >= SEGMENTS
        assert _rows(found.instance.dsn("log")) == expected
    return seconds


def by_hand(taken: Path, wal: Path, expected: int) -> float:
    settings = {
        "hot_standby": "off",
        "archive_mode": "off",
        "restart_after_crash": "off",
        "timezone": "UTC",
        "restore_command": f'cp {wal}/%f "%p"',
    }
    began = time.monotonic()
    with (
        instance_place("hand") as place,
        unstarted(place, binaries=binaries(), settings=settings) as instance,
    ):
        _untar(taken / "base.tar", instance.data)
        _untar(taken / "pg_wal.tar", instance.data / "pg_wal")
        manifest = instance.directory / "backup_manifest"
        manifest.write_bytes((taken / "backup_manifest").read_bytes())
        if (uid := server_uid()) is not None:
            os.chown(manifest, uid, uid)
        verify(instance, manifest)
        (instance.data / "postgresql.auto.conf").write_text("")
        (instance.data / "recovery.signal").touch()
        give_to_server(instance.data / "recovery.signal")
        instance.start(instance.settings)
        seconds = time.monotonic() - began
        assert _rows(instance.dsn("log")) == expected
    return seconds


def verify(instance: Instance, manifest: Path) -> None:
    instance.run("pg_verifybackup", "--quiet", f"--manifest-path={manifest}", str(instance.data))


def _untar(tar: Path, target: Path) -> None:
    with tar.open("rb") as content:
        uid = server_uid()
        subprocess.run(
            ["tar", "-x", "-C", target],
            stdin=content,
            check=True,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )


def _rows(dsn: str) -> int:
    with connect(dsn, timeout_seconds=30) as connection:
        return _number(connection.execute("SELECT count(*) FROM public.events").fetchone())


def _number(row: object) -> int:
    assert isinstance(row, tuple)
    return int(row[0])
