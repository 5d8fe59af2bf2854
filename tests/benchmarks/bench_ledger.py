"""Two million records of 435 bytes, beside the least that anybody must do: openssl dgst.

Run it: python -m pytest tests/benchmarks/bench_ledger.py -rP. Full verification checks every leaf,
every link and the signed root; of a sealed log also every tile and checkpoint, and it unpacks the
segments. openssl only hashes the plain lines once. Turn by turn, so that a busy moment of the
machine meets all of them.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from deployments.lab.environment import PROJECT
from tasks.domain.ledger import Checkpoint, MerkleTree, sign_checkpoint
from tasks.domain.ledger.kernel import KERNEL, WHY_NOT_NATIVE
from tasks.domain.ledger.localise import differing_leaves
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, pack
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tests.benchmarks.figures import Row, beside, show
from tests.domain.ledger.sample_log import ORIGIN, SIGNER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the peer"),
]

RECORDS = 2_000_000
LINE_BYTES = 435
ROUNDS = 5
MOST_TIMES_OPENSSL = 1.5
MOST_TIMES_OPENSSL_SEALED = 2.2
MOST_TIMES_OPENSSL_WITHOUT_C = 14
MOST_OF_ONE_WORKER = 1.1
"""One process uses two cores already, and a second one has to start first."""

MOST_MEGABYTES = 200
DAMAGED_OF = 1_000_000
MOST_COMPARISONS = 300

_HEAD = (
    b'{"_prev":"%b","data":{"note":"%b"},"event_id":"e%07d","event_type":"annotation","origin":"'
    + ORIGIN.encode()
    + b'","seq":%d,"session_id":"s%05d","timestamp":"2026-03-14T03:00:00+00:00"}'
)
_VERIFY = """
import json, resource, sys, time
from pathlib import Path
if "without-c" in sys.argv:
    sys.modules["tasks.domain.ledger._kernel"] = None
from tasks.domain.ledger import Trust
from tasks.domain.ledger.kernel import KERNEL
from tasks.work.heap import keep_freed_memory
from tasks.work.log_directory import DirectoryLog
from tasks.work.reading_ahead import ahead
from tasks.work.verification import verify_log, verify_rows
def batches(file):
    seq, rest = 0, b""
    while piece := file.read(1 << 20):
        lines, rest = KERNEL.split(rest + piece, 1 << 62, 1 << 20)
        yield range(seq, seq + len(lines)), lines
        seq += len(lines)
if __name__ == "__main__":
    log, key, origin, workers = sys.argv[1:5]
    trust = Trust.in_key(key, origin)
    began = time.perf_counter()
    if "lines" in sys.argv:
        keep_freed_memory()
        with Path(log).with_suffix(".jsonl").open("rb") as file:
            verdict = verify_rows(ahead(batches(file), 4), DirectoryLog(Path(log)), trust)
    else:
        verdict = verify_log(DirectoryLog(Path(log)), trust, workers=int(workers))
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's, before exec
    own = int(status.partition("VmHWM:")[2].split()[0])
    peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print(json.dumps([verdict.status.value, verdict.records, seconds, peak / 1024]))
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sealed log, and beside it the same lines in one file."""
    root = tmp_path_factory.mktemp("ledger") / "log"
    leaves: list[bytes] = []
    with root.with_suffix(".jsonl").open("wb") as flat:
        for first in range(0, RECORDS, SEGMENT_LINES):
            count = min(SEGMENT_LINES, RECORDS - first)
            lines = []
            for seq in range(first, first + count):
                lines.append(_line(seq, leaves[-1] if leaves else bytes(32)))
                leaves.append(sha256(b"\0" + lines[-1]).digest())
            _put(root / Segment(first, count).path, pack(lines))
            flat.write(b"\n".join(lines) + b"\n")
    tree = MerkleTree(leaves)
    for tile in tiles_of(RECORDS):
        _put(root / tile.path, tile_data(tree, tile))
    note = sign_checkpoint(Checkpoint(ORIGIN, RECORDS, tree.root()), SIGNER)
    _put(root / f"checkpoints/{RECORDS}", note.encode())
    return root


def _line(seq: int, prev: bytes) -> bytes:
    """A record of 435 bytes; half of it is noise, which no compression takes away."""
    bare = _HEAD % (prev.hex().encode(), b"", seq, seq, seq // 50)
    noise = (prev * 3).hex().encode()
    return _HEAD % (
        prev.hex().encode(), noise[: LINE_BYTES - len(bare)], seq, seq, seq // 50
    )  # fmt: skip


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _verify(log: Path, *how: str) -> tuple[float, float]:
    """Seconds and the largest process's megabytes, in a process of its own; workers first."""
    script = log.with_suffix(".py")
    script.write_text(_VERIFY)  # worker processes load it again, so it must be a file
    command = [sys.executable, script, log, SIGNER.verifier.encoded, ORIGIN, *how]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(command, capture_output=True, check=True, text=True, env=env)
    status, records, seconds, megabytes = json.loads(ended.stdout)
    assert (status, records) == ("verified", RECORDS), ended.stderr
    return float(seconds), float(megabytes)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _openssl(file: Path) -> None:
    subprocess.run(["openssl", "dgst", "-sha256", file], capture_output=True, check=True)


