"""Which revisions are kept as known to serve, and which are not."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY, MISSING, Release
from deployments.lab.kubernetes.rbac import Account
from deployments.lab.stack import Lab
from tasks.clients.errors import Denied
from tasks.domain.rollout import known_good
from tasks.domain.rollout_evidence import Sighting, deployment_evidence
from tasks.domain.workloads import Deployment
from tasks.sections.systems import KubernetesSettings
from tasks.settings import settings
from tasks.work import incidents, responder
from tasks.work.healthy_revisions import keep, known, look_and_keep
from tasks.work.workload_looks import look_at_workloads
from tasks.workloads import keep_healthy_revisions
from tests.pristine import Pristine

pytestmark = pytest.mark.components

NAMESPACE, NAME = "rlhf-audit-trail", "rlhf-audit-trail"
LATER = timedelta(minutes=31)
Open = Callable[[str], str]


@pytest.fixture(scope="module")
def patient(pristine_patient: Pristine) -> Lab:
    return pristine_patient.restore()


@pytest.fixture(autouse=True)
def _nothing_known(patient: Lab) -> None:
    assert patient.responder
    with responder.connection() as connection:
        connection.execute("DELETE FROM healthy_revisions")


@pytest.fixture
def trouble() -> Iterator[Open]:
    """Opens incidents of a component, which are over after the test."""
    opened: list[str] = []

    def declare(component: str) -> str:
        opened.append(incidents.declare("t", component, "triage", by="anna", starts_run=False))
        return opened[-1]

    yield declare
    for each in opened:
        with responder.connection() as connection:
            connection.execute("DELETE FROM open_incidents WHERE incident = %s", (each,))


def settings_of(cluster: Cluster) -> KubernetesSettings:
    return KubernetesSettings(config_file=cluster.config_file, context="diagnose")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY) as running:
        yield running


def holder(cluster: Cluster, name: str = NAME) -> str:
    """Of the current revision."""
    looked = look_at_workloads(settings_of(cluster)).looked
    return next(
        each.current.holder for each in looked if each.workload.name == name and each.current
    )


def now(cluster: Cluster) -> datetime:
    return datetime.fromtimestamp(cluster.clock.seconds(), UTC)


def test_what_serves_while_nothing_is_wrong_is_kept_once_with_its_newest_time(
    cluster: Cluster,
) -> None:
    said = look_and_keep(settings_of(cluster), now(cluster))
    assert said.startswith("3 revisions serve: ")
    again = now(cluster) + timedelta(minutes=10)
    look_and_keep(settings_of(cluster), again)
    look_and_keep(settings_of(cluster), again - timedelta(minutes=5))  # a run that came late
    found = {each.holder: each for each in known(NAMESPACE)}
    assert len(found) == 3
    assert found[holder(cluster)].seen_at == again
    assert found[holder(cluster)].available == 3


def test_a_release_is_kept_only_when_its_errors_would_have_shown(cluster: Cluster) -> None:
    cluster.release(Release("registry.local/rlhf-audit-trail:1.5.0"))
    cluster.advance(60)
    new = holder(cluster)
    look_and_keep(settings_of(cluster), now(cluster))
    assert new not in {each.holder for each in known(NAMESPACE)}
    cluster.advance(LATER.total_seconds())
    look_and_keep(settings_of(cluster), now(cluster))
    assert new in {each.holder for each in known(NAMESPACE)}


def test_a_release_whose_pods_do_not_start_is_never_kept(cluster: Cluster) -> None:
    good = holder(cluster)
    cluster.release(Release(MISSING))
    cluster.advance(LATER.total_seconds())
    look_and_keep(settings_of(cluster), now(cluster))
    kept = {each.holder for each in known(NAMESPACE)}
    assert holder(cluster) not in kept
    assert good in kept  # its pods still serve


@pytest.mark.parametrize("component", ["api", "database", "privacy-engine", "security"])
def test_while_an_incident_of_the_system_is_open_nothing_is_kept(
    component: str, cluster: Cluster, trouble: Open
) -> None:
    opened = trouble(component)
    said = look_and_keep(settings_of(cluster), now(cluster))
    assert opened in said
    assert known(NAMESPACE) == []


def test_an_incident_of_something_else_is_not_in_the_way(cluster: Cluster, trouble: Open) -> None:
    trouble("responder")
    look_and_keep(settings_of(cluster), now(cluster))
    assert len(known(NAMESPACE)) == 3


def test_a_sighting_makes_a_revision_one_to_return_to_when_the_cluster_forgot_it(
    cluster: Cluster,
) -> None:
    good = holder(cluster)
    look_and_keep(settings_of(cluster), now(cluster))
    cluster.release(Release("registry.local/rlhf-audit-trail:1.5.0"))
    cluster.advance(60)
    looked = next(
        each
        for each in look_at_workloads(settings_of(cluster)).looked
        if each.workload.name == NAME
    )
    assert isinstance(looked.workload, Deployment)
    without = deployment_evidence(looked.workload, looked.revisions)
    with_it = deployment_evidence(looked.workload, looked.revisions, (), known(NAMESPACE))
    assert not isinstance(known_good(looked.revisions, without), tuple)
    chosen = known_good(looked.revisions, with_it)
    assert isinstance(chosen, tuple)
    assert chosen[0].holder == good
    assert "3 replicas were available" in chosen[1][0]


def test_namespaces_are_kept_apart_and_old_sightings_are_forgotten() -> None:
    today = datetime(2026, 3, 14, tzinfo=UTC)
    keep("a", "deployment/x", [Sighting("x-1", 3, today - timedelta(days=366), "t")], today)
    keep("b", "deployment/x", [Sighting("x-2", 3, today, "t")], today)
    assert known("a") == []
    assert [each.holder for each in known("b")] == ["x-2"]


def test_a_cluster_that_refuses_us_fails_the_look_and_keeps_nothing(cluster: Cluster) -> None:
    cluster.grant("diagnose", Account("nobody"))
    with pytest.raises(Denied, match="grant the verb list"):
        look_and_keep(settings_of(cluster), now(cluster))
    assert known(NAMESPACE) == []


def test_the_scheduled_task_keeps_them_and_says_so_when_there_is_no_cluster(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keep_healthy_revisions.fn() == "nothing kept: no cluster is configured"
    monkeypatch.setenv("RUNBOOK_KUBERNETES__CONFIG_FILE", str(cluster.config_file))
    settings.cache_clear()
    assert keep_healthy_revisions.fn().startswith("3 revisions serve")
    assert len(known(NAMESPACE)) == 3
