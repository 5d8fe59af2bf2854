"""Ten million records verified over two Dask workers, beside two plain processes.

Run it: python -m pytest tests/benchmarks/bench_shards.py -rP. Outside of `make bench` half a
million are enough to see whether it works; RUNBOOK_BENCH_RECORDS says how many.

What is hashed at both is the same, so the difference is what Dask costs: its messages, the tree
that each shard brings with it, and answers that are checked. Both have two processes; the workers
of the cluster run already, as they do in production, while the plain ones are started each time.
"""

import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tasks.domain.ledger import Checkpoint, MerkleTree, Status, sign_checkpoint
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, pack
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tasks.work.log_directory import DirectoryLog
from tasks.work.verification import verify_log
from tests.benchmarks.figures import beside, show
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, TRUST
from tests.tasks.dask_clusters import cluster, crew_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECORDS = int(
    os.environ.get("RUNBOOK_BENCH_RECORDS")
    or (10_000_000 if os.environ.get("RUNBOOK_BENCH") else 500_000)
)
LINE_BYTES = 435
ROUNDS = 3
WORKERS = 2
MOST_OF_PLAIN = 1.3
MOST_DISK_BYTES = 3 * 1024**3
_PACKED_AHEAD = 4

_HEAD = (
    b'{"_prev":"%b","data":{"note":"%b"},"event_id":"e%09d","event_type":"annotation","origin":"'
    + ORIGIN.encode()
    + b'","seq":%d,"session_id":"s%07d","timestamp":"2026-03-14T03:00:00+00:00"}'
)
_BARE = len(_HEAD % (b"0" * 64, b"", 0, 0, 0)) - 1
"""Bytes of a record without its note and its seq."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed log. Lines are chained one after the other; threads compress what is done."""
    root = tmp_path_factory.mktemp("shards") / "log"
    began = time.perf_counter()
    leaves = bytearray()
    with ThreadPoolExecutor(2) as pool:
        packed: deque[Future[None]] = deque()
        for first in range(0, RECORDS, SEGMENT_LINES):
            count = min(SEGMENT_LINES, RECORDS - first)
            lines = _lines(first, count, leaves)
            packed.append(pool.submit(_put_segment, root, Segment(first, count), lines))
            while len(packed) > _PACKED_AHEAD:
                packed.popleft().result()
        while packed:
            packed.popleft().result()
    tree = MerkleTree(bytes(leaves))
    for tile in tiles_of(RECORDS):
        _put(root / tile.path, tile_data(tree, tile))
    note = sign_checkpoint(Checkpoint(ORIGIN, RECORDS, tree.root()), SIGNER)
    _put(root / f"checkpoints/{RECORDS}", note.encode())
    stored = sum(each.stat().st_size for each in root.rglob("*") if each.is_file())
    print(f"{RECORDS:,} records in {stored:,} bytes, {time.perf_counter() - began:.0f} s to write")
    assert stored < MOST_DISK_BYTES
    return root


def _lines(first: int, count: int, leaves: bytearray) -> list[bytes]:
    """Records of 435 bytes, half of each noise, that go on after `leaves`, which grow by theirs."""
    prev = bytes(leaves[-32:]) or bytes(32)
    made = []
    for seq in range(first, first + count):
        link = prev.hex().encode()
        room = LINE_BYTES - _BARE - len(str(seq))
        made.append(_HEAD % (link, (link * 4)[:room], seq, seq, seq // 50))
        prev = sha256(b"\0" + made[-1]).digest()
        leaves += prev
    return made


def _put_segment(root: Path, segment: Segment, lines: list[bytes]) -> None:
    _put(root / segment.path, pack(lines))


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _timed(log: Path, **who: Any) -> float:
    began = time.perf_counter()
    verdict = verify_log(DirectoryLog(log), TRUST, **who)
    assert (verdict.status, verdict.records) == (Status.VERIFIED, RECORDS)
    return time.perf_counter() - began


def test_two_dask_workers_take_hardly_longer_than_two_processes(log: Path, tmp_path: Path) -> None:
    spent: dict[str, list[float]] = {"dask": [], "plain": []}
    with cluster(tmp_path / "dask", WORKERS) as started, crew_of(started, WORKERS) as crew:
        _timed(log, crew=crew)  # its workers load our code once, in production weeks before
        for _ in range(ROUNDS):  # turn by turn, so that a busy moment of the machine meets both
            spent["plain"].append(_timed(log, workers=WORKERS))
            spent["dask"].append(_timed(log, crew=crew))
        assert crew.again == []
    dask, plain = min(spent["dask"]), min(spent["plain"])
    work = f"verify {RECORDS:,} records, two Dask workers"
    show([beside(work, dask, "two processes", plain, MOST_OF_PLAIN)])
