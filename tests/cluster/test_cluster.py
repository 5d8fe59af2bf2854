"""What we expect of Kubernetes, with the roles that we ship: of the simulated and of a real one.

By default the simulated cluster answers. A real one, in a namespace that is made and removed:

    python -m pytest tests/cluster -m cluster --cluster-context NAME --cluster-image-web busybox:1 \
      --cluster-image-postgres postgres:15 --cluster-image-redis redis:7

Nothing here depends on which of the two it is.
"""

from datetime import UTC, datetime
from functools import partial

import pytest

from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError, Conflict, Denied, NotFound, Transient
from tasks.clients.kubernetes_refusals import BudgetSpent, Rejected
from tasks.clients.kubernetes_watch import deployment_changes
from tasks.clients.pod_answers import postgres_says, redis_says
from tasks.clients.pod_exec import CommandFailed, Pod, output_of
from tasks.domain.errors import BadInput
from tasks.domain.inside import Answer
from tasks.domain.pods import PodState
from tasks.domain.releases import releases_of
from tasks.domain.rollout import AlreadyThere, Undo, known_good, undo_deployment, undo_stateful_set
from tasks.domain.rollout_evidence import NO_IMAGE, deployment_evidence, stateful_set_evidence
from tasks.domain.rollout_history import CannotUndo, deployment_history, stateful_set_history
from tasks.domain.rollout_status import Progress, deployment_status, stateful_set_status
from tasks.domain.workloads import Deployment, Kind, Revision
from tasks.work.pod_logs import read_pod_logs
from tasks.work.workload_looks import look_at_workloads
from tests.cluster.objects import stateful_redis
from tests.cluster.systems import System

pytestmark = [pytest.mark.cluster, pytest.mark.components]

API, WORKERS, ENGINE = "rlhf-audit-trail", "celery-workers", "privacy-engine"
MISSING = "registry.local/missing:9"


def deployment(system: System, name: str) -> Deployment:
    return workloads.deployment(system.looker, name)


def settled(system: System, name: str = API) -> Deployment:
    """As soon as its rollout has ended well."""

    def look() -> Deployment | None:
        found = deployment(system, name)
        return found if deployment_status(found).progress is Progress.DONE else None

    return system.until(look, f"{name} is rolled out")


def history(system: System, found: Deployment) -> tuple[Revision, ...]:
    said = deployment_history(found, workloads.replica_sets(system.looker, found))
    assert not isinstance(said, CannotUndo), said
    return said


def pods_of(system: System, found: Deployment) -> list[PodState]:
    listed = pods.pods(system.looker, found.selector)
    return [each for each in listed if each.deleting_since is None]


def release(system: System, image: str, environment: dict[str, str]) -> None:
    """Roll the API to another release, past our own identities."""
    env = [{"name": name, "value": value} for name, value in environment.items()]
    changed = {"name": "api", "image": image, "env": env}
    spec = {"template": {"spec": {"containers": [changed]}}}
    system.administration.change("Deployment", API, {"spec": spec})


def way_back(system: System) -> Undo | CannotUndo:
    found = deployment(system, API)
    said = history(system, found)
    chosen = known_good(said, deployment_evidence(found, said, pods_of(system, found)))
    if isinstance(chosen, CannotUndo):
        return chosen
    decided = undo_deployment(found, *chosen)
    assert isinstance(decided, Undo), decided
    return decided


def test_a_bad_release_fails_is_undone_by_evidence_and_watched_to_its_end(system: System) -> None:
    settled(system)
    release(system, system.images.web, {"RELEASE": "1.4.1"})
    good = settled(system)
    release(system, MISSING, {"RELEASE": "1.5.0"})

    def failed() -> Deployment | None:
        found = deployment(system, API)
        return found if deployment_status(found).progress is Progress.FAILED else None

    bad = system.until(failed, "the bad release runs into its deadline")
    assert bad.available >= 3
    assert {each.containers[0].reason for each in pods_of(system, bad)} & NO_IMAGE
    assert any(each.warning for each in pods.events(system.looker))

    found = way_back(system)
    assert isinstance(found, Undo)
    assert found.revision.images == good.template.images
    undo = partial(workloads.undo, system.mender, Kind.DEPLOYMENT, API, found)
    assert undo(dry_run=True).template.images == good.template.images
    assert deployment(system, API).template.images == bad.template.images
    undo(dry_run=False)
    seen = []
    for each in deployment_changes(system.looker, API, seconds=60):
        seen.append(deployment_status(each).progress)
        if seen[-1].final:
            break
        system.wait()
    after = settled(system)
    assert after.template.images == good.template.images
    assert isinstance(undo_deployment(after, found.revision), AlreadyThere)
    current = next(each for each in history(system, after) if each.current)
    assert current.holder == found.revision.holder
    assert current.number > (bad.revision or 0)
    newest = releases_of("api", after, history(system, after))[0]
    assert newest.who == "runbook"
    assert newest.at is not None
    with pytest.raises(Conflict):
        undo(dry_run=False)


