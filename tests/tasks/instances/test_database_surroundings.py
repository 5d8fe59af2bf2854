"""The real database with its pod beside it: what is read of both, and of one of them alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.lab import cluster_manifests
from deployments.lab.cluster_manifests import CLAIM, POSTGRES_POD
from deployments.lab.database_volume import DatabaseVolume
from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.pod_programs import postgres_pod, with_volume
from deployments.lab.postgres import SUPERUSER
from deployments.lab.stack import Lab
from tasks.clients.pod_exec import Pod
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import diagnose
from tasks.domain.database_limits import GIB
from tasks.domain.database_readings import DatabaseReadings, Unread
from tasks.domain.inside import Answer
from tasks.domain.storage_plan import STORAGE, StoragePolicy
from tasks.sections.systems import KubernetesSettings, MetricsSettings
from tasks.settings import settings
from tasks.work import database_remedies
from tasks.work.database_remedies import Site
from tasks.work.database_surroundings import Surroundings
from tests.tasks.database.clients import impatient

pytestmark = pytest.mark.components

TARGET = "database/rlhf_audit"


@pytest.fixture
def beside(patient: Lab, tmp_path: Path) -> Iterator[tuple[Cluster, DatabaseVolume]]:
    """The cluster in which the patient's files lie on a claim, nine tenths full."""
    data = str(patient.path / "patient")
    with simulated_cluster(
        releases=cluster_manifests.RELEASES[:1],
        inhabitants=cluster_manifests.inhabitants(data),
        usual=cluster_manifests.USUAL,
        live=True,
    ) as cluster:
        cluster.advance(30)
        volume = DatabaseVolume(cluster, tmp_path / "volume", data)
        volume.fill(0.9)
        volume.beat()
        server = patient.patient
        program = postgres_pod(server.port, server.passwords[SUPERUSER])
        cluster.programs.by_pod[POSTGRES_POD] = with_volume(program, tmp_path, volume.file)
        yield cluster, volume


def site(cluster: Cluster) -> Site:
    around = Surroundings(
        cluster=KubernetesSettings(
            config_file=cluster.config_file, context="diagnose", remediate_context="remediate"
        ),
        metrics=MetricsSettings(),
        pod=Pod(cluster.namespace, POSTGRES_POD),
        backups="/backups",
        policy=StoragePolicy(1.5, GIB, 100 * GIB, 86_400),
    )
    found = impatient(database_remedies.site_of(settings(), TARGET))
    return replace(found, around=around)


def filling(looked: Site) -> tuple[DatabaseReadings, Cause]:
    seen = database_remedies.looked_at(looked)
    causes = diagnose(seen, looked.target, looked.limits)
    return seen, next(each for each in causes if each.code == "db.disk-filling")


def test_a_full_disk_in_the_pod_leads_to_the_claim_under_the_servers_own_directory(
    beside: tuple[Cluster, DatabaseVolume],
) -> None:
    cluster, volume = beside
    seen, cause = filling(site(cluster))
    assert seen.inside.answer is Answer.READY
    assert cause.remedy is not None
    assert (cause.remedy.step, cause.remedy.arguments["claim"]) == (STORAGE, CLAIM)
    assert cause.evidence["claim_capacity"] == 20 * GIB
    assert all("/eviction" not in each for each in cluster.asked)  # its pod is none of the trouble
    volume.fill(0.3)
    volume.beat()
    asked = len(cluster.asked)
    seen = database_remedies.looked_at(site(cluster))
    assert seen.storage is None
    assert not any("persistentvolumeclaims" in each for each in cluster.asked[asked:])


def test_files_that_lie_on_no_claim_are_said_and_nothing_is_offered(
    beside: tuple[Cluster, DatabaseVolume],
) -> None:
    cluster, _ = beside
    looked = site(cluster)
    away = replace(looked.around, pod=Pod(cluster.namespace, "redis-0")) if looked.around else None
    cluster.programs.by_pod["redis-0"] = cluster.programs.by_pod[POSTGRES_POD]
    seen, cause = filling(replace(looked, around=away))
    assert isinstance(seen.storage, Unread)
    assert "lies on no volume" in cause.summary
    assert cause.remedy is None


def test_a_cluster_that_refuses_costs_the_disk_alone_and_names_the_permission(
    beside: tuple[Cluster, DatabaseVolume],
) -> None:
    cluster, _ = beside
    account = cluster.service.accounts[cluster.tokens["diagnose"]]
    cluster.grant("diagnose", replace(account, rules=()))
    seen = database_remedies.looked_at(site(cluster))
    assert (seen.unreachable, seen.inside.answer) == ("", Answer.UNKNOWN)
    assert "pods/exec" in seen.unread()["disk"]
    assert "sessions" not in seen.unread()


def test_a_server_that_cannot_be_reached_and_is_ready_in_its_pod_is_cut_off(
    beside: tuple[Cluster, DatabaseVolume],
) -> None:
    cluster, volume = beside
    volume.fill(0.3)
    volume.beat()
    looked = site(cluster)
    nowhere = "postgresql://nobody@127.0.0.1:1/rlhf_audit"
    cut_off = replace(looked, look=replace(looked.look, reader_dsn=nowhere, reserved_dsn=nowhere))
    seen = database_remedies.looked_at(cut_off)
    (cause, *_) = diagnose(seen, looked.target, looked.limits)
    assert (cause.code, cause.remedy) == ("db.unreachable-from-outside", None)
