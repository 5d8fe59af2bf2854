"""Replicas are changed through the one door: within bounds, once, after a kill too, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.rbac import Account
from tasks.domain.causes import Cause, Confidence
from tasks.domain.errors import Held, NotApproved, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan
from tasks.domain.scale_plan import (
    PROCEDURE,
    RETURN_SCALE,
    SCALE_WORKERS,
    ScaleChange,
    plan_scaling,
    scale_remedial,
)
from tasks.domain.scaling import Scaling
from tasks.work import approvals, door, holding, incidents, journal, scale_proposals, scalings
from tasks.work.scalings import Site
from tests.tasks.passing import no_evidence, steps
from tests.tasks.proposals import BEA, propose

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

WORKERS, API = "celery-workers", "rlhf-audit-trail"


class Killed(BaseException):
    """The process is gone at once: nothing of ours runs any more."""


def planned(site: Site, wanted: int, name: str = WORKERS) -> Plan:
    with incidents.durably() as connection:
        incident = incidents.open_in(
            connection, "Workers: tasks wait", "workers", PROCEDURE, "person", "anna"
        )
    found = scalings.consider(site, name, wanted)
    assert isinstance(found.decision, Scaling), found.decision
    remedy = scale_remedial(SCALE_WORKERS, found.workload, found.decision, found.around)
    cause = Cause("queue.too-few-workers", "workers", Confidence.LIKELY, "many wait", {}, remedy)
    return propose(plan_scaling(incident, cause, datetime.now(UTC) + timedelta(hours=1)))


def approved(site: Site, wanted: int, name: str = WORKERS) -> Plan:
    plan = planned(site, wanted, name)
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "go on")
    return plan


@contextmanager
def opened(site: Site, plan: Plan) -> Iterator[door.Passage]:
    with door.opened(
        plan.incident,
        scale_proposals.target(journal.read(plan.incident)),
        observe=lambda: scale_proposals.planned_state(site, journal.read(plan.incident)),
        evidence_holds=no_evidence,
    ) as passage:
        yield passage


def scale(site: Site, plan: Plan, *, back: bool = False, dies: bool = False) -> dict[str, Any]:
    """One step through the door; `dies`: after its change and before its record."""
    change = ScaleChange.of(plan)
    act = scalings.take_back if back else scalings.carry_out

    def acting(fence: scalings.Fence) -> tuple[str, dict[str, Any]]:
        done = act(site, change, fence)
        if dies:
            raise Killed
        return done

    with opened(site, plan) as passage:
        return passage.carry_out(RETURN_SCALE if back else change.step, acting)


def replicas(cluster: Cluster, name: str = WORKERS) -> int:
    return int(cluster.get("deployments", name)["spec"]["replicas"])


def minimum(cluster: Cluster) -> int:
    return int(cluster.get("horizontalpodautoscalers", API)["spec"]["minReplicas"])


def govern(cluster: Cluster, least: int = 3, most: int = 6) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": API}
    spec = {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most}
    cluster.add("horizontalpodautoscalers", {"metadata": {"name": API}, "spec": spec})


def test_an_approved_plan_scales_once_and_its_pods_are_waited_for(
    site: Site, cluster: Cluster
) -> None:
    plan = approved(site, 3)
    assert scale(site, plan)["ready"] == 3
    assert replicas(cluster) == 3
    version = cluster.get("deployments", WORKERS)["metadata"]["generation"]
    assert scale(site, plan)["ready"] == 3  # by another run: from the journal
    assert cluster.get("deployments", WORKERS)["metadata"]["generation"] == version
    assert steps(plan.incident) == [("step started", SCALE_WORKERS), ("step done", SCALE_WORKERS)]


def test_what_did_not_help_is_taken_back(site: Site, cluster: Cluster) -> None:
    plan = approved(site, 3)
    scale(site, plan)
    assert scale(site, plan, back=True) == {"returned": True, "to": 1}
    assert replicas(cluster) == 1


def test_a_run_that_died_between_the_change_and_its_record_is_finished_by_the_next(
    site: Site, cluster: Cluster
) -> None:
    plan = approved(site, 3)
    with pytest.raises(Killed):
        scale(site, plan, dies=True)
    assert replicas(cluster) == 3
    generation = cluster.get("deployments", WORKERS)["metadata"]["generation"]
    assert scale(site, plan)["ready"] == 3
    assert cluster.get("deployments", WORKERS)["metadata"]["generation"] == generation
    with pytest.raises(Killed):
        scale(site, plan, back=True, dies=True)
    assert scale(site, plan, back=True)["returned"] is False
    assert replicas(cluster) == 1
    done = [fact for fact in journal.read(plan.incident).facts if fact.kind is FactKind.STEP_DONE]
    assert "scaled already" in done[0].data["summary"]


def test_what_an_autoscaler_governs_is_scaled_by_its_minimum_and_returned_to_that(
    site: Site, cluster: Cluster
) -> None:
    cluster.controllers.autoscalers.sync_seconds = 0.5
    govern(cluster)
    plan = approved(site, 5, API)
    assert scale(site, plan)["ready"] == 5
    assert (minimum(cluster), replicas(cluster, API)) == (5, 5)
    scale(site, plan, back=True)
    assert minimum(cluster) == 3


def test_an_autoscaler_that_appeared_since_the_plan_makes_it_stale(
    site: Site, cluster: Cluster
) -> None:
    plan = approved(site, 5, API)
    govern(cluster)
    with pytest.raises(PlanStale):
        scale(site, plan)
    assert (minimum(cluster), replicas(cluster, API)) == (3, 3)


def test_somebody_elses_scaling_is_not_overwritten_in_either_direction(
    site: Site, cluster: Cluster
) -> None:
    plan = approved(site, 3)
    cluster.change("deployments", WORKERS, {"spec": {"replicas": 2}})
    with pytest.raises(PlanStale):
        scale(site, plan)
    assert replicas(cluster) == 2
    again = approved(site, 4)
    scale(site, again)
    cluster.change("deployments", WORKERS, {"spec": {"replicas": 7}})
    assert scale(site, again, back=True) == {"returned": False}
    assert replicas(cluster) == 7


def test_a_quota_that_was_filled_since_the_plan_makes_it_stale(
    site: Site, cluster: Cluster
) -> None:
    plan = approved(site, 4)
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"requests.cpu": "50m"}}}
    cluster.add("resourcequotas", quota)
    with pytest.raises(PlanStale):
        scale(site, plan)
    assert replicas(cluster) == 1


def test_pods_that_find_no_node_are_told_with_the_schedulers_reason(
    site: Site, cluster: Cluster
) -> None:
    plan = approved(site, 2)
    cluster.pending(WORKERS)
    quick = Site(site.cluster, site.scaling.model_copy(update={"ready_seconds": 1.0}))
    result = scale(quick, plan)
    assert result["ready"] == 1
    assert "Insufficient cpu" in result["missing"]


def test_without_a_yes_and_under_a_hold_nothing_is_scaled(site: Site, cluster: Cluster) -> None:
    with pytest.raises(NotApproved):
        scale(site, planned(site, 3))
    plan = approved(site, 3)
    holding.hold_until_sealed(plan.incident, f"deployment/{WORKERS}", "a breach?", "damage")
    with pytest.raises(Held):
        scale(site, plan)
    assert replicas(cluster) == 1


def test_a_dry_run_says_which_grant_is_missing_and_names_every_bound(
    site: Site, cluster: Cluster
) -> None:
    plan = planned(site, 3)
    lines = scale_proposals.dry_run(site, plan, (), {})
    assert lines[-1] == "the API server would take the change"
    assert any("our policy" in line for line in lines)
    cluster.grant("remediate", Account("nobody"))
    refused = scale_proposals.dry_run(site, plan, (), {})[-1]
    assert "would refuse the change" in refused
    assert "deployments/scale" in refused
    assert replicas(cluster) == 1
