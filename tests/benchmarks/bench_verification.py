"""Verification of records in PostgreSQL, beside the least that anybody would have to do.

Run it: python -m pytest tests/benchmarks/bench_verification.py -rP. The peers hash the same bytes
from the same server and prove nothing: no chain, no tree, no signature. psql only throws the rows
away.
"""

import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from deployments.lab.stack import Lab, Options
from tasks.clients.object_store import ObjectStore
from tasks.domain.ledger import Status
from tasks.settings import settings
from tasks.work.log_store import ObjectLog
from tasks.work.table_verification import verify_table
from tests.benchmarks.figures import Row, beside, show

pytestmark = pytest.mark.slow

RECORDS = 300_000
LIMIT_SECONDS = 2.0
LEAST_OF_PSQL = 0.6
"""Of its rows a second."""

WORKERS = 2
ROUNDS = 5
_PSQL = "psql COPY to /dev/null"
_COPY_ALL = "COPY (SELECT seq, record FROM audit_records ORDER BY seq) TO STDOUT (FORMAT BINARY)"
_COPY = "COPY (SELECT record FROM audit_records ORDER BY seq) TO STDOUT (FORMAT BINARY)"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(Options(records=RECORDS, prefect=False, writer=False, checked_per_second=0)) as lab:
        yield lab


def test_the_table_is_verified_at_more_than_half_the_speed_of_reading_it(
    lab: Lab, tmp_path: Path
) -> None:
    store = settings().store
    objects = ObjectStore(store)
    log = ObjectLog(objects, store.backups_bucket, store.audit_prefix)
    trust = settings().ledger.read_trust()

    def ours(workers: int) -> None:
        verdict = verify_table(lab.reader_dsn, log, trust, workers=workers)
        assert (verdict.status, verdict.records) == (Status.VERIFIED, RECORDS)

    # turn by turn, so that a busy moment of the machine meets all of them
    ways = {
        "one connection": lambda: ours(1),
        "two connections": lambda: ours(WORKERS),
        "psycopg and hashlib": lambda: _hashlib(lab.reader_dsn),
    }
    if shutil.which("psql"):
        ways[_PSQL] = lambda: _psql(lab.reader_dsn)
    if shutil.which("openssl"):
        ways["psycopg and openssl dgst"] = lambda: _openssl(lab.reader_dsn, tmp_path / "records")
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, act in ways.items():
            spent[name].append(_timed(act))
    objects.close()
    best = {name: min(seconds) for name, seconds in spent.items()}
    one, two = best.pop("one connection"), best.pop("two connections")
    work = f"verify a table of {RECORDS:,} records"
    psql = best.pop(_PSQL, None)
    rows = [beside(f"{work}, one connection", one, peer, best[peer], 1.0) for peer in best]
    for way, seconds in (("one connection", one), ("two connections", two)):
        if psql is None:
            rows.append(Row(f"{work}, {way}", seconds, LIMIT_SECONDS))
        else:
            rows.append(beside(f"{work}, {way}", seconds, _PSQL, psql, 1 / LEAST_OF_PSQL))
    show(rows)


def _psql(dsn: str) -> None:
    """The rows, thrown away by C code on one connection."""
    subprocess.run(["psql", dsn, "-qc", _COPY_ALL], stdout=subprocess.DEVNULL, check=True)


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _records(dsn: str) -> Iterator[bytes]:
    """The sealed lines as they are stored, in order."""
    with psycopg.connect(dsn) as connection, connection.cursor().copy(_COPY) as copy:
        copy.set_types(["bytea"])
        for (record,) in copy.rows():
            yield record


def _hashlib(dsn: str) -> None:
    """Every line hashed by itself, as somebody would who wrote the check in an afternoon."""
    assert len({hashlib.sha256(record).digest() for record in _records(dsn)}) == RECORDS


def _openssl(dsn: str, file: Path) -> None:
    """The same bytes in one file, hashed as a whole by C code alone."""
    with file.open("wb") as target:
        target.writelines(_records(dsn))
    subprocess.run(["openssl", "dgst", "-sha256", file], capture_output=True, check=True)
