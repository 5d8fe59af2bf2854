"""Restarting the pods of a workload one by one: evicted by uid, each after its forerunner's heir.

May be called again after a kill at any instruction: what is gone was evicted already (or went by
itself), and how many successors are still to come is told from the pods that there are.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError, Conflict, NotFound, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.clients.kubernetes_refusals import BudgetSpent
from tasks.domain.alertmanager import clean
from tasks.domain.causes import Cause
from tasks.domain.disruption import why_not_now
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.pods import PodState
from tasks.domain.restart_cap import RESTARTS, within_cap
from tasks.domain.restart_plan import (
    Restart,
    Victim,
    restart_in,
    successors_missing,
    what_is_left,
)
from tasks.domain.rollout_evidence import trouble_of
from tasks.domain.rollout_look import Looked, template_digest
from tasks.domain.rollout_status import Progress, RolloutStatus
from tasks.domain.workloads import Deployment, Kind, Pdb, StatefulSet
from tasks.sections.systems import KubernetesSettings
from tasks.work import journal

_POLL_SECONDS = 0.2
_ATTEMPTS = 5
_REASON_LIMIT = 300

Fence = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster; `ready_seconds` for a successor to serve, and for a budget to allow the next."""

    cluster: KubernetesSettings
    ready_seconds: float

    def reader(self) -> Api:
        """Who looks."""
        return Api(self.cluster)

    def mender(self) -> Api:
        """Who changes, and may not look."""
        return Api(self.cluster, Identity.REMEDIATE)


@dataclass(frozen=True, slots=True)
class _Now:
    """The workload and its pods as they are."""

    workload: Deployment | StatefulSet
    pods: list[PodState]

    def pod(self, uid: str) -> PodState | None:
        return next((each for each in self.pods if each.uid == uid), None)

    def missing(self, restart: Restart) -> int:
        return successors_missing(restart, self.pods, self.workload.replicas)


@dataclass(slots=True)
class _Course:
    """What became of each pod, and why the rest was left alone."""

    restarted: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    well: list[str] = field(default_factory=list)
    stopped: str = ""

    def told(self, restart: Restart) -> tuple[str, dict[str, Any]]:
        done = len(self.restarted) + len(self.gone)
        text = f"{done} of {len(restart.pods)} pods of {restart.target} were restarted"
        text += f"; {len(self.well)} serve again by themselves and were left alone" * bool(
            self.well
        )
        text += f"; stopped: {self.stopped}" if self.stopped else ""
        return text, {
            "restarted": self.restarted,
            "gone_before": self.gone,
            "left_alone": self.well,
            "stopped": self.stopped,
        }


def attempts_lately(target: str, but: str, now: datetime) -> int:
    """How many plans of incidents have restarted the target, or pods of it, in the last hour.

    `but`: the hash of a plan that does not count, because it is the one that is carried out.
    """
    begun = journal.facts_of_kinds(
        (FactKind.PLAN_PROPOSED, FactKind.STEP_STARTED), since=now - timedelta(days=2)
    )
    standing: dict[str, str] = {}
    found: set[tuple[str, str]] = set()
    for fact in begun:
        if fact.kind is FactKind.PLAN_PROPOSED:
            standing[fact.incident] = str(fact.data.get("hash", ""))
        elif fact.data.get("step") in RESTARTS and fact.data.get("target") == target:
            plan = standing.get(fact.incident, "")
            if plan != but and now - fact.at <= timedelta(hours=1):
                found.add((fact.incident, plan))
    return len(found)


def kept_to_cap(causes: Sequence[Cause], per_hour: int) -> tuple[Cause, ...]:
    """The same causes; one whose remedy restarts what was restarted too often has none any more."""
    now = datetime.now(UTC)
    targets = {each.remedy.target for each in causes if each.remedy is not None}
    lately = {each: attempts_lately(each, "", now) for each in targets}
    return within_cap(causes, lately, per_hour)


