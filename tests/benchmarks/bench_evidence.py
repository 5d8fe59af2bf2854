"""A bag of evidence of the whole demo system, and one large stream through it.

Run it: python -m pytest tests/benchmarks/bench_evidence.py -rP. The peer of the first copies by
hand what is largest in it, the database's dump and the pods' logs, into plain files: unencrypted,
unsigned, without custody and into no store. The peer of the second uploads the same bytes with
boto3: unencrypted, unhashed, without a lock.
"""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.postgres import SUPERUSER, binaries
from deployments.lab.s3 import BACKUPS
from deployments.lab.stack import Lab, Options
from tasks.domain.facts import FactKind
from tasks.work import journal
from tests.benchmarks.figures import Row, beside, show

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RECORDS, PODS = 50_000, 10
LOG_BYTES = 100_000_000
STREAM_BYTES = 1_000_000_000
SECONDS, MEMORY_MB = 30.0, 300

_LINES, _LINE = 5_000, "INFO handled a request of an annotator in so many ms, and all was well; "

_EVIDENCE = """
import json, sys
from tasks.evidence import preserve_everything, preserve_volatile
incident = sys.argv[1]
preserve_volatile.fn(incident, 3, "a benchmark")
fact = preserve_everything.fn(incident, "*", 3, "a benchmark")
said = {"items": len(fact["items"]), "skipped": [each["id"] for each in fact["skipped"]],
        "bytes": sum(each["size"] for each in fact["items"])}
"""
_STREAM = """
import json, os, sys
from tasks.clients.object_store import ObjectStore
from tasks.domain.collection import Part, Volatility
from tasks.settings import settings
from tasks.work.bag_state import BagPlace
from tasks.work.evidence_bag import OpenBag
from tasks.work.evidence_pieces import as_stream, single
known, size = settings(), int(sys.argv[2])
block = os.urandom(1_000_000)
def blocks():
    for _ in range(size // len(block)):
        yield block
part = Part("disk.image", "A disk", Volatility.DISK)
place = BagPlace(sys.argv[1], "1", "a benchmark", known.evidence.recipients)
store = ObjectStore(known.store)
bag = OpenBag(place, store, known.store, known.evidence.item_bytes)
skipped = bag.collect([single(part, "a disk", "a disk", lambda: as_stream(blocks))])
said = {"items": len(bag.collected), "skipped": [each.id for each in skipped],
        "bytes": sum(each.plain_size for each in bag.collected.values())}
"""
_SAY = """
import re
from pathlib import Path
status = Path("/proc/self/status").read_text()
said["megabytes"] = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(Options(records=RECORDS, cluster=True, prefect=False, writer=False)) as running:
        cluster = running.cluster_life.cluster
        missing = PODS - len(cluster.pods())
        if missing > 0:
            cluster.add_deployment("bystanders", replicas=missing)
            running.cluster_life.until(lambda: len(cluster.pods()) >= PODS, 60.0)
        pods = [each["metadata"]["name"] for each in cluster.pods()]
        length = LOG_BYTES // len(pods) // _LINES
        line = (_LINE * (length // len(_LINE) + 1))[:length]
        for pod in pods:
            cluster.log(pod, *(line for _ in range(_LINES)))
        yield running


def test_all_evidence_of_the_demo_system_is_sealed_within_half_a_minute(
    lab: Lab, tmp_path: Path
) -> None:
    seconds, said = ours(_EVIDENCE, opened())
    by_hand = timed(lambda: copied_by_hand(lab, tmp_path))
    print(said)
    work = f"{RECORDS:,} records, {PODS} pods, {LOG_BYTES / 1e6:.0f} MB of logs sealed"
    by = {"peer": "pg_dump and logs into files", "theirs": by_hand}
    show(
        [
            Row(work, seconds, SECONDS, **by),
            Row(f"{work}, memory", said["megabytes"], MEMORY_MB, unit="MB"),
        ]
    )
    assert said["bytes"] > LOG_BYTES
    assert not {"database.dump", "cluster.logs", "log.sealed"} & set(said["skipped"])


def test_a_large_stream_goes_at_the_pace_of_the_store_in_flat_memory(
    lab: Lab, tmp_path: Path
) -> None:
    small = ours(_STREAM, opened(), str(STREAM_BYTES // 10))[1]
    seconds, said = ours(_STREAM, opened(), str(STREAM_BYTES))
    file = tmp_path / "stream"
    file.write_bytes(os.urandom(1_000_000) * (STREAM_BYTES // 1_000_000))
    plain = timed(lambda: uploaded(lab, file))
    work = f"{STREAM_BYTES / 1e9:.0f} GB encrypted, hashed and locked"
    show(
        [
            beside(work, seconds, "boto3 uploads the same bytes", plain, 2.5),
            Row(f"{work}, memory", said["megabytes"], MEMORY_MB, unit="MB"),
        ]
    )
    print(f"{small['megabytes']:.0f} MB for a tenth, {said['megabytes']:.0f} MB for all of it")
    assert said["bytes"] == STREAM_BYTES
    assert said["megabytes"] < small["megabytes"] + 64


def opened() -> str:
    """A new incident."""
    incident = f"INC-{uuid4().hex[:12]}"
    about = {"title": "breach", "component": "api", "procedure": "breach", "cause": "alert"}
    journal.append(incident, FactKind.OPENED, about)
    return incident


def ours(program: str, *arguments: str) -> tuple[float, dict[str, object]]:
    """Seconds of a process of its own, its start included, and what it says."""
    began = time.perf_counter()
    command = [sys.executable, "-c", program + _SAY, *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, timeout=600)
    spent = time.perf_counter() - began
    said = json.loads(ended.stdout.splitlines()[-1])
    assert isinstance(said, dict)
    return spent, said


def copied_by_hand(lab: Lab, to: Path) -> None:
    """`pg_dump` and `kubectl logs` of every pod."""
    dsn = lab.patient.dsn(SUPERUSER, DATABASE)
    command = [binaries() / "pg_dump", "-Fc", f"--file={to / 'dump'}", f"--dbname={dsn}"]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    cluster = lab.cluster_life.cluster
    headers = {"Authorization": f"Bearer {cluster.tokens['diagnose']}"}
    trusted = ssl.create_default_context(cafile=cluster.authority)
    with httpx.Client(
        base_url=cluster.url, headers=headers, verify=trusted, timeout=60, trust_env=False
    ) as client:
        for pod in cluster.pods():
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/log"
            (to / f"{name}.log").write_bytes(client.get(path).raise_for_status().content)


def uploaded(lab: Lab, file: Path) -> None:
    with closing(lab.objects.client("operator")) as client:
        client.upload_file(str(file), BACKUPS, "bench/stream")


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
