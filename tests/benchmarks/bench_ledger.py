"""A million records of 435 bytes, beside the least that anybody must do: openssl dgst.

Run it: python -m pytest tests/benchmarks/bench_ledger.py -rP. Full verification checks every leaf,
every link, every tile and the signed root; openssl only hashes the file once. Turn by turn, so that
a busy moment of the machine meets all of them.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.domain.ledger import Checkpoint, MerkleTree, sign_checkpoint
from tasks.domain.ledger.localise import differing_leaves
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, pack
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tests.benchmarks.figures import Row, show
from tests.domain.ledger.sample_log import ORIGIN, SIGNER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the peer"),
]

RECORDS = 1_000_000
LINE_BYTES = 435
ROUNDS = 5
MOST_TIMES_OPENSSL = 14
MOST_OF_ONE_WORKER = 0.6
MOST_MEGABYTES = 250
MOST_COMPARISONS = 300

_HEAD = (
    b'{"_prev":"%b","data":{"note":"%b"},"event_id":"e%07d","event_type":"annotation","origin":"'
    + ORIGIN.encode()
    + b'","seq":%d,"session_id":"s%05d","timestamp":"2026-03-14T03:00:00+00:00"}'
)
_VERIFY = """
import json, resource, sys, time
from pathlib import Path
from tasks.domain.ledger import Trust
from tasks.work.log_directory import DirectoryLog
from tasks.work.verification import verify_log
if __name__ == "__main__":
    log, key, origin, workers = sys.argv[1:]
    began = time.perf_counter()
    verdict = verify_log(DirectoryLog(Path(log)), Trust.in_key(key, origin), workers=int(workers))
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


def _verify(log: Path, workers: int) -> tuple[float, float]:
    """Seconds and the largest process's megabytes, in a process of its own."""
    script = log.with_suffix(".py")
    script.write_text(_VERIFY)  # worker processes load it again, so it must be a file
    command = [sys.executable, script, log, SIGNER.verifier.encoded, ORIGIN, str(workers)]
    ended = subprocess.run(command, capture_output=True, check=True, text=True, cwd=Path.cwd())
    status, records, seconds, megabytes = json.loads(ended.stdout)
    assert (status, records) == ("verified", RECORDS), ended.stderr
    return float(seconds), float(megabytes)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _openssl(file: Path) -> None:
    subprocess.run(["openssl", "dgst", "-sha256", file], capture_output=True, check=True)


def test_a_million_records_are_verified_within_fourteen_times_openssl(log: Path) -> None:
    spent: dict[str, list[float]] = {"one": [], "two": [], "openssl": []}
    peaks = []
    for _ in range(ROUNDS):
        for name, workers in (("one", 1), ("two", 2)):
            seconds, megabytes = _verify(log, workers)
            spent[name].append(seconds)
            peaks.append(megabytes)
        spent["openssl"].append(_timed(lambda: _openssl(log.with_suffix(".jsonl"))))
    best = {name: min(seconds) for name, seconds in spent.items()}
    openssl, one, two = best["openssl"], best["one"], best["two"]
    work = f"verify {RECORDS:,} records"
    show(
        [
            Row(work, one, "openssl dgst -sha256", openssl, MOST_TIMES_OPENSSL * openssl),
            Row(f"{work}, two workers", two, "one worker", one, MOST_OF_ONE_WORKER * one),
        ]
    )
    print(f"largest process {max(peaks):.0f} MB, limit {MOST_MEGABYTES} MB")
    assert one < MOST_TIMES_OPENSSL * openssl
    assert two < MOST_OF_ONE_WORKER * one
    assert max(peaks) < MOST_MEGABYTES


def test_it_is_faster_than_pymerkle_which_only_builds_the_tree(log: Path) -> None:
    pymerkle = pytest.importorskip("pymerkle", reason="pymerkle is the peer")
    lines = log.with_suffix(".jsonl").read_bytes().split(b"\n")[: RECORDS // 10]

    def append_all() -> None:
        tree = pymerkle.InmemoryTree(algorithm="sha256")
        for line in lines:
            tree.append_entry(line)
        tree.get_root()

    peer = _timed(append_all) * (RECORDS / len(lines))
    ours, _ = _verify(log, 1)
    show([Row(f"verify {RECORDS:,} records", ours, "pymerkle, from a tenth", peer, peer)])
    assert ours < peer


def test_seven_damaged_of_a_million_are_localised_in_few_comparisons() -> None:
    leaves = b"".join(sha256(seq.to_bytes(8, "big")).digest() for seq in range(RECORDS))
    signed = MerkleTree(leaves)
    damaged = (0, 77_777, 77_778, 300_000, 524_288, 999_998, 999_999)
    changed = bytearray(leaves)
    for seq in damaged:
        changed[seq * 32] ^= 1
    found = differing_leaves(signed, MerkleTree(bytes(changed)))
    print(f"7 damaged of {RECORDS:,}: {found.compared} comparisons, limit {MOST_COMPARISONS}")
    assert found.leaves == damaged
    assert found.compared < MOST_COMPARISONS
