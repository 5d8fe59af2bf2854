"""Valkey and its pod: what happens to one happens to the other. Real processes, simulated pods."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.lab import cluster_manifests
from deployments.lab.cache import CacheServer
from deployments.lab.cluster_manifests import REDIS, REDIS_POD, REDIS_SET
from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.processes import Processes
from deployments.lab.server_pods import Ailing, ServerPods
from deployments.lab.state import StateDirectory
from deployments.lab.work_queue import WorkQueue

pytestmark = pytest.mark.components

SECONDS = 30.0


class Coupled:
    """A cluster that lives, Valkey, and the beat that couples them."""

    def __init__(self, cluster: Cluster, cache: CacheServer) -> None:
        self.cluster = cluster
        self.queue = WorkQueue(cache.url)
        self.notes: list[str] = []
        self.pods = ServerPods(REDIS, cache, cluster, self.notes.append, alone=True)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()

    def _beat(self) -> None:
        while not self._end.wait(0.05):
            self.pods.beat()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        self.queue.close()

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < end, self.notes
            time.sleep(0.02)


@pytest.fixture
def coupled(state_path: Path, tmp_path: Path) -> Iterator[Coupled]:
    directory = StateDirectory.take(state_path)
    processes = Processes(directory)
    cache = CacheServer(state_path / "cache", processes)
    cache.start()
    with simulated_cluster(
        releases=cluster_manifests.RELEASES[:1],
        inhabitants=cluster_manifests.inhabitants("/data"),
        usual=cluster_manifests.USUAL,
        live=True,
        place=tmp_path,
    ) as cluster:
        found = Coupled(cluster, cache)
        yield found
        found.stop()
    processes.stop_all()
    directory.release()


def _is_ready(coupled: Coupled) -> bool:
    return len(coupled.pods.ready()) == 1


def test_a_hanging_server_answers_nobody_until_its_pod_is_another(coupled: Coupled) -> None:
    coupled.until(lambda: _is_ready(coupled) and coupled.queue.is_up())
    coupled.queue.put(3)
    coupled.pods.ail([REDIS_POD])
    coupled.until(lambda: not _is_ready(coupled) and not coupled.queue.is_up())
    events = [
        each["message"] for each in coupled.cluster.items("events") if each["reason"] == "Unhealthy"
    ]
    assert any("deadline exceeded" in each for each in events)
    coupled.cluster.delete("pods", REDIS_POD)
    coupled.until(lambda: _is_ready(coupled) and coupled.queue.is_up())
    assert coupled.queue.depth() == 0, "it came back empty"


def test_a_server_that_is_gone_is_away_and_its_pod_stays(coupled: Coupled) -> None:
    coupled.until(lambda: _is_ready(coupled))
    (before,) = coupled.cluster.pods(REDIS)
    coupled.pods.ail([], Ailing.GONE)
    coupled.until(lambda: not _is_ready(coupled) and not coupled.queue.is_up())
    (after,) = coupled.cluster.pods(REDIS)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["phase"] == "Running"
    coupled.pods.recover()
    coupled.until(lambda: _is_ready(coupled) and coupled.queue.is_up())


def test_without_a_pod_there_is_no_server(coupled: Coupled) -> None:
    coupled.until(lambda: _is_ready(coupled))
    coupled.cluster.change("statefulsets", REDIS_SET, {"spec": {"replicas": 0}})
    coupled.until(lambda: not coupled.queue.is_up())
    assert coupled.cluster.pods(REDIS) == []
    coupled.cluster.change("statefulsets", REDIS_SET, {"spec": {"replicas": 1}})
    coupled.until(lambda: _is_ready(coupled) and coupled.queue.is_up())


def test_workers_drain_the_queue_and_what_arrives_faster_stays(coupled: Coupled) -> None:
    coupled.until(coupled.queue.is_up)
    queue = coupled.queue
    queue.arriving, queue.per_worker = 0.0, 5.0
    queue.put(100)
    assert queue.depth() == 100
    for _ in range(10):
        queue.beat(1.0, workers=2)
    assert queue.depth() == 0
    queue.arriving = 40.0
    for _ in range(10):
        queue.beat(1.0, workers=2)
    assert queue.depth() == 300
    for _ in range(10):
        queue.beat(1.0, workers=8)
    assert queue.depth() == 300
    for _ in range(10):
        queue.beat(1.0, workers=14)
    assert queue.depth() == 0
