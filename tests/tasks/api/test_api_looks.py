"""A look at the API and its needs: whole in time whatever hangs, and what is unread says why."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.manifests import API
from deployments.lab.kubernetes.misbehaviour import Trouble
from deployments.lab.kubernetes.rbac import Account
from tasks.domain.api_diagnosis import diagnose
from tasks.domain.api_plan import blind_spots
from tasks.domain.api_readings import ApiReadings, Unread, known
from tasks.domain.observation import Health
from tasks.settings import settings
from tasks.work import api_checks
from tasks.work.api_looks import Site, looked_at, site_of
from tests.clients.loopback import answering, sending
from tests.tasks.api.restarts import Restarts

pytestmark = pytest.mark.components

_PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 14\r\n\r\n<html>hi</html"


@pytest.fixture
def cluster(restarts: Restarts) -> Cluster:
    return restarts.cluster


def site() -> Site:
    settings.cache_clear()
    return site_of(settings(), "database/rlhf_audit")


def look() -> ApiReadings:
    return looked_at(site(), datetime.now(UTC) - timedelta(minutes=1))


def without(cluster: Cluster, *resources: str) -> None:
    """Take resources away from the identity that looks."""
    account = cluster.service.accounts[cluster.tokens["diagnose"]]
    kept = [
        replace(rule, resources=tuple(each for each in rule.resources if each not in resources))
        for rule in account.rules
    ]
    cluster.grant("diagnose", Account(account.user, tuple(kept)))


def causes_but_of_logins(seen: ApiReadings) -> list[str]:
    """Other tests share this lab, and some have themselves refused."""
    codes = [each.code for each in diagnose(seen, site().limits)]
    return [each for each in codes if each != "api.authentication"]


def test_a_system_that_is_well_is_read_whole_and_has_no_cause(cluster: Cluster) -> None:
    seen = look()
    assert seen.unread() == {}
    assert {name: need.health for name, need in seen.needs.items()} == {
        "database": Health.HEALTHY,
        "cache": Health.HEALTHY,
    }
    assert causes_but_of_logins(seen) == []
    pods = known(seen.pods)
    assert pods is not None
    assert {each.name for each in pods} == {each["metadata"]["name"] for each in cluster.pods(API)}
    shown = {step: check(seen, site().limits) for step, check in api_checks.CHECKS.items()}
    assert shown["api.diagnosis.resources"].health is Health.HEALTHY
    assert shown["api.resolution.connections"].health is Health.HEALTHY


def test_an_api_server_that_hangs_costs_its_own_parts_and_no_more_than_the_time(
    cluster: Cluster,
) -> None:
    cluster.misbehave(Trouble.HANGS)
    began = time.monotonic()
    seen = look()
    assert time.monotonic() - began < site().care.look_seconds + 2
    assert {"looked", "pods", "usage", "events"} <= set(seen.unread())
    assert seen.needs["database"].health is Health.HEALTHY
    assert causes_but_of_logins(seen) == []
    assert any(each.startswith("pods: ") for each in blind_spots(seen))
    cluster.recover_api()


@pytest.mark.parametrize("trouble", [Trouble.HTML, Trouble.GARBAGE, Trouble.HALF])
def test_nonsense_of_the_api_server_is_unknown_and_never_taken_for_nothing_there(
    cluster: Cluster, trouble: Trouble
) -> None:
    cluster.misbehave(trouble, "/pods")
    seen = look()
    assert isinstance(seen.pods, Unread)
    assert api_checks.resources(seen, site().limits).health is Health.UNKNOWN
    assert causes_but_of_logins(seen) == []


def test_a_refusal_names_the_permission_that_is_missing(cluster: Cluster) -> None:
    without(cluster, "pods")
    seen = look()
    shown = api_checks.resources(seen, site().limits)
    assert shown.health is Health.UNKNOWN
    assert "the verb list on pods" in shown.summary


def test_metrics_that_nobody_serves_leave_the_rest_known(cluster: Cluster) -> None:
    cluster.take_metrics_away()
    seen = look()
    assert set(seen.unread()) == {"usage"}
    shown = api_checks.resources(seen, site().limits)
    assert shown.health is Health.HEALTHY
    assert "usage unknown" in shown.summary


def test_without_a_cluster_the_rest_is_read_all_the_same(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cluster
    monkeypatch.delenv("RUNBOOK_KUBERNETES__CONFIG_FILE")
    seen = look()
    assert seen.unread()["pods"] == "no cluster is configured"
    assert known(seen.answers) is not None
    assert known(seen.connections) is not None


def test_an_api_that_answers_a_page_is_unknown_and_one_that_is_away_has_failed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cluster
    with answering(sending(_PAGE)) as port:
        monkeypatch.setenv("RUNBOOK_API__URL", f"http://127.0.0.1:{port}")
        seen = look()
        answers = known(seen.answers)
        assert answers is not None
        assert answers.health is Health.UNKNOWN
        assert blind_spots(seen)
    answers = known(look().answers)
    assert answers is not None
    assert answers.health is Health.FAILED


def test_of_configuration_metadata_alone_is_read_and_a_secret_is_unknown_with_its_grant(
    cluster: Cluster,
) -> None:
    for plural, name in (("configmaps", "rlhf-audit-trail-config"), ("secrets", "api-keys")):
        cluster.add(plural, {"metadata": {"name": name}, "data": {"password": "c2VzYW0="}})
    sources = [
        {"configMapRef": {"name": "rlhf-audit-trail-config"}},
        {"secretRef": {"name": "api-keys"}},
    ]
    container = {"name": "api", "envFrom": sources}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    cluster.change("deployments", API, patch)
    seen = look()
    found = known(seen.configuration)
    assert found is not None
    assert [str(each.source) for each in found.changes] == ["ConfigMap rlhf-audit-trail-config"]
    assert "the verb get on secrets named api-keys" in found.unread["Secret api-keys"]
    shown = api_checks.configuration(seen, site().limits)
    assert shown.health in {Health.UNKNOWN, Health.DEGRADED}
    assert "c2VzYW0=" not in str(shown)
