"""A cluster for each test, and clients of it."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY

Ask = Callable[[str], httpx.Client]


def client_of(cluster: Cluster, identity: str = "admin") -> httpx.Client:
    trust = ssl.create_default_context(cafile=str(cluster.authority))
    headers = {"Authorization": f"Bearer {cluster.tokens[identity]}", "User-Agent": "tests/1"}
    return httpx.Client(base_url=cluster.url, headers=headers, verify=trust, timeout=20)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """With the first release alone, which starts quicker."""
    with simulated_cluster(releases=HEALTHY[:1]) as running:
        yield running


@pytest.fixture
def ask(cluster: Cluster) -> Iterator[Ask]:
    """A client of the cluster, by identity."""
    with ExitStack() as stack:
        yield lambda identity: stack.enter_context(client_of(cluster, identity))


@pytest.fixture
def admin(ask: Ask) -> httpx.Client:
    return ask("admin")