WAYS = {"lines": ("1", "lines"), "one": ("1",), "two": ("2",), "without C": ("1", "without-c")}


def test_two_million_records_are_verified_within_one_and_a_half_times_openssl(log: Path) -> None:
    if KERNEL.name == "hashlib":
        pytest.skip(f"the limit is that of the C kernel: {WHY_NOT_NATIVE}")
    spent, peaks = _measured(log, "lines", "one", "two")
    openssl, one, two = spent["openssl"], spent["one"], spent["two"]
    lines, work = f"verify {RECORDS:,} plain lines", f"verify a sealed log of {RECORDS:,} records"
    peer = "openssl dgst -sha256"
    show(
        [
            beside(lines, spent["lines"], peer, openssl, MOST_TIMES_OPENSSL),
            beside(work, one, peer, openssl, MOST_TIMES_OPENSSL_SEALED),
            beside(f"{work}, two workers", two, "one worker", one, MOST_OF_ONE_WORKER),
            Row(f"{work}, the largest process", peaks, MOST_MEGABYTES, unit="MB"),
        ]
    )


def test_without_our_c_they_take_fourteen_times_openssl_at_most(log: Path) -> None:
    spent, peaks = _measured(log, "without C")
    openssl, ours = spent["openssl"], spent["without C"]
    work = f"verify a sealed log of {RECORDS:,} records by hashlib"
    show([beside(work, ours, "openssl dgst -sha256", openssl, MOST_TIMES_OPENSSL_WITHOUT_C)])
    assert peaks < MOST_MEGABYTES


def _measured(log: Path, *ways: str) -> tuple[dict[str, float], float]:
    """The best seconds of each way and of openssl, and the largest process's megabytes."""
    spent: dict[str, list[float]] = {name: [] for name in (*ways, "openssl")}
    peaks = []
    for _ in range(ROUNDS):
        for name in ways:
            seconds, megabytes = _verify(log, *WAYS[name])
            spent[name].append(seconds)
            peaks.append(megabytes)
        spent["openssl"].append(_timed(lambda: _openssl(log.with_suffix(".jsonl"))))
    return {name: min(seconds) for name, seconds in spent.items()}, max(peaks)


def test_it_is_faster_than_pymerkle_which_only_builds_the_tree(log: Path) -> None:
    pymerkle = pytest.importorskip("pymerkle", reason="pymerkle is the peer")
    lines = log.with_suffix(".jsonl").read_bytes().split(b"\n")[: RECORDS // 20]

    def append_all() -> None:
        tree = pymerkle.InmemoryTree(algorithm="sha256")
        for line in lines:
            tree.append_entry(line)
        tree.get_root()

    peer = _timed(append_all) * (RECORDS / len(lines))
    ours, _ = _verify(log, "1")
    show([beside(f"verify {RECORDS:,} records", ours, "pymerkle, from a twentieth", peer, 1.0)])


def test_seven_damaged_of_a_million_are_localised_in_few_comparisons() -> None:
    leaves = b"".join(sha256(seq.to_bytes(8, "big")).digest() for seq in range(DAMAGED_OF))
    signed = MerkleTree(leaves)
    damaged = (0, 77_777, 77_778, 300_000, 524_288, 999_998, 999_999)
    changed = bytearray(leaves)
    for seq in damaged:
        changed[seq * 32] ^= 1
    found = differing_leaves(signed, MerkleTree(bytes(changed)))
    work = f"7 damaged of {DAMAGED_OF:,} found"
    show([Row(work, found.compared, MOST_COMPARISONS, unit="comparisons")])
    assert found.leaves == damaged
