"""Restoring a database of 1 GB, beside what one would type by hand.

Run it: python -m pytest tests/benchmarks/bench_restore.py -rP. Two fifths of it are audit records,
the rest annotations. The peers load the same dump in the same minutes: `pg_restore -j2` with the
same session settings into the same server, and the runbook's plain way, `psql -f` into a server as
it comes.
"""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from deployments.lab.postgres import binaries
from tasks.clients import dump_tools, postgres
from tasks.clients.instance_limits import Limits
from tasks.clients.postgres_instance import Instance, throwaway
from tasks.domain.backups import Backup
from tasks.domain.ledger import GENESIS_PREV, NoteSigner, Trust
from tasks.domain.pace import Pace
from tasks.domain.restore import database_names
from tasks.work import soundness
from tasks.work.instance_place import instance_place
from tasks.work.log_heads import latest_head
from tasks.work.log_store import DirectoryLog
from tasks.work.recovery import Site
from tasks.work.restore import PROVING, restore_beside
from tasks.work.scratch_database import JOBS
from tasks.work.sealing import seal
from tests.benchmarks.figures import beside, show

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECORDS, ANNOTATIONS = 540_000, 1_250_000
ROUNDS = 3
BY_HAND, PROOF, PLAIN = 1.10, 0.25, 1 / 1.2
ORIGIN = "rlhf-audit-trail"
SIGNER = NoteSigner.from_seed("sealer.bench", b"s" * 32)
TRUST = Trust.in_key(SIGNER.verifier.encoded, ORIGIN)
ROLES = ("audit_owner", "audit_api", "audit_reader", "sealer")
SESSION = "-c synchronous_commit=off -c maintenance_work_mem=256MB"
DEFAULTS = {  # of a server as it comes, where a throw-away one has others
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
}
FILL_ANNOTATIONS = """
INSERT INTO audit_sessions SELECT 's' || n, 'policy-7b', now(), now(), now()
  FROM generate_series(1, 20000) n;
INSERT INTO annotations (event_id, session_id, annotator, reward, written, seconds, created_at)
SELECT md5(n::text), 's' || (n % 20000 + 1), 'anon-' || md5((n % 400)::text), n % 100 / 100.0,
       repeat(md5((n * 7)::text) || ' ', 8), n % 200, now()
  FROM generate_series(1, %d) n
"""


@dataclass
class Ground:
    """A server as it comes with the patient's database, its dumps, and the sealed log."""

    server: Instance
    custom: Path
    plain: Path
    log: DirectoryLog
    size: int

    def admin(self, statement: str) -> None:
        with postgres.connect(self.server.dsn("postgres"), timeout_seconds=10) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    home = tmp_path_factory.mktemp("restore")
    with ExitStack() as stack:
        place = stack.enter_context(instance_place("bench"))
        server = stack.enter_context(_server(place, DEFAULTS))
        server.create_database("rlhf_audit", "audit_owner")
        dsn = server.dsn("rlhf_audit", "audit_owner")
        schema = files("deployments.lab").joinpath("schema.sql").read_bytes()
        copy_in = "COPY audit_records (seq, record, leaf, event_type) FROM STDIN"
        with postgres.connect(dsn, timeout_seconds=10) as connection:
            connection.execute("SET search_path = public")
            connection.execute(schema)
            with connection.cursor().copy(copy_in) as copy:
                for row in records(RECORDS):
                    copy.write_row(row)
            connection.execute(FILL_ANNOTATIONS.replace("%d", str(ANNOTATIONS)).encode())
            asked = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        log = DirectoryLog(home / "log")
        seal(server.dsn("rlhf_audit", "sealer"), log, SIGNER, TRUST)
        custom, plain = home / "dump.custom", home / "dump.sql"
        _run("pg_dump", dsn, "--format=custom", "--compress=gzip:1", f"--file={custom}")
        _run("pg_dump", dsn, f"--file={plain}")
        assert asked is not None
        yield Ground(server, custom, plain, log, int(asked[0]))
        shutil.rmtree(home)


def _server(place: Path, settings: dict[str, str]):
    """A private server with the roles of the patient's."""
    server = throwaway(place, binaries=binaries(), settings=settings, limits=Limits(memory_mb=1024))

    class Roles:
        def __enter__(self) -> Instance:
            instance = server.__enter__()
            for role in ROLES:
                instance.create_role(role)
            return instance

        def __exit__(self, *error: object) -> None:
            server.__exit__(*error)

    return Roles()


