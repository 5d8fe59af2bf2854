"""A simulated cluster with the StatefulSets of both servers, and a file system that grows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.lab import cluster_manifests
from deployments.lab.cluster_manifests import CLAIM, POSTGRES_POD
from deployments.lab.database_volume import DatabaseVolume
from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.pod_programs import postgres_pod, with_volume
from tasks.clients.pod_exec import Pod
from tasks.sections.systems import KubernetesSettings

DATA = "/var/lib/postgresql/data"
__all__ = ["CLAIM", "DATA"]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(
        releases=cluster_manifests.RELEASES[:1],
        inhabitants=cluster_manifests.inhabitants(DATA),
        usual=cluster_manifests.USUAL,
        live=True,
    ) as running:
        running.advance(30)
        yield running


@pytest.fixture
def volume(cluster: Cluster, tmp_path: Path) -> DatabaseVolume:
    """What `df` in the database's pod shows: nine tenths of the claim are in use."""
    made = DatabaseVolume(cluster, tmp_path / "volume", DATA)
    made.fill(0.9)
    made.beat()
    program = with_volume(postgres_pod(1), tmp_path / "programs", made.file)
    cluster.programs.by_pod[POSTGRES_POD] = program
    return made


@pytest.fixture
def settings_of_cluster(cluster: Cluster) -> KubernetesSettings:
    return KubernetesSettings(
        config_file=cluster.config_file,
        context="diagnose",
        remediate_context="remediate",
        timeout_seconds=10,
    )


@pytest.fixture
def database(cluster: Cluster) -> Pod:
    return Pod(cluster.namespace, POSTGRES_POD)
