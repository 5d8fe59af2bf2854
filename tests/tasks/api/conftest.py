"""A cluster whose API serves, the sites that look at it and restart its pods, and the journal."""

from collections.abc import Iterator

import pytest

from deployments.lab.kubernetes.cluster import simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY
from deployments.lab.stack import Lab
from tests.tasks.api.restarts import Restarts, configure


@pytest.fixture
def restarts(patient: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restarts]:
    del patient
    with simulated_cluster(releases=HEALTHY, live=True) as cluster:
        for name, value in configure(cluster).items():
            monkeypatch.setenv(name, value)
        yield Restarts(cluster)
