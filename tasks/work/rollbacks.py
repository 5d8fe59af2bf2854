"""Taking a workload back to an earlier revision: look, try without touching, patch, watch.

An act may be called again after a kill at any instruction: the template says whether the patch was
sent already, and a revision's number whether somebody has changed it since.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients.errors import ClientError, Conflict, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_identity import Identity
from tasks.domain.causes import Cause
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.incident import Incident
from tasks.domain.mending import Effect, described, planned_cause
from tasks.domain.plan import Plan, Proposal
from tasks.domain.release_diagnosis import effect_of
from tasks.domain.rollback_plan import (
    Planned,
    next_change,
    plan_rollback,
    planned_in,
    read_planned,
)
from tasks.domain.rollback_record import KINDS, evidence_of_rollbacks
from tasks.domain.rollout import AlreadyThere, Undo
from tasks.domain.rollout_evidence import (
    Evidence,
    deployment_evidence,
    stateful_set_evidence,
)
from tasks.domain.rollout_history import (
    CannotUndo,
    Why,
    deployment_history,
    stateful_set_history,
)
from tasks.domain.rollout_look import Looked, template_digest
from tasks.domain.rollout_status import Progress
from tasks.domain.untrusted import visible
from tasks.domain.workloads import Deployment, Kind, StatefulSet
from tasks.sections.capacity import RollbackSettings
from tasks.sections.systems import KubernetesSettings
from tasks.settings import Settings
from tasks.work import healthy_revisions, journal
from tasks.work.rollout_watching import Told, followed

_ATTEMPTS = 5

Fence = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster, and how long a rollback may take."""

    cluster: KubernetesSettings
    rollback: RollbackSettings

    def reader(self) -> Api:
        """Who looks."""
        return Api(self.cluster)

    def mender(self) -> Api:
        """Who changes, and may not look."""
        return Api(self.cluster, Identity.REMEDIATE)


def site_of(settings: Settings) -> Site:
    """The site, from the settings."""
    return Site(settings.kubernetes, settings.rollback)


def looked_at(site: Site, kind: Kind, name: str) -> Looked:
    """Its revisions with all that is known of each. Raises NotFound, Denied, Transient ..."""
    api = site.reader()
    found = read_workload(api, kind, name)
    return replace(found, evidence=_evidence(api, found))


def read_workload(api: Api, kind: Kind, name: str) -> Looked:
    """Its revisions alone, as few requests before a patch as can be."""
    if kind is Kind.DEPLOYMENT:
        deployment = workloads.deployment(api, name)
        sets = workloads.replica_sets(api, deployment)
        return Looked(deployment, deployment_history(deployment, sets))
    stateful = workloads.stateful_set(api, name)
    kept = workloads.controller_revisions(api, stateful)
    return Looked(stateful, stateful_set_history(stateful, kept), kept=tuple(kept))


def propose(site: Site, incident: str, cause: Cause, expires_at: datetime) -> Proposal | CannotUndo:
    """The plan against a cause, tried by the API server; CannotUndo with why it would refuse."""
    plan = plan_rollback(incident, cause, expires_at)
    try:
        tried = dry_run(site, read_planned(plan.observed))
    except ClientError as error:
        return CannotUndo(Why.REFUSED, f"the patch would be refused: {error}")
    changes = [f"template: {each}" for each in plan.observed["changes"]]
    return Proposal(plan, [*described((cause,), {}), *tried, *changes])


