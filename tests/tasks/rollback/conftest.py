"""A cluster whose newest release does not start, the site that mends it, and the journal."""

from collections.abc import Iterator

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY, RECORDED
from deployments.lab.stack import Lab
from tests.tasks.rollback.releases import Releases, configure


@pytest.fixture
def broken(patient: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    """Three revisions; the last one has a missing image and ran into its deadline."""
    del patient
    with simulated_cluster(releases=RECORDED, live=True) as cluster:
        yield prepared(cluster, monkeypatch)


@pytest.fixture
def serving(patient: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    """Three revisions, a day apart; the last one serves."""
    del patient
    with simulated_cluster(releases=HEALTHY, live=True) as cluster:
        yield prepared(cluster, monkeypatch)


def prepared(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Releases:
    for name, value in configure(cluster).items():
        monkeypatch.setenv(name, value)
    return Releases(cluster)
