"""The client against a whole simulated cluster, with the roles that we ship."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import RECORDED
from deployments.lab.kubernetes.misbehaviour import Trouble
from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as pods
from tasks.clients import kubernetes_storage as storage
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.clients.kubernetes_refusals import BudgetSpent, Rejected
from tasks.clients.kubernetes_watch import Happened, changes, deployment_changes
from tasks.domain.errors import BadInput
from tasks.domain.rollout import AlreadyThere, Undo, known_good, undo_deployment
from tasks.domain.rollout_evidence import Worth, deployment_evidence
from tasks.domain.rollout_history import CannotUndo, deployment_history
from tasks.domain.rollout_status import Progress, deployment_status
from tasks.domain.scaling import Means, Scaling, ScalingPolicy, scale_up
from tasks.domain.workloads import Deployment, Kind, Revision
from tasks.sections.systems import KubernetesSettings

NAME = "rlhf-audit-trail"
POLICY = ScalingPolicy(1, 10, 5)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(releases=RECORDED) as running:
        yield running


def settings_of(cluster: Cluster) -> KubernetesSettings:
    return KubernetesSettings(
        config_file=cluster.config_file, context="diagnose", remediate_context="remediate"
    )


@pytest.fixture
def api(cluster: Cluster) -> Api:
    return Api(settings_of(cluster))


@pytest.fixture
def mender(cluster: Cluster) -> Api:
    return Api(settings_of(cluster), Identity.REMEDIATE)


def history_of(api: Api, deployment: Deployment) -> tuple[Revision, ...]:
    found = deployment_history(deployment, workloads.replica_sets(api, deployment))
    assert not isinstance(found, CannotUndo), found
    return found


def decided(api: Api) -> Undo:
    deployment = workloads.deployment(api, NAME)
    history = history_of(api, deployment)
    evidence = deployment_evidence(deployment, history, pods.pods(api, deployment.selector))
    chosen = known_good(history, evidence)
    assert not isinstance(chosen, CannotUndo), chosen
    found = undo_deployment(deployment, *chosen)
    assert isinstance(found, Undo)
    return found


def test_a_bad_release_is_undone_to_the_revision_that_serves(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    before = workloads.deployment(api, NAME)
    assert deployment_status(before).progress is Progress.FAILED
    found = decided(api)

    tried = workloads.undo(mender, Kind.DEPLOYMENT, NAME, found, dry_run=True)
    assert tried.template.images != before.template.images
    assert workloads.deployment(api, NAME) == before

    workloads.undo(mender, Kind.DEPLOYMENT, NAME, found, dry_run=False)
    cluster.advance(30)
    after = workloads.deployment(api, NAME)
    assert deployment_status(after).progress is Progress.DONE
    assert after.template.images == found.revision.images
    numbers = {each.holder: each.number for each in history_of(api, after)}
    assert (before.revision, numbers[found.revision.holder]) == (3, 4)
    again = undo_deployment(after, found.revision)
    assert isinstance(again, AlreadyThere)


def test_a_second_undo_finds_no_revision_to_trust(cluster: Cluster, api: Api, mender: Api) -> None:
    workloads.undo(mender, Kind.DEPLOYMENT, NAME, decided(api), dry_run=False)
    cluster.advance(30)

    deployment = workloads.deployment(api, NAME)
    history = history_of(api, deployment)
    evidence = deployment_evidence(deployment, history, pods.pods(api))

    assert isinstance(known_good(history, evidence), CannotUndo)


def test_an_undo_that_was_decided_before_a_change_is_a_conflict_and_changes_nothing(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    found = decided(api)
    cluster.change("deployments", NAME, {"spec": {"replicas": 4}})

    with pytest.raises(Conflict):
        workloads.undo(mender, Kind.DEPLOYMENT, NAME, found, dry_run=False)

    deployment = workloads.deployment(api, NAME)
    assert deployment.template.images == ("registry.local/missing:9",)
    assert deployment.replicas == 4


def test_a_workload_is_scaled_within_bounds_and_pods_come(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    worker = workloads.deployment(api, "celery-workers")
    allowed = scale_up(worker, 3, POLICY, bounds.surroundings(api))
    assert isinstance(allowed, Scaling)
    assert (allowed.replicas, allowed.means, allowed.unknown) == (3, Means.SCALE, ())

    def told(*, dry_run: bool) -> int:
        return workloads.set_replicas(
            mender, Kind.DEPLOYMENT, worker.name, 3, allowed.resource_version, dry_run=dry_run
        ).replicas

    assert told(dry_run=True) == 3
    assert workloads.scale(api, Kind.DEPLOYMENT, worker.name).replicas == 1
    assert told(dry_run=False) == 3
    cluster.advance(10)
    assert workloads.deployment(api, worker.name).available == 3
    with pytest.raises(Conflict):
        told(dry_run=False)


def test_an_autoscalers_minimum_is_raised_instead(cluster: Cluster, api: Api, mender: Api) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "celery-workers"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4}
    cluster.add(
        "horizontalpodautoscalers",
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "celery-workers"},
            "spec": spec,
        },
    )
    worker = workloads.deployment(api, "celery-workers")
    allowed = scale_up(worker, 9, POLICY, bounds.surroundings(api))
    assert isinstance(allowed, Scaling)
    assert (allowed.means, allowed.replicas) == (Means.AUTOSCALER_MINIMUM, 4)

    bounds.set_autoscaler_minimum(
        mender, allowed.through, 4, allowed.resource_version, dry_run=False
    )

    assert bounds.hpas(api)[0].minimum == 4


def test_a_negative_number_of_replicas_is_refused_by_name(mender: Api, api: Api) -> None:
    version = workloads.deployment(api, NAME).resource_version
    with pytest.raises(Rejected, match="greater than or equal to 0"):
        workloads.set_replicas(mender, Kind.DEPLOYMENT, NAME, -1, version, dry_run=True)


def test_a_restart_replaces_pods_and_is_recognised_as_done(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    before = workloads.deployment(api, "privacy-engine")
    old = {each.uid for each in pods.pods(api, before.selector)}
    at = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)

    workloads.restart(
        mender, Kind.DEPLOYMENT, before.name, at, before.resource_version, dry_run=False
    )
    cluster.advance(30)

    after = workloads.deployment(api, before.name)
    assert after.template.restarted_at == "2026-11-23T13:00:00Z"
    new = {each.uid for each in pods.pods(api, after.selector) if each.deleting_since is None}
    assert new
    assert not new & old


def test_an_eviction_makes_a_new_pod_and_keeps_to_the_budget(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    selector = {"matchLabels": {"app": "celery-workers"}}
    worker = workloads.deployment(api, "celery-workers")
    (victim,) = pods.pods(api, worker.selector)
    pods.evict(mender, victim, dry_run=True)
    assert [each.uid for each in pods.pods(api, worker.selector)] == [victim.uid]
    cluster.add(
        "poddisruptionbudgets",
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "workers"},
            "spec": {"minAvailable": 1, "selector": selector},
        },
    )
    with pytest.raises(BudgetSpent):
        pods.evict(mender, victim, dry_run=False)
    cluster.delete("poddisruptionbudgets", "workers")

    pods.evict(mender, victim, dry_run=False)
    cluster.advance(10)

    (fresh,) = [each for each in pods.pods(api, worker.selector) if not each.deleting_since]
    assert fresh.uid != victim.uid
    assert fresh.ready
    with pytest.raises((Conflict, NotFound)):
        pods.evict(mender, victim, dry_run=False)


def test_crashing_pods_are_seen_with_their_last_words(cluster: Cluster, api: Api) -> None:
    cluster.kill_for_memory("celery-workers", after=1.0)
    cluster.advance(120)
    worker = workloads.deployment(api, "celery-workers")
    (crashed,) = pods.pods(api, worker.selector)

    assert crashed.containers[0].out_of_memory
    assert crashed.containers[0].restarts > 0
    logs = list(pods.logs(api, [crashed], lines=10))
    assert any(each.previous and "celery ready" in each.text for each in logs)
    assert any(each.warning for each in pods.events(api))
    assert crashed.containers[0].reason == "CrashLoopBackOff"
    said = deployment_evidence(worker, history_of(api, worker), [crashed])
    assert Worth.FAILED in {each.worth for each in said}


def test_usage_is_there_and_its_absence_is_an_answer(cluster: Cluster, api: Api) -> None:
    used = {each.name: each.containers for each in pods.pod_usage(api)}
    assert used["postgres-pod"]["postgres"].cpu == 24_185_965
    assert pods.node_usage(api)
    cluster.take_metrics_away()
    with pytest.raises(NotFound, match=r"API metrics.k8s.io/v1beta1 is not served"):
        pods.pod_usage(api)


def test_the_looking_identity_changes_nothing_and_the_mending_one_reads_nothing(
    api: Api, mender: Api
) -> None:
    version = workloads.deployment(api, NAME).resource_version
    with pytest.raises(Denied, match="the verb patch on deployments/scale of API group apps"):
        workloads.set_replicas(api, Kind.DEPLOYMENT, NAME, 5, version, dry_run=True)
    with pytest.raises(Denied, match="the verb list on pods in namespace"):
        pods.pods(mender)


def test_a_workload_that_no_role_names_is_not_changed(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    cluster.add_deployment("somebody-elses")
    version = workloads.deployment(api, "somebody-elses").resource_version
    with pytest.raises(Denied, match="somebody-elses"):
        workloads.set_replicas(mender, Kind.DEPLOYMENT, "somebody-elses", 5, version, dry_run=True)


def test_a_long_list_comes_in_pages(cluster: Cluster, api: Api) -> None:
    cluster.add_deployment("crowd", replicas=205)
    before = len(cluster.asked)
    assert len({each.uid for each in pods.pods(api)}) > 205
    assert len(cluster.asked) == before + 2


TROUBLES: dict[str, tuple[Trouble, tuple[type[ClientError], ...]]] = {
    trouble.value: (trouble, (Transient, Malformed)) for trouble in Trouble
}


@pytest.mark.parametrize(("trouble", "errors"), TROUBLES.values(), ids=TROUBLES)
def test_whatever_the_api_server_does_is_an_error_of_ours_in_time(
    trouble: Trouble, errors: tuple[type[ClientError], ...], cluster: Cluster
) -> None:
    api = Api(settings_of(cluster), seconds=1.0)
    cluster.misbehave(trouble, "/pods", seconds=5.0)
    with pytest.raises(errors):
        pods.pods(api)
    assert workloads.deployment(api, NAME).name == NAME


def test_a_rollout_is_watched_to_its_end_over_breaks_and_forgotten_versions(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    workloads.undo(mender, Kind.DEPLOYMENT, NAME, decided(api), dry_run=False)
    seen: list[Progress] = []
    stop = threading.Event()

    def disturb() -> None:
        acts: list[Callable[[], Any]] = [cluster.cut_watches, cluster.compact, cluster.cut_watches]
        while not stop.wait(0.1):
            if acts:
                acts.pop()()
            cluster.advance(2)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        for each in deployment_changes(api, NAME, seconds=30):
            seen.append(deployment_status(each).progress)
            if seen[-1].final:
                break
    finally:
        stop.set()
        disturbing.join()
    assert seen[-1] is Progress.DONE


def test_a_watch_says_what_was_deleted_while_it_was_away(cluster: Cluster, api: Api) -> None:
    found = changes(api, api.here("deployments", group="apps"), "DeploymentList", seconds=20)
    first = {next(found).value["metadata"]["name"] for _ in range(3)}
    assert first == {"celery-workers", "privacy-engine", NAME}
    cluster.delete("deployments", "privacy-engine")
    cluster.compact()

    gone = next(each for each in found if each.happened is Happened.DELETED)

    assert gone.value["metadata"]["name"] == "privacy-engine"


def test_a_claim_is_enlarged_where_its_class_allows_it(
    cluster: Cluster, api: Api, mender: Api
) -> None:
    cluster.add("storageclasses", {"metadata": {"name": "fast"}, "allowVolumeExpansion": True})
    cluster.add(
        "persistentvolumeclaims",
        {
            "metadata": {"name": "data-postgresql-0"},
            "spec": {
                "storageClassName": "fast",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "20Gi"}},
            },
        },
    )
    (claim,) = storage.claims(api)
    assert storage.storage_class(api, claim.storage_class).expandable
    wanted = 30 * 2**30

    storage.enlarge(mender, claim.name, wanted, claim.resource_version, dry_run=True)
    assert storage.claims(api) == [claim]
    storage.enlarge(mender, claim.name, wanted, claim.resource_version, dry_run=False)

    assert storage.claims(api)[0].requested == wanted


def test_a_name_like_an_option_reaches_nobody(cluster: Cluster, api: Api) -> None:
    before = len(cluster.asked)
    with pytest.raises(BadInput):
        pods.log(api, "--help", "x", lines=1)
    assert len(cluster.asked) == before
