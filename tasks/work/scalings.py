"""Changing how many replicas run: within every bound, once, and back again.

An act may be called again after a kill at any instruction: what the object says tells whether the
change was made already, was not made yet, or is somebody else's by now.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError, Conflict
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.incident import Incident
from tasks.domain.mending import Effect
from tasks.domain.pod_shares import PodShare, pod_shares, shares_text
from tasks.domain.scale_plan import ScaleChange
from tasks.domain.scaling import (
    Decision,
    Means,
    Scaling,
    ScalingPolicy,
    Surroundings,
    scale_down,
    scale_up,
)
from tasks.domain.workloads import Deployment, Hpa, Kind, StatefulSet
from tasks.sections.capacity import ScalingSettings
from tasks.sections.systems import KubernetesSettings
from tasks.settings import Settings

_ATTEMPTS = 5
_POLL_SECONDS = 0.2
_REASON_LIMIT = 200

Fence = Callable[[], None]
Workload = Deployment | StatefulSet


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster, and our bounds."""

    cluster: KubernetesSettings
    scaling: ScalingSettings

    def reader(self) -> Api:
        """Who looks."""
        return Api(self.cluster)

    def mender(self) -> Api:
        """Who changes, and may not look."""
        return Api(self.cluster, Identity.REMEDIATE)


@dataclass(frozen=True, slots=True)
class Considered:
    """A workload, what surrounds it, and what is decided about another number of replicas."""

    workload: Workload
    around: Surroundings
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the object that the change goes through says now."""

    value: int
    resource_version: str
    workload: Workload


def site_of(settings: Settings) -> Site:
    """The site, from the settings."""
    return Site(settings.kubernetes, settings.scaling)


def policy_of(scaling: ScalingSettings, present: int) -> ScalingPolicy:
    """Our own bounds: the step is an absolute number and a share of those that there are."""
    share = max(1, floor(present * scaling.share)) if present else scaling.step
    return ScalingPolicy(scaling.minimum, scaling.maximum, min(scaling.step, share))


def consider(site: Site, name: str, wanted: int, kind: Kind = Kind.DEPLOYMENT) -> Considered:
    """What is allowed of `wanted` replicas, by all bounds as they are now; nothing is changed."""
    api = site.reader()
    found = workload_of(api, kind, name)
    return decided(site, found, wanted, bounds.surroundings(api))


def decided(site: Site, workload: Workload, wanted: int, around: Surroundings) -> Considered:
    """The same, of what has been read already."""
    policy = policy_of(site.scaling, workload.replicas)
    decide = scale_down if wanted < workload.replicas else scale_up
    return Considered(workload, around, decide(workload, wanted, policy, around))


def workload_of(api: Api, kind: Kind, name: str) -> Workload:
    """A workload by its name; NotFound when there is none."""
    if kind is Kind.DEPLOYMENT:
        return workloads.deployment(api, name)
    return workloads.stateful_set(api, name)


def would_be_taken(site: Site, change: ScaleChange) -> str:
    """What the API server says to the change without making it: empty when it would take it."""
    try:
        _apply(site.mender(), change, _standing(site.reader(), change), change.replicas, dry=True)
    except (ClientError, BadInput, PlanStale) as error:
        return clean(str(error), _REASON_LIMIT)
    return ""


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if all that bounds the change still allows it.

    Else what became of it: then the plan no longer fits. Once a step has begun it is finished.
    """
    plan = incident.plan
    change = ScaleChange.of(plan)
    observed = dict(plan.observed) if plan else {}
    if incident.begun:
        return observed
    found = consider(site, change.name, change.replicas, change.kind)
    decision = found.decision
    if (
        isinstance(decision, Scaling)
        and decision.replicas == change.replicas
        and (decision.means, decision.through) == (change.means, change.through)
        and _value(found.workload, found.around.hpas or (), change) == change.former
    ):
        return observed
    allowed = decision.replicas if isinstance(decision, Scaling) else decision.text
    return {"allowed": allowed, "present": found.workload.replicas}


def carry_out(site: Site, change: ScaleChange, fence: Fence) -> tuple[str, dict[str, Any]]:
    """Make the change and wait for its pods. Raises PlanStale when it is somebody else's by now."""
    was_there = _change(site, change, change.former, change.replicas, fence)
    ready, missing = _wait_for(site, change)
    text = f"{change.target} has {ready} of {change.replicas} replicas ready"
    text += " (it was scaled already)" if was_there else ""
    return (
        f"{text}; {missing}" if missing else text,
        change.as_json() | {"ready": ready, "missing": missing, "usage": _usage(site, change.name)},
    )


def effect(site: Site, change: ScaleChange) -> Effect:
    """Whether there is what a person has asked for."""
    found = workload_of(site.reader(), change.kind, change.name)
    if _is_there(found, change):
        return Effect(gone=True, text=f"{change.target} has {found.ready} replicas ready")
    missing = _what_is_missing(site.reader(), found)
    return Effect(gone=False, text=f"{change.target} has {found.ready} ready: {missing}")


