"""What a plan of this procedure was made against, and what its dry run shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.domain.causes import Cause, Confidence
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.incident import Incident
from tasks.domain.mending import described
from tasks.domain.plan import Plan
from tasks.domain.restart_plan import restart_in
from tasks.domain.scale_plan import (
    ASKED,
    SCALED_PARTS,
    ScaleChange,
    scale_remedial,
    scales,
)
from tasks.domain.scaling import EnoughAlready, Scaling
from tasks.work import pod_restarts, scalings
from tasks.work.scalings import Site


def asked_for(site: Site, part: str, replicas: int) -> Cause:
    """What a person wants, as a cause; without a remedy where no bound allows any of it."""
    if part not in SCALED_PARTS:
        raise BadInput(f"expected {' or '.join(SCALED_PARTS)} to scale, found {part[:40]!a}")
    name = site.scaling.api if part == "api" else site.scaling.workers
    found = scalings.consider(site, name, replicas)
    summary = f"{replicas} replicas of {name} are asked for"
    match found.decision:
        case Scaling() as decision:
            remedy = scale_remedial(SCALED_PARTS[part], found.workload, decision, found.around)
            return Cause(ASKED, part, Confidence.PROVEN, summary, {}, remedy)
        case other:
            evidence = {"is_there": isinstance(other, EnoughAlready)}
            return Cause(ASKED, part, Confidence.PROVEN, f"{summary}; {other.text}", evidence)


def target(incident: Incident) -> str:
    """The workload that the standing plan changes. Raises PlanStale without a plan."""
    if incident.plan is None:
        raise PlanStale("expected an approved plan, found none: make a new one")
    return incident.plan.steps[0].target


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if it is still so; else what became of it."""
    plan = incident.plan
    if plan is None or scales(plan.observed):
        return scalings.planned_state(site, incident)
    return pod_restarts.planned_state(restarts_of(site), incident)


def restarts_of(site: Site) -> pod_restarts.Site:
    """Where pods are restarted."""
    return pod_restarts.Site(site.cluster, site.scaling.ready_seconds)


def dry_run(
    site: Site, plan: Plan, causes: Sequence[Cause], unread: Mapping[str, str]
) -> list[str]:
    """What looking without touching has shown, line by line."""
    lines = described(causes, unread)
    if not scales(plan.observed):
        return [*lines, *pod_restarts.would_be_taken(restarts_of(site), restart_in(plan))]
    refused = scalings.would_be_taken(site, ScaleChange.of(plan))
    lines += [f"at most {bound}" for bound in plan.observed.get("bounds", ())]
    lines += [f"unknown bound: {each}" for each in plan.observed.get("unknown_bounds", ())]
    answer = f"would refuse the change: {refused}" if refused else "would take the change"
    return [*lines, f"the API server {answer}"]
