"""Replicas of the API and of the workers, and the queue: looked at, scaled, taken back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import scale_plan
from tasks.domain.causes import Cause
from tasks.domain.errors import PlanStale
from tasks.domain.mending import Effect, planned_cause
from tasks.domain.observation import Health, Observation
from tasks.domain.plan import Proposal
from tasks.domain.pod_shares import shares_json, shares_text
from tasks.domain.queue_diagnosis import COMPONENT, QueueSeen
from tasks.domain.scale_plan import ASKED, RETURN_SCALE, ScaleChange
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import door, evidence, journal, queue_looks, scale_proposals, scalings
from tasks.work.checks import Seen, observe
from tasks.work.queue_looks import QueueSite
from tasks.work.scalings import Site

_OTHERS_SECONDS = 60.0
"""How long a change waits for another incident's change of the same workload."""

_Act = Callable[[Site, ScaleChange, scalings.Fence], tuple[str, dict[str, Any]]]


def _where() -> QueueSite:
    return queue_looks.queue_site_of(settings())


@task(name="Watch what is used", tags={"runbook:recovery.scale.usage"}, **READ)
def watch_usage(incident: str) -> Observation:
    """`kubectl top pods`, of what each asked for and may have."""

    def probe() -> Seen:
        site = _where().site
        found = scalings.shares(site, (site.scaling.api, site.scaling.workers))
        tight = any(each.is_tight for shares in found.values() for each in shares)
        health = Health.DEGRADED if tight else Health.HEALTHY
        return Seen(health, shares_text(found), shares_json(found))

    return observe(incident, "recovery.scale.usage", COMPONENT, probe)


@task(name="Read the queue's depth", tags={"runbook:recovery.scale.queue"}, **READ)
def read_queue_depth(incident: str) -> QueueSeen:
    """How many tasks wait, how old the oldest is, how fast that changes, and who works on them."""
    where = _where()
    seen = queue_looks.looked_at(where)
    observe(incident, "recovery.scale.queue", COMPONENT, lambda: queue_looks.depth(where, seen))
    return seen


def diagnose_queue(seen: QueueSeen) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings. Not a task: it is pure."""
    return queue_looks.found_causes(_where(), seen)


@task(name="Consider what a person asks for", **READ)
def consider_wish(incident: str) -> Cause:
    """The wish as a cause, with a remedy as far as the bounds allow one."""
    wish = journal.read(incident).wish
    if wish is None:
        raise PlanStale("expected a person's wish for other replicas, found none")
    return scale_proposals.asked_for(_where().site, wish.part, wish.replicas)


@task(name="Plan the scaling", **READ)
def plan_scaling(incident: str, cause: Cause, unread: Mapping[str, str] | None = None) -> Proposal:
    """From how many to how many, with every bound, and what the API server would answer."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = scale_plan.plan_scaling(incident, cause, expires_at)
    return Proposal(plan, scale_proposals.dry_run(_where().site, plan, (cause,), unread or {}))


@contextmanager
def scaling_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that every bound still allows what was planned."""
    site = _where().site
    store = ObjectStore(settings().store)
    with door.opened(
        incident,
        scale_proposals.target(journal.read(incident)),
        observe=lambda: scale_proposals.planned_state(site, journal.read(incident)),
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


@task(
    name="Scale",
    tags={
        "runbook:api.resolution.scale",
        "runbook:recovery.scale.api",
        "runbook:recovery.scale.workers",
    },
    **CHANGE,
)
def scale_up(passage: door.Passage) -> dict[str, Any]:
    """The change that the standing plan names, whatever its step's name; then its pods come."""
    change = ScaleChange.of(journal.read(passage.incident).plan)
    return _carried_out(passage, change.step, change, scalings.carry_out)


@task(name="Scale back", tags={"runbook:scale.return"}, **CHANGE)
def scale_back(passage: door.Passage) -> dict[str, Any]:
    """What there was before, when the scaling did not help."""
    change = ScaleChange.of(journal.read(passage.incident).plan)
    return _carried_out(passage, RETURN_SCALE, change, scalings.take_back)


def _carried_out(
    passage: door.Passage, step: str, change: ScaleChange, act: _Act
) -> dict[str, Any]:
    return passage.carry_out(step, lambda fence: act(_where().site, change, fence))


def still_wrong(incident: str) -> bool:
    """Whether the look after the remedy found something else. Not a task: it reads the journal."""
    proof = journal.read(incident).proof
    return proof is not None and bool(proof["result"]["causes"])


@task(name="Look at the queue again", tags={"runbook:recovery.scale.verify"}, **READ)
def look_again(incident: str) -> Effect:
    """The same look and the same diagnosis as before, until the planned cause is gone."""
    plan = journal.read(incident).plan
    if planned_cause(plan) == ASKED:
        return scalings.effect(_where().site, ScaleChange.of(plan))
    return queue_looks.effect(_where(), plan)