def take_back(site: Site, change: ScaleChange, fence: Fence) -> tuple[str, dict[str, Any]]:
    """Return to what there was before, unless somebody else has changed it since."""
    try:
        was_there = _change(site, change, change.replicas, change.former, fence)
    except PlanStale as error:
        return f"left as it is: {error}", {"returned": False}
    what = "had not been scaled" if was_there else f"is back at {change.former}"
    return f"{change.through} {what}", {"returned": not was_there, "to": change.former}


def shares(site: Site, names: tuple[str, ...]) -> Mapping[str, tuple[PodShare, ...]]:
    """What the pods of these Deployments use of what they may. Raises ClientError."""
    api = site.reader()
    usage = cluster_pods.pod_usage(api)
    return {
        name: pod_shares(cluster_pods.pods(api, workloads.deployment(api, name).selector), usage)
        for name in names
    }


def _change(site: Site, change: ScaleChange, old: int, new: int, fence: Fence) -> bool:
    """From `old` to `new`; whether it was so already. The version guards each attempt."""
    reader, mender = site.reader(), site.mender()
    for attempt in range(_ATTEMPTS):
        now = _standing(reader, change)
        if now.value == new:
            return True
        if now.value != old:
            raise PlanStale(
                f"expected {change.through} at {old}, found {now.value}: somebody else has changed "
                "it; make a new plan"
            )
        fence()
        try:
            _apply(mender, change, now, new, dry=False)
        except Conflict:  # a controller wrote its status in between, or a person the number
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return False
    raise AssertionError


def _apply(mender: Api, change: ScaleChange, now: _Standing, new: int, *, dry: bool) -> None:
    version = now.resource_version
    if change.means is Means.AUTOSCALER_MINIMUM:
        bounds.set_autoscaler_minimum(mender, change.through, new, version, dry_run=dry)
    else:
        workloads.set_replicas(mender, change.kind, change.name, new, version, dry_run=dry)


def _standing(api: Api, change: ScaleChange) -> _Standing:
    workload = workload_of(api, change.kind, change.name)
    hpas = bounds.hpas(api)
    value = _value(workload, hpas, change)
    governor = _governor(hpas, change)
    is_minimum = change.means is Means.AUTOSCALER_MINIMUM and governor is not None
    version = governor.resource_version if is_minimum and governor else workload.resource_version
    return _Standing(value, version, workload)


def _value(workload: Workload, hpas: Sequence[Hpa], change: ScaleChange) -> int:
    """Raises PlanStale when another object decides than was planned."""
    governor = _governor(hpas, change)
    if change.means is Means.AUTOSCALER_MINIMUM:
        if governor is None or governor.name != change.through:
            raise PlanStale(f"expected the autoscaler {change.through} to govern {change.target}")
        return governor.minimum
    if governor is not None and workload.replicas:
        raise PlanStale(
            f"expected no autoscaler of {change.target}, found {governor.name}: make a new plan"
        )
    return workload.replicas


def _governor(hpas: Sequence[Hpa], change: ScaleChange) -> Hpa | None:
    mine = (change.kind.value, change.name)
    return next((each for each in hpas if (each.target_kind, each.target_name) == mine), None)


def _wait_for(site: Site, change: ScaleChange) -> tuple[int, str]:
    """How many are ready, and what keeps the others, once they are or the time is over."""
    api = site.reader()
    until = time.monotonic() + site.scaling.ready_seconds
    while True:
        found = workload_of(api, change.kind, change.name)
        if _is_there(found, change):
            return found.ready, ""
        if time.monotonic() >= until:
            return found.ready, _what_is_missing(api, found)
        time.sleep(_POLL_SECONDS)


def _usage(site: Site, name: str) -> str:
    """What the pods use afterwards; new ones are in no figures for their first minute."""
    try:
        return shares_text(shares(site, (name,)))
    except ClientError as error:
        return clean(f"unknown: {error}", _REASON_LIMIT)


def _is_there(found: Workload, change: ScaleChange) -> bool:
    is_seen = found.observed_generation >= found.generation
    if change.ends_pods:
        return is_seen and found.current <= change.replicas
    return is_seen and found.ready >= change.replicas


def _what_is_missing(api: Api, workload: Workload) -> str:
    pods = cluster_pods.pods(api, workload.selector)
    reasons = [each.unschedulable or each.reason or each.message for each in pods if not each.ready]
    said = next((reason for reason in reasons if reason), "no reason is given")
    short = max(0, workload.replicas - len(pods))
    made = f"; {short} were not even made" if short else ""
    return clean(f"{len(reasons)} pods are not ready: {said}{made}", _REASON_LIMIT)
