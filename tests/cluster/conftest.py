"""One system for the whole file: making one in a real cluster takes a minute."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deployments.lab.cache import CacheServer
from deployments.lab.kubernetes.pod_programs import postgres_pod, redis_pod
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from tests.cluster.options import RealCluster, real_cluster
from tests.cluster.systems import System, host_of, real_system, simulated_system
from tests.room import open_place


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only these tests, and only when a cluster was named, may leave loopback: to its server."""
    real = real_cluster(config)
    if real is None:
        return
    allowed = pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1", host_of(real)])
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(allowed)


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> RealCluster | None:
    return real_cluster(request.config)


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, real: RealCluster | None) -> Iterator[System]:
    with tempfile.TemporaryDirectory(dir=open_place(), prefix="cluster-test-") as directory:
        if real is not None:
            with real_system(real, Path(directory)) as running:
                yield running
            return
        server: str = request.getfixturevalue("postgres_server")
        port = int(psycopg.conninfo.conninfo_to_dict(server)["port"])
        processes = Processes(StateDirectory.take(Path(directory)))
        try:
            cache = CacheServer(Path(directory) / "cache", processes)
            cache.start()
            tools = Path(directory) / "programs"
            programs = {
                "postgres-pod": postgres_pod(port),
                "redis-pod": redis_pod(tools, cache.port, cache.password),
            }
            with simulated_system(programs) as running:
                yield running
        finally:
            processes.stop_all()