def test_a_stateful_set_goes_back_to_its_earlier_revision(system: System) -> None:
    system.administration.add(stateful_redis(system.namespace, system.images, {"release": "1"}))

    def rolled_out() -> bool:
        found = workloads.stateful_set(system.looker, "redis")
        return stateful_set_status(found).progress is Progress.DONE

    try:
        system.until(rolled_out, "the first revision is rolled out")
        template = {"metadata": {"annotations": {"release": "2"}}}
        system.administration.change("StatefulSet", "redis", {"spec": {"template": template}})
        system.until(rolled_out, "the second revision is rolled out")
        found = workloads.stateful_set(system.looker, "redis")
        kept = workloads.controller_revisions(system.looker, found)
        said = stateful_set_history(found, kept)
        assert not isinstance(said, CannotUndo)
        assert len(said) == 2
        assert stateful_set_evidence(found, said)
        decided = undo_stateful_set(found, said[1], kept)
        assert isinstance(decided, Undo)
        undo = partial(workloads.undo, system.mender, Kind.STATEFUL_SET, "redis", decided)
        undo(dry_run=True)
        assert workloads.stateful_set(system.looker, "redis").template == found.template
        undo(dry_run=False)
        system.until(rolled_out, "the first revision is back")
        now = workloads.stateful_set(system.looker, "redis")
        assert now.update_revision == said[1].holder
        annotations = now.template.content["metadata"]["annotations"]
        assert annotations["release"] == "1"
    finally:
        system.administration.remove("StatefulSet", "redis")


def test_scaling_is_guarded_by_the_version_and_a_dry_run_keeps_nothing(system: System) -> None:
    before = settled(system, WORKERS)
    scale = partial(workloads.set_replicas, system.mender, Kind.DEPLOYMENT, WORKERS)
    assert scale(2, before.resource_version, dry_run=True).replicas == 2
    assert workloads.scale(system.looker, Kind.DEPLOYMENT, WORKERS).replicas == 1
    assert scale(2, before.resource_version, dry_run=False).replicas == 2
    with pytest.raises(Conflict):
        scale(3, before.resource_version, dry_run=False)
    grown = system.until(
        lambda: (found := deployment(system, WORKERS)).available == 2 and found, "two are available"
    )
    with pytest.raises(Rejected, match="greater than or equal to 0"):
        scale(-1, grown.resource_version, dry_run=True)
    scale(1, deployment(system, WORKERS).resource_version, dry_run=False)
    assert settled(system, WORKERS).replicas == 1


def test_an_autoscalers_minimum_is_raised(system: System) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": WORKERS}
    made = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": WORKERS},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4},
    }
    system.administration.add(made)
    try:

        def raised() -> bool:
            # its controller writes too: a conflict is looked at again, as our own procedure does
            (found,) = bounds.hpas(system.looker)
            try:
                change = partial(bounds.set_autoscaler_minimum, system.mender, WORKERS, 2)
                change(found.resource_version, dry_run=False)
            except Conflict:
                return False
            return True

        system.until(raised, "the minimum is raised")
        (found,) = bounds.hpas(system.looker)
        assert (found.target_name, found.minimum, found.maximum) == (WORKERS, 2, 4)
    finally:
        system.administration.remove("HorizontalPodAutoscaler", WORKERS)
        system.administration.change("Deployment", WORKERS, {"spec": {"replicas": 1}})


def test_a_restart_replaces_every_pod_and_is_recognised(system: System) -> None:
    before = settled(system, ENGINE)
    old = {each.uid for each in pods_of(system, before)}
    at = datetime.now(UTC)
    workloads.restart(
        system.mender, Kind.DEPLOYMENT, ENGINE, at, before.resource_version, dry_run=False
    )
    after = settled(system, ENGINE)
    assert after.template.restarted_at == at.strftime("%Y-%m-%dT%H:%M:%SZ")
    new = system.until(
        lambda: {each.uid for each in pods_of(system, after) if each.uid not in old} or None,
        "a new pod is there",
    )
    assert len(new) == after.replicas


def test_an_eviction_keeps_to_the_budget_and_makes_a_new_pod(system: System) -> None:
    found = settled(system, ENGINE)

    def alone() -> PodState | None:
        listed = pods_of(system, found)
        return listed[0] if len(listed) == 1 and listed[0].ready else None

    victim = system.until(alone, "one pod is ready")
    selector = {"matchLabels": {"app": ENGINE}}
    system.administration.add(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "engine"},
            "spec": {"minAvailable": 1, "selector": selector},
        }
    )
    evict = partial(pods.evict, system.mender, victim)

    def forbidden() -> bool:
        try:
            evict(dry_run=True)
        except BudgetSpent:
            return True
        except Transient:  # the budget's controller has not counted yet
            return False
        return False

    try:
        system.until(forbidden, "the budget forbids it")
        with pytest.raises(BudgetSpent):
            evict(dry_run=False)
        assert [each.uid for each in pods_of(system, found)] == [victim.uid]
    finally:
        system.administration.remove("PodDisruptionBudget", "engine")
    evict(dry_run=False)
    fresh = system.until(alone, "another pod is ready")
    assert fresh.uid != victim.uid
    with pytest.raises((Conflict, NotFound)):
        evict(dry_run=False)


