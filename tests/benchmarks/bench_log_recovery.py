"""Bringing a log out of an S3 server, hashed while it comes, beside `aws s3 sync` and s5cmd.

Run it: python -m pytest tests/benchmarks/bench_log_recovery.py -rP. All three copy the same objects
of the same server into an empty directory, turn by turn, as processes of their own. The peers do
not hash what comes, and keep no state.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest

from tasks.clients.object_store import bulk_client
from tasks.sections.systems import StoreSettings
from tests.benchmarks.bulk_peers import environment, installed
from tests.benchmarks.figures import Row, beside, show
from tests.object_store_fixture import BUCKET

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SMALL = 20_000
SMALL_BYTES = 4096
SEGMENTS = 200
SEGMENT_BYTES = 10_062_310
"""What the sealer's zstd leaves of the first 65,536 records of the lab, 539 bytes each."""

MANY = 100_000
ROUNDS = 2
OF_S5CMD = 0.9
"""The share of its MB/s for segments, at least; what we write is hashed and proven besides."""

ON_ONE_MACHINE = 1.1
"""How much faster than s5cmd (small objects) and aws (segments) at least.

With the server on the same two cores its own work, two milliseconds of CPU for each object whoever
asks, bounds everybody: measured are 1.2 to 1.3 and 1.2 to 1.6. A server apart would leave more.
"""

MEMORY_MB = 300

_OURS = """
import json, re, sys, time
from pathlib import Path
from pydantic import SecretStr
from tasks.clients.bulk import BulkReader
from tasks.clients.local_folder import open_folder
from tasks.sections.systems import StoreSettings
from tasks.work.log_mirror import mirror
from tasks.work.recovery_state import RecoveryState
url, bucket, prefix, target = sys.argv[1:]
store = StoreSettings(endpoint_url=url, access_key_id=SecretStr("tester"),
                      secret_access_key=SecretStr("tester-secret"))
began = time.perf_counter()
with open_folder(Path(target)) as folder:
    done = mirror(BulkReader(store, bucket), prefix, folder, RecoveryState(folder, prefix))
status = Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's
print(json.dumps({
    "files": done.files, "fetched": done.fetched, "failed": len(done.failed),
    "seconds": time.perf_counter() - began,
    "megabytes": int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024,
}))
"""


class Bench:
    def __init__(self, settings: StoreSettings, place: Path) -> None:
        self.settings = settings
        self.place = place
        self.client = bulk_client(settings, BUCKET, seconds=120, retries=3)

    def fill(self, prefix: str, count: int, size: int) -> None:
        rest = os.urandom(size)

        def put(number: int) -> None:
            key = f"{prefix}{number // 1000:03d}/{number:06d}"
            obstore.put(self.client, key, number.to_bytes(8, "big") + rest[8:])

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, range(count)))

    def ours(self, prefix: str, target: Path) -> dict[str, float]:
        """One run of ours in a process of its own."""
        arguments = [self.settings.endpoint_url, BUCKET, prefix, str(target)]
        ended = subprocess.run(
            [sys.executable, "-c", _OURS, *arguments], check=True, capture_output=True
        )
        said = json.loads(ended.stdout)
        assert not said["failed"]
        return dict(said)

    def peers(self, prefix: str, target: Path) -> dict[str, list[object]]:
        """The command lines of the peers."""
        programs = installed()
        source = f"s3://{BUCKET}/{prefix}"
        endpoint = ("--endpoint-url", self.settings.endpoint_url)
        return {
            "aws s3 sync": [
                *(programs["aws s3 sync"], *endpoint, "s3", "sync", source, target, "--quiet")
            ],
            "s5cmd": [programs["s5cmd"], *endpoint, "cp", f"{source}*", f"{target}/"],
        }

    def aws_again(self, prefix: str, target: Path) -> float:
        """Seconds in which aws finds by sizes and times that our copy is whole; we hash it."""
        files = [each for each in target.rglob("*") if each.is_file()]
        for each in files:
            os.utime(each, (0, 0))  # what is newer than its object would be fetched
        line = [str(part) for part in self.peers(prefix, target)["aws s3 sync"]]
        home = environment(self.place)
        spent = _timed(lambda: subprocess.run(line, check=True, env=home))
        assert not any(each.stat().st_mtime for each in files)
        return spent


@pytest.fixture(scope="module")
def bench(store_settings: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(store_settings, tmp_path_factory.mktemp("bulk"))


def test_small_objects_come_faster_than_by_the_peers(bench: Bench) -> None:
    bench.fill("small/", SMALL, SMALL_BYTES)
    best = _turn_by_turn(bench, "small/", SMALL)
    target = bench.place / "again"
    bench.ours("small/", target)
    again = min(_timed(lambda: bench.ours("small/", target)) for _ in range(ROUNDS))
    assert bench.ours("small/", target)["fetched"] == 0
    peer_again = min(bench.aws_again("small/", target) for _ in range(ROUNDS))
    shutil.rmtree(target)
    work = f"{SMALL:,} objects of {SMALL_BYTES:,} bytes"
    show(
        [
            beside(work, best["ours"], "aws s3 sync", best["aws s3 sync"], 1 / 3),
            beside(work, best["ours"], "s5cmd", best["s5cmd"], 1 / ON_ONE_MACHINE),
            beside(f"{work}, nothing new", again, "aws s3 sync", peer_again, 1.0),
        ]
    )


def test_segments_come_at_the_pace_of_the_peers(bench: Bench) -> None:
    bench.fill("seg/", SEGMENTS, SEGMENT_BYTES)
    best = _turn_by_turn(bench, "seg/", SEGMENTS)
    work = f"{SEGMENTS * SEGMENT_BYTES / 1e9:.1f} GB of segments"
    show(
        [
            beside(work, best["ours"], "aws s3 sync", best["aws s3 sync"], 1 / ON_ONE_MACHINE),
            beside(work, best["ours"], "s5cmd", best["s5cmd"], 1 / OF_S5CMD),
        ]
    )


def test_a_hundred_thousand_objects_stay_within_the_memory(bench: Bench) -> None:
    bench.fill("many/", MANY, 64)
    target = bench.place / "many"
    first = bench.ours("many/", target)
    again = bench.ours("many/", target)
    shutil.rmtree(target)
    assert (first["fetched"], again["fetched"]) == (MANY, 0)
    most = max(first["megabytes"], again["megabytes"])
    show([Row(f"memory for {MANY:,} objects", most, MEMORY_MB, unit="MB")])


def _turn_by_turn(bench: Bench, prefix: str, count: int) -> dict[str, float]:
    """Best seconds of each, so that a busy moment of the machine meets all of them."""
    target = bench.place / "copy"
    home = bench.place / "home"
    home.mkdir(exist_ok=True)

    def ours() -> None:
        assert bench.ours(prefix, target)["fetched"] == count

    acts: dict[str, Callable[[], object]] = {"ours": ours}
    for name, line in bench.peers(prefix, target).items():
        acts[name] = lambda line=line: subprocess.run(
            list(map(str, line)), check=True, env=environment(home), stdout=subprocess.DEVNULL
        )
    spent: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(ROUNDS):
        for name, act in acts.items():
            spent[name].append(_timed(act))
            assert len([each for each in target.rglob("*") if each.is_file()]) >= count
            shutil.rmtree(target)
    print({name: [round(each, 2) for each in seconds] for name, seconds in spent.items()})
    return {name: min(seconds) for name, seconds in spent.items()}


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