def records(count: int) -> Iterator[tuple[int, bytes, bytes, str]]:
    """Chained lines of the lab's length and shape, made fast."""
    link = GENESIS_PREV
    for seq in range(count):
        number = hashlib.md5(str(seq).encode(), usedforsecurity=False).hexdigest()
        line = (
            f'{{"_prev":"{link}","data":{{"annotator":"anon-{number[:16]}","model":"policy-7b",'
            f'"noise":-1.430168,"preferred":"a","prompt_sha256":"{number}{number}",'
            f'"response_sha256":"{number[::-1]}{number}","reward":0.6299,"seconds":24.8}},'
            f'"event_id":"{number}","event_type":"annotation","origin":"{ORIGIN}","seq":{seq},'
            f'"session_id":"session-{number[:16]}","timestamp":"2026-03-02T06:00:02.951000+00:00"}}'
        ).encode()
        leaf = hashlib.sha256(b"\x00" + line).digest()
        yield seq, line, leaf, "annotation"
        link = leaf.hex()


def test_a_restore_beside_production_costs_little_more_than_pg_restore(ground: Ground) -> None:
    incident = "INC-20260314-030012-a1b2"
    names = database_names("rlhf_audit", incident)
    site = Site(
        incident=incident,
        names=names,
        dsn=ground.server.dsn("postgres"),
        owner="audit_owner",
        needed={"audit_api": ("SELECT", "INSERT")},
        log=ground.log,
        trust=TRUST,
        anchored=lambda _: None,
        binaries=binaries(),
    )
    backup = Backup(
        "database/x.dump", sha256="0" * 64, log_size=RECORDS, taken_at=datetime.now(UTC)
    )

    def restore() -> tuple[float, float]:
        """Seconds until everything is there, and of the proof after it."""
        head = latest_head(ground.log, TRUST)
        proving: list[float] = []

        def told(now: Pace) -> None:
            if now.what == PROVING:
                proving.append(time.perf_counter())

        began = time.perf_counter()
        restored = restore_beside(site, backup, ground.custom, head, lambda: None, told=told)
        assert (restored.signed, restored.replaced, restored.added) == (RECORDS, 0, 0)
        return proving[0] - began, time.perf_counter() - proving[0]

    def by_hand() -> None:
        ground.admin("CREATE DATABASE by_hand OWNER audit_owner TEMPLATE template0")
        dsn = ground.server.dsn("by_hand", "audit_owner")
        _run(
            "pg_restore", dsn, f"--jobs={JOBS}", "--no-owner", "--exit-on-error", str(ground.custom)
        )

    best = dict.fromkeys(("without", "proof", "by hand"), float("inf"))
    for _ in range(ROUNDS):
        spent = {"by hand": _timed(by_hand)}
        ground.admin("DROP DATABASE by_hand")
        spent["without"], spent["proof"] = restore()
        best = {name: min(best[name], spent[name]) for name in best}
        ground.admin(f"DROP DATABASE {names.scratch}")
        print({name: round(seconds, 2) for name, seconds in spent.items()})
    work = f"restore {ground.size / 1e9:.2f} GB"
    bare = f"{work}, without the proof"
    show(
        [
            beside(bare, best["without"], "pg_restore -j2", best["by hand"], BY_HAND),
            beside("the proof", best["proof"], "the restore", best["without"], PROOF),
        ]
    )


def test_a_restore_into_our_own_instance_is_faster_than_the_plain_way(ground: Ground) -> None:
    def plain() -> None:
        ground.admin("CREATE DATABASE by_psql OWNER audit_owner TEMPLATE template0")
        dsn = ground.server.dsn("by_psql")
        _run("psql", dsn, "--no-psqlrc", "--quiet", f"--file={ground.plain}", session="")

    def ours() -> None:
        with instance_place("bench") as place, _server(place, {}) as instance:
            instance.create_database("drill", "audit_owner")
            dsn = instance.dsn("drill", "audit_owner")
            dump_tools.restore_archive(
                ground.custom,
                dsn,
                role="audit_owner",
                jobs=JOBS,
                timeout_seconds=600,
                binaries=binaries(),
            )
            soundness.check(instance.dsn("drill"), binaries(), install=True).require()

    best = {"ours": float("inf"), "plain": float("inf")}
    for _ in range(ROUNDS):
        spent = {"plain": _timed(plain)}
        ground.admin("DROP DATABASE by_psql")
        spent["ours"] = _timed(ours)
        best = {name: min(best[name], spent[name]) for name in best}
        print({name: round(seconds, 2) for name, seconds in spent.items()})
    work = f"restore {ground.size / 1e9:.2f} GB into an instance of ours, with its start and checks"
    peer = "psql -f into a server as it comes"
    show([beside(work, best["ours"], peer, best["plain"], PLAIN)])


def _run(program: str, dsn: str, *arguments: str, session: str = SESSION) -> None:
    command = [str(binaries() / program), *arguments]
    if program == "pg_restore":
        command.insert(1, f"--dbname={postgres.environment(dsn)['PGDATABASE']}")
    subprocess.run(
        command,
        env={"PATH": os.defpath, **postgres.environment(dsn), "PGOPTIONS": session},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