def test_programs_run_in_the_two_pods_by_name_and_in_no_other(system: System) -> None:
    ready = {"postgres-pod", "redis-pod"}
    system.until(
        lambda: ready <= {each.name for each in pods.pods(system.looker) if each.ready},
        "both pods are ready",
    )
    postgres, redis = (Pod(system.namespace, name) for name in sorted(ready))
    assert postgres_says(system.settings, postgres, 10.0).answer is Answer.READY
    assert redis_says(system.settings, redis, 10.0).answer is Answer.READY
    said = b"".join(output_of(system.settings, redis, ["echo", "a", "b c"], 100))
    assert said == b"a b c\n"
    with pytest.raises(CommandFailed) as failed:
        list(output_of(system.settings, redis, ["sh", "-c", "echo no >&2; exit 7"], 100))
    assert (failed.value.status, failed.value.complaint) == (7, "no")
    (other, *_) = pods_of(system, deployment(system, API))
    with pytest.raises(Denied, match="pods/exec"):
        list(output_of(system.settings, Pod(system.namespace, other.name), ["true"], 100))


def test_last_words_of_a_crashed_container_are_read_with_all_other_logs(system: System) -> None:
    settled(system, WORKERS)
    system.crash(WORKERS, "worker", "FATAL no broker is left")

    def crashed() -> bool:
        listed = pods_of(system, deployment(system, WORKERS))
        return any(each.containers[0].restarts > 1 for each in listed)

    system.until(crashed, "it was started again twice")
    found = read_pod_logs(system.settings)
    sources = {line.source for line in found.lines if "FATAL no broker is left" in line.text}
    assert any(source.endswith("/worker (previous)") for source in sources)
    assert all(line.at is not None for line in found.lines)
    names = {line.source.split("/")[0] for line in found.lines}
    assert {"postgres-pod", "redis-pod"} <= names
    absent = pods.log(system.looker, "redis-pod", "redis", lines=5, previous=True)
    assert "previous terminated container" in absent.absent


def test_usage_is_listed_or_its_absence_is_an_answer(system: System) -> None:
    try:
        found = system.until(lambda: pods.pod_usage(system.looker), "usage of the pods")
    except NotFound as error:
        assert "metrics.k8s.io/v1beta1 is not served" in str(error)  # noqa: PT017  one of two
        return
    assert all(usage.cpu >= 0 for each in found for usage in each.containers.values())
    assert pods.node_usage(system.looker)


def test_the_bounds_of_scaling_can_all_be_read(system: System) -> None:
    found = bounds.surroundings(system.looker)
    assert found.unread == ()
    assert found.nodes


def test_all_workloads_are_seen_at_once_with_their_revisions(system: System) -> None:
    found = look_at_workloads(system.settings)
    assert found.unread == ()
    assert {each.workload.name for each in found.looked} >= {API, WORKERS, ENGINE}
    assert all(each.current is not None for each in found.looked)


def test_the_looking_identity_changes_nothing_and_the_mending_one_reads_nothing(
    system: System,
) -> None:
    found = deployment(system, API)
    with pytest.raises(Denied, match="the verb patch on deployments/scale of API group apps"):
        workloads.set_replicas(
            system.looker, Kind.DEPLOYMENT, API, 5, found.resource_version, dry_run=True
        )
    for look in (pods.pods, workloads.deployments, bounds.nodes):
        with pytest.raises(Denied, match="the verb list on"):
            look(system.mender)  # type: ignore[operator]  # three kinds of list
    victim = pods_of(system, found)[0]
    with pytest.raises(Denied, match="pods/eviction"):
        pods.evict(system.looker, victim, dry_run=True)


def test_a_workload_that_no_role_names_is_not_changed(system: System) -> None:
    made = system.administration.get("Deployment", ENGINE)
    spec = {key: made["spec"][key] for key in ("selector", "template")} | {"replicas": 0}
    system.administration.add(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "somebody-elses"},
            "spec": spec,
        }
    )
    try:
        version = deployment(system, "somebody-elses").resource_version
        with pytest.raises(Denied, match="somebody-elses"):
            workloads.set_replicas(
                system.mender, Kind.DEPLOYMENT, "somebody-elses", 1, version, dry_run=True
            )
    finally:
        system.administration.remove("Deployment", "somebody-elses")


def test_what_is_not_there_is_told_and_a_name_like_an_option_reaches_nobody(
    system: System,
) -> None:
    with pytest.raises(NotFound):
        deployment(system, "nobody")
    with pytest.raises(NotFound):
        pods.pod(system.looker, "nobody")
    with pytest.raises(BadInput):
        pods.log(system.looker, "--help", "x", lines=1)
    with pytest.raises(ClientError):
        list(output_of(system.settings, Pod(system.namespace, "redis-0"), ["true"], 100))
