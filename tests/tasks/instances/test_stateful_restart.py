"""The one pod of a server is restarted by its uid, once, and never one that would not come back."""

from dataclasses import replace
from typing import Any

import pytest

from deployments.lab.cluster_manifests import REDIS_POD
from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.misbehaviour import Trouble
from deployments.lab.kubernetes.rbac import Account
from tasks.clients.errors import Transient
from tasks.clients.pod_exec import Pod
from tasks.domain.database_readings import Unread
from tasks.domain.errors import LockLost, PlanStale
from tasks.domain.instance_restart import Instance, InstanceKey
from tasks.sections.systems import KubernetesSettings
from tasks.work.stateful_restart import look_at_instance, restart
from tests.tasks.instances.conftest import CLAIM, DATA

pytestmark = pytest.mark.components

_SECONDS = 20.0


def looked(cluster: KubernetesSettings, pod: Pod, **how: Any) -> Instance:
    found = look_at_instance(cluster, pod, **({"keeps_files": True, "directory": DATA} | how))
    assert isinstance(found, Instance), found
    return found


def key_of(found: Instance) -> InstanceKey:
    return InstanceKey(found.name, found.uid, found.owner)


def evictions(cluster: Cluster) -> list[str]:
    """Those that were not dry runs."""
    return [each for each in cluster.asked if "/eviction" in each and "dryRun" not in each]


def test_a_pod_is_ended_once_and_its_successor_awaited(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    before = looked(settings_of_cluster, database)
    assert (before.refusal, before.claim, before.runs) == ("", CLAIM, True)
    fences: list[int] = []
    text, result = restart(
        settings_of_cluster, database, key_of(before), lambda: fences.append(1), _SECONDS
    )
    assert (result["ended"], result["ready"]) == (True, True)
    assert "its successor is ready" in text
    after = looked(settings_of_cluster, database)
    assert after.uid == result["successor"] != before.uid
    # as a run that died before its record would: the successor is never ended
    again = restart(
        settings_of_cluster, database, key_of(before), lambda: fences.append(1), _SECONDS
    )[1]
    assert (again["ended"], again["successor"], again["ready"]) == (False, after.uid, True)
    assert len(evictions(cluster)) == len(fences) == 1


def test_a_run_that_lost_its_lock_ends_nothing(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    def lost() -> None:
        raise LockLost("expected to hold it, found a newer holder")

    before = looked(settings_of_cluster, database)
    with pytest.raises(LockLost):
        restart(settings_of_cluster, database, key_of(before), lost, _SECONDS)
    assert evictions(cluster) == []


def test_a_successor_that_does_not_get_ready_is_said_and_no_error(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    before = looked(settings_of_cluster, database)
    cluster.not_ready("postgres")
    text, result = restart(settings_of_cluster, database, key_of(before), lambda: None, 2.5)
    assert (result["ended"], result["ready"]) == (True, False)
    assert "not ready after 2.5 s" in text


def test_a_disruption_budget_that_is_spent_keeps_the_pod(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    before = looked(settings_of_cluster, database)
    selector = {"matchLabels": {"app": "postgres"}}
    cluster.add(
        "poddisruptionbudgets",
        {"metadata": {"name": "one"}, "spec": {"minAvailable": 1, "selector": selector}},
    )
    assert (
        "the disruption budget one allows none now" in looked(settings_of_cluster, database).refusal
    )
    with pytest.raises(PlanStale, match="may not be ended now"):
        restart(settings_of_cluster, database, key_of(before), lambda: None, _SECONDS)
    assert looked(settings_of_cluster, database).uid == before.uid


def test_an_api_server_that_answers_nonsense_is_unread_and_ends_nothing(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    key = key_of(looked(settings_of_cluster, database))
    hasty = settings_of_cluster.model_copy(update={"api_seconds": 0.5})
    for trouble in (Trouble.HTML, Trouble.FAILS, Trouble.HALF):
        cluster.misbehave(trouble, "pods/postgresql-0")
        assert isinstance(look_at_instance(hasty, database, keeps_files=True), Unread)
        cluster.recover_api()
    cluster.misbehave(Trouble.FAILS, "eviction")
    assert "would refuse it" in looked(settings_of_cluster, database).refusal
    with pytest.raises(Transient):
        restart(settings_of_cluster, database, key, lambda: None, 1.0)
    cluster.recover_api()
    assert looked(settings_of_cluster, database).uid == key.uid


def test_a_missing_permission_is_named(
    cluster: Cluster, settings_of_cluster: KubernetesSettings, database: Pod
) -> None:
    account = cluster.service.accounts[cluster.tokens["remediate"]]
    cluster.grant("remediate", replace(account, rules=()))
    found = looked(settings_of_cluster, database)
    assert "the verb create on pods/eviction" in found.refusal
    cluster.grant("diagnose", Account("nobody"))
    unread = look_at_instance(settings_of_cluster, database, keeps_files=True)
    assert isinstance(unread, Unread)
    assert "the verb get on pods" in unread.reason
    none = settings_of_cluster.model_copy(update={"remediate_context": ""})
    cluster.grant("diagnose", cluster.service.accounts[cluster.tokens["admin"]])
    assert "RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT" in looked(none, database).refusal


def test_what_a_pod_keeps_in_itself_goes_with_it_and_is_no_reason_against_a_cache(
    settings_of_cluster: KubernetesSettings, cluster: Cluster, database: Pod
) -> None:
    assert "lie on no claim" in looked(settings_of_cluster, database, directory="/srv").refusal
    cache = Pod(cluster.namespace, REDIS_POD)
    found = looked(settings_of_cluster, cache, keeps_files=False, directory="")
    assert (found.refusal, found.claim) == ("", "")


def test_a_pod_that_nobody_makes_anew_is_left_alone(
    settings_of_cluster: KubernetesSettings, cluster: Cluster
) -> None:
    spec = {"containers": [{"name": "main", "image": "registry.local/busybox:1"}]}
    cluster.add("pods", {"metadata": {"name": "lonely", "labels": {"app": "x"}}, "spec": spec})
    found = looked(settings_of_cluster, Pod(cluster.namespace, "lonely"), keeps_files=False)
    assert "no controller" in found.refusal