def would_be_taken(site: Site, restart: Restart) -> list[str]:
    """What the API server says to each eviction without making it, line by line."""
    lines = []
    now = _now(site.reader(), restart)
    if restart.rolled_at:
        return [_would_roll_out(site, restart, now)]
    budgets = _budgets(site.reader())
    for victim in restart.pods:
        pod = now.pod(victim.uid)
        if pod is None:
            lines.append(f"{victim.name} is gone already")
            continue
        why = why_not_now(pod, now.pods, now.workload.replicas, budgets)
        try:
            cluster_pods.evict(site.mender(), pod, dry_run=True)
        except (ClientError, BadInput) as error:
            why = clean(str(error), _REASON_LIMIT)
        lines.append(
            f"{victim.name} cannot be evicted at this moment: {why}"
            if why
            else f"the API server would evict {victim.name}"
        )
    return lines


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if one of its pods at least is still as bad as it was.

    Else what became of them: then the plan no longer fits. Once a step has begun it is finished.
    """
    plan = incident.plan
    restart = restart_in(plan)
    if plan is not None and incident.begun:
        return dict(plan.observed)
    now = _now(site.reader(), restart)
    _check_same(now, restart)
    if plan is not None and what_is_left(restart, now.pods):
        return dict(plan.observed)
    return {"pods": "none of the planned pods is there any more and as bad as it was"}


def carry_out(site: Site, restart: Restart, fence: Fence) -> tuple[str, dict[str, Any]]:
    """Evict the planned pods, one after the other; stops at the first whose heir does not serve.

    What is not done then is said, not raised: the look afterwards decides. Raises PlanStale when
    the workload is another by now.
    """
    if restart.rolled_at:
        return _rolled_out(site, restart, fence)
    course = _Course()
    reader, mender = site.reader(), site.mender()
    for victim in restart.pods:
        course.stopped = _await_successors(site, reader, restart)
        if not course.stopped:
            course.stopped = _restart(site, reader, mender, restart, victim, course, fence)
        if course.stopped:
            return course.told(restart)
    course.stopped = _await_successors(site, reader, restart)
    return course.told(restart)


def _rolled_out(site: Site, restart: Restart, fence: Fence) -> tuple[str, dict[str, Any]]:
    """One more rollout of the same template, watched until all its pods serve or time is over."""
    reader, mender = site.reader(), site.mender()
    for attempt in range(_ATTEMPTS):
        now = _now(reader, restart)
        if now.workload.template.restarted_at == restart.rolled_at:
            break
        _check_same(now, restart)
        fence()
        try:
            _roll_out(mender, restart, now, dry_run=False)
        except Conflict:  # a controller wrote its status in between
            if attempt == _ATTEMPTS - 1:
                raise
    until = time.monotonic() + site.ready_seconds
    status = _status(reader, restart)
    while not status.progress.final and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        status = _status(reader, restart)
    stopped = "" if status.progress is Progress.DONE else clean(status.text, _REASON_LIMIT)
    text = f"{restart.target} was rolled out once more"
    return (
        f"{text}; not finished: {stopped}" if stopped else f"{text}: all its pods are new",
        {"rolled_out": restart.rolled_at, "stopped": stopped},
    )


def _status(reader: Api, restart: Restart) -> RolloutStatus:
    return Looked(_now(reader, restart).workload, ()).status


def _roll_out(mender: Api, restart: Restart, now: _Now, *, dry_run: bool) -> None:
    at = datetime.fromisoformat(restart.rolled_at)
    version = now.workload.resource_version
    workloads.restart(mender, restart.kind, restart.name, at, version, dry_run=dry_run)


def _would_roll_out(site: Site, restart: Restart, now: _Now) -> str:
    try:
        _roll_out(site.mender(), restart, now, dry_run=True)
    except (ClientError, BadInput) as error:
        return f"{restart.target} cannot be rolled out now: {clean(str(error), _REASON_LIMIT)}"
    return f"the API server would roll {restart.target} out once more"


def _budgets(reader: Api) -> list[Pdb]:
    """None where they cannot be read: an eviction keeps to them by itself."""
    try:
        return bounds.pdbs(reader)
    except ClientError:
        return []


def _restart(
    site: Site,
    reader: Api,
    mender: Api,
    restart: Restart,
    victim: Victim,
    course: _Course,
    fence: Fence,
) -> str:
    """One pod: looked at again, and evicted when budgets allow it; why not, else empty."""
    until = time.monotonic() + site.ready_seconds
    while True:
        now = _now(reader, restart)
        _check_same(now, restart)
        pod = now.pod(victim.uid)
        if pod is None or pod.deleting_since is not None:
            course.gone.append(victim.name)
            return ""
        if victim.unready and pod.ready and not trouble_of(pod):
            course.well.append(victim.name)
            return ""
        why = why_not_now(pod, now.pods, now.workload.replicas, _budgets(reader))
        if not why:
            fence()
            why = _evicted(mender, pod)
            if not why:
                course.restarted.append(victim.name)
                return ""
        if time.monotonic() >= until:
            return f"{victim.name} could not be evicted: {why}"
        time.sleep(_POLL_SECONDS)


def _evicted(mender: Api, pod: PodState) -> str:
    """Why the API server did not evict it just now; empty when it did, or when it was gone."""
    try:
        cluster_pods.evict(mender, pod, dry_run=False)
    except (NotFound, Conflict):
        return ""  # its name belongs to nobody, or to its successor
    except (BudgetSpent, Transient) as error:
        return clean(str(error), _REASON_LIMIT)
    return ""


def _await_successors(site: Site, reader: Api, restart: Restart) -> str:
    """Until each pod that is gone has a successor that serves; what keeps them, else empty."""
    until = time.monotonic() + site.ready_seconds
    while True:
        try:
            now = _now(reader, restart)
        except Transient as error:
            why = clean(str(error), _REASON_LIMIT)
        else:
            if not now.missing(restart):
                return ""
            why = _what_keeps_them(now, restart)
        if time.monotonic() >= until:
            return why
        time.sleep(_POLL_SECONDS)


def _what_keeps_them(now: _Now, restart: Restart) -> str:
    fresh = [each for each in now.pods if each.uid not in restart.present and not each.ready]
    reasons = [trouble_of(each) or each.unschedulable or each.message for each in fresh]
    said = next((reason for reason in reasons if reason), "it does not become ready")
    named = fresh[0].name if fresh else "no successor was made yet"
    text = f"{now.missing(restart)} successors do not serve yet: {named}: {said}"
    return clean(text, _REASON_LIMIT)


def _now(api: Api, restart: Restart) -> _Now:
    if restart.kind is Kind.DEPLOYMENT:
        workload: Deployment | StatefulSet = workloads.deployment(api, restart.name)
    else:
        workload = workloads.stateful_set(api, restart.name)
    return _Now(workload, cluster_pods.pods(api, workload.selector))


def _check_same(now: _Now, restart: Restart) -> None:
    if now.workload.uid != restart.uid:
        raise PlanStale(f"{restart.target} was deleted and made anew: make a new plan")
    if restart.rolled_at and getattr(now.workload, "paused", False):
        raise PlanStale(f"{restart.target} is paused: resume it first")
    if template_digest(now.workload.template.content) != restart.template:
        raise PlanStale(
            f"{restart.target} has another template by now, and so new pods: make a new plan"
        )
