"""The NetworkPolicy on a simulated cluster: tried, made, found again, and removed exactly once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import RECORDED
from tasks.clients import kubernetes_policies as policies
from tasks.clients.errors import Conflict
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.domain.isolation import EXPIRES_ANNOTATION, POLICY_NAME
from tasks.domain.isolation_plan import CutOff, Isolating
from tasks.sections.systems import KubernetesSettings
from tasks.settings import Settings
from tasks.work import isolating, network_isolation
from tasks.work.isolation_site import Site, site_of

NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=4)
CUT = CutOff("rlhf-audit-trail", {"app": "rlhf-audit-trail"}, {"role": "forensics"})
WHAT = Isolating(240, 3, CUT)


def nothing() -> None:
    """No fence."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(releases=RECORDED) as running:
        yield running


@pytest.fixture
def site(cluster: Cluster) -> Site:
    known = KubernetesSettings(
        config_file=cluster.config_file, context="diagnose", remediate_context="remediate"
    )
    return replace(site_of(Settings()), cluster=known)


def test_a_dry_run_makes_no_policy(cluster: Cluster, site: Site) -> None:
    assert isolating.dry_run(site, WHAT, "INC-1", UNTIL) == [
        f"the API server would take the NetworkPolicy {POLICY_NAME}"
    ]
    assert cluster.items("networkpolicies") == []


def test_made_it_names_its_incident_and_when_it_goes_back(cluster: Cluster, site: Site) -> None:
    network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)
    (made,) = cluster.items("networkpolicies")
    assert made["metadata"]["annotations"][EXPIRES_ANNOTATION] == UNTIL.isoformat()
    assert isolating.effect(site, WHAT, "INC-1").gone
    assert not isolating.effect(site, WHAT, "INC-2").gone


def test_made_by_an_attempt_that_died_it_is_found(cluster: Cluster, site: Site) -> None:
    first = network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)
    assert network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing) == first
    assert len(cluster.items("networkpolicies")) == 1


def test_anothers_policy_is_neither_taken_over_nor_removed(cluster: Cluster, site: Site) -> None:
    network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)
    with pytest.raises(Conflict, match="found one of INC-1"):
        network_isolation.cut_off(site, WHAT, "INC-2", UNTIL, nothing)
    text, _ = isolating.take_back(site, WHAT, "INC-2", nothing)
    assert "stays" in text
    assert len(cluster.items("networkpolicies")) == 1


def test_one_that_says_something_else_than_was_approved_is_not_ours(site: Site) -> None:
    other = Isolating(240, 3, replace(CUT, selected={"app": "another"}))
    network_isolation.cut_off(site, other, "INC-1", UNTIL, nothing)
    with pytest.raises(Conflict, match="found it changed"):
        network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)


def test_taken_back_it_is_gone_and_a_second_time_there_is_nothing(
    cluster: Cluster, site: Site
) -> None:
    network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)
    text, _ = isolating.take_back(site, WHAT, "INC-1", nothing)
    assert text == f"NetworkPolicy {POLICY_NAME} deleted"
    assert cluster.items("networkpolicies") == []
    again, _ = isolating.take_back(site, WHAT, "INC-1", nothing)
    assert again == "nothing of it was in place any more"


def test_a_policy_that_was_made_anew_since_it_was_read_is_not_removed(site: Site) -> None:
    network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)
    read = policies.policy(Api(site.cluster), POLICY_NAME)
    assert read is not None
    isolating.take_back(site, WHAT, "INC-1", nothing)
    network_isolation.cut_off(site, WHAT, "INC-1", UNTIL, nothing)
    with pytest.raises(Conflict):
        policies.remove(Api(site.cluster, Identity.REMEDIATE), read, dry_run=False)
