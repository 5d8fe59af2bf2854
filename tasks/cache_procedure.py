"""Redis or Valkey: looked at from outside and in its pod, diagnosed, restarted through the door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import cache_plan
from tasks.domain.cache_diagnosis import COMPONENT, RESTART_CACHE, diagnose
from tasks.domain.cache_readings import CacheReadings
from tasks.domain.causes import Cause
from tasks.domain.mending import Effect, effect_on, planned_cause
from tasks.domain.plan import Proposal
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import cache_remedies, door, evidence, journal
from tasks.work.cache_remedies import Site
from tasks.work.checks import observe

_OTHERS_SECONDS = 60.0
"""How long a remedy waits for another incident's change of the same workload."""


def _site() -> Site:
    return cache_remedies.site_of(settings())


@task(name="Look at Redis", tags={"runbook:cache.diagnosis"}, **READ)
def look_at_cache(incident: str) -> CacheReadings:
    """`INFO` twice and the queues; of a server that is silent, `redis-cli ping` in its pod."""
    seen = cache_remedies.looked_at(_site())
    observe(incident, "cache.diagnosis", COMPONENT, lambda: cache_remedies.as_seen(seen))
    return seen


def diagnose_cache(seen: CacheReadings) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings. Not a task: it is pure."""
    return diagnose(seen, _site().limits)


@task(name="Plan the restart of Redis", **READ)
def plan_restart(incident: str, cause: Cause, seen: CacheReadings) -> Proposal:
    """The exact pod, and what goes with it."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = cache_plan.plan_cache_remedy(incident, cause, expires_at)
    return Proposal(plan, cache_plan.dry_run((cause,), seen.unread()))


@contextmanager
def remedy_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that the planned pod is still there and silent."""
    site = _site()
    store = ObjectStore(settings().store)

    with door.opened(
        incident,
        cache_plan.target_of(journal.read(incident).plan),
        observe=lambda: cache_remedies.planned_state(site, journal.read(incident)),
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


@task(name="Restart Redis", tags={"runbook:cache.resolution.restart"}, **CHANGE)
def restart_cache(passage: door.Passage) -> dict[str, Any]:
    """End the planned pod by its uid, and wait until its successor is ready."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        return cache_remedies.restart_pod(_site(), journal.read(passage.incident).plan, fence)

    return passage.carry_out(RESTART_CACHE, act)


@task(name="Look at Redis again", tags={"runbook:cache.verify"}, **READ)
def look_again(incident: str) -> Effect:
    """The same look and the same diagnosis as before, until the planned cause is gone."""
    code = planned_cause(journal.read(incident).plan)
    causes, seen = cache_remedies.still_there(_site(), code)
    unseen = seen.unreachable or seen.unread().get("state", "")
    return effect_on(code, causes, unseen)