def dry_run(site: Site, planned: Planned) -> list[str]:
    """What the API server says to the patch without keeping it, line by line.

    Raises Denied (naming the grant that is missing), Rejected and so on where it would refuse, and
    PlanStale where there is nothing to undo any more.
    """
    before, after = _sent(site, planned, lambda: None, dry_run=True)
    if after is None:
        return [f"nothing to do: {planned.target} is at the template of {planned.wanted} already"]
    if template_digest(after.template.content) != planned.wanted.template:
        raise PlanStale(
            f"expected the API server to make {planned.wanted} of {planned.target}, found that it "
            "would change the template on the way: a person must look"
        )
    way = f"from {planned.left} to {planned.wanted}"
    stays = after.replicas == before.workload.replicas
    become = "stay at" if stays else f"go from {before.workload.replicas} to"
    return [
        f"the API server would take the patch of {planned.target} {way}",
        f"replicas {become} {after.replicas}",
    ]


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if it still fits; raises PlanStale with what became of it.

    Once a step has begun it is finished: a run that died has changed what it found.
    """
    planned = planned_in(incident.plan)
    observed = dict(incident.plan.observed) if incident.plan else {}
    if incident.begun:
        return observed
    found = next_change(read_workload(site.reader(), planned.kind, planned.name), planned)
    if isinstance(found, AlreadyThere):
        raise PlanStale(f"{found.text}: somebody has rolled it back meanwhile")
    return observed


def carried_out(
    site: Site, planned: Planned, fence: Fence, told: Told
) -> tuple[str, dict[str, Any]]:
    """Bring the wanted revision back and watch it; (one line, what the journal keeps).

    A rollout that fails or takes too long is a result, not an error: what follows decides on it.
    Raises PlanStale when something else has happened to the workload since the plan was made.
    """
    _, after = _sent(site, planned, fence, dry_run=False)
    seconds = site.rollback.return_seconds if planned.back else site.rollback.seconds
    end = followed(site.reader(), site.mender(), planned, seconds, fence, told)
    done = end.progress is Progress.DONE
    verb = "returned to" if planned.back else "taken back to"
    how = "" if after else " (by a run before this one)"
    return (
        f"{planned.target} {verb} {planned.wanted}{how}: {visible(end.text, 300)}",
        {
            "workload": planned.target,
            "left": planned.left.holder,
            "wanted": planned.wanted.holder,
            "sent": after is not None,
            "progress": end.progress.value,
            "done": done,
            "text": visible(end.text, 300),
        },
    )


def effect(site: Site, plan: Plan | None) -> Effect:
    """Whether the workload is at the planned revision, whole; `unseen` where nobody may look.

    Raises Transient when the API server does not answer: asked again it may.
    """
    planned, code = planned_in(plan), planned_cause(plan)
    try:
        looked = read_workload(site.reader(), planned.kind, planned.name)
    except Transient:
        raise
    except ClientError as error:
        text = f"{code} may not be gone: {error}"
        return Effect(gone=False, text=text, causes=(code,), unseen=True)
    return effect_of(looked, planned, code)


def _sent(
    site: Site, planned: Planned, fence: Fence, *, dry_run: bool
) -> tuple[Looked, Deployment | StatefulSet | None]:
    """(as it was, as the API server has made it); None when it was there already.

    The version guards each attempt. A conflict is looked at anew: mostly a controller has written
    its status in between; else what is found says that the plan no longer fits.
    """
    reader, mender = site.reader(), site.mender()
    for _ in range(_ATTEMPTS):
        looked = read_workload(reader, planned.kind, planned.name)
        change = next_change(looked, planned)
        if not isinstance(change, Undo):
            return looked, None
        fence()
        try:
            made = workloads.undo(mender, planned.kind, planned.name, change, dry_run=dry_run)
        except Conflict:
            continue
        return looked, made
    raise PlanStale(
        f"{planned.target} changed under each of {_ATTEMPTS} attempts to patch it: somebody else "
        "is at work on it"
    )


def _evidence(api: Api, looked: Looked) -> tuple[Evidence, ...]:
    found = looked.workload
    pods = cluster_pods.pods(api, found.selector)
    seen = healthy_revisions.known(api.namespace)
    known = looked.revisions
    if isinstance(found, Deployment):
        told = deployment_evidence(found, known, pods, seen)
    else:
        told = stateful_set_evidence(found, known, pods, seen)
    ours = evidence_of_rollbacks(journal.facts_of_kinds(KINDS), looked.target, seen)
    return told + ours


def workload_in(text: str) -> tuple[Kind, str]:
    """`deployment/rlhf-audit-trail` as kind and name. Raises BadInput."""
    kind, _, name = text.partition("/")
    found = {each.value.lower(): each for each in Kind}.get(kind)
    if found is None or not name:
        kinds = " or ".join(f"{each.value.lower()}/NAME" for each in Kind)
        raise BadInput(f"expected {kinds}, found {visible(text, 80)!r}")
    return found, name
