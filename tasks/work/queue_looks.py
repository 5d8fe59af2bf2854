"""Looking at Celery's queues and at the workers that take from them, each in its own time-out."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from tasks.clients import kubernetes_bounds as bounds
from tasks.clients import kubernetes_pods as cluster_pods
from tasks.clients import kubernetes_workloads as workloads
from tasks.clients import task_queue
from tasks.clients.errors import ClientError
from tasks.domain.alertmanager import clean
from tasks.domain.causes import Cause
from tasks.domain.database_readings import Unread
from tasks.domain.errors import BadInput
from tasks.domain.mending import Effect, serious
from tasks.domain.observation import Health
from tasks.domain.plan import Plan
from tasks.domain.queue_diagnosis import QueueLimits, QueueSeen, Workers, diagnose
from tasks.domain.queue_effect import effect_on_queue
from tasks.domain.task_queue import QueueReading
from tasks.sections.systems import CacheSettings
from tasks.settings import Settings
from tasks.work import scalings
from tasks.work.checks import Seen
from tasks.work.scalings import Site

_LOOK_AGAIN_SECONDS = 0.5
_REASON_LIMIT = 200

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class QueueSite:
    """Where the queues are, and where their workers."""

    cache: CacheSettings
    site: Site

    @property
    def limits(self) -> QueueLimits:
        """From where on waiting is a cause."""
        scaling = self.site.scaling
        return QueueLimits(
            scaling.backlog,
            scaling.drain_seconds,
            scaling.stuck_seconds,
            scaling.visibility_seconds,
        )


def queue_site_of(settings: Settings) -> QueueSite:
    """The site, from the settings."""
    return QueueSite(settings.cache, scalings.site_of(settings))


def looked_at(where: QueueSite) -> QueueSeen:
    """Everything at once; what cannot be read says why.

    Where workers are ready and took none of the tasks that wait, the queues are looked at once
    more, for longer.
    """
    scaling = where.site.scaling
    with ThreadPoolExecutor(3) as pool:
        queues = pool.submit(_queues, where, scaling.sample_seconds)
        held = pool.submit(
            _tried, lambda: task_queue.read_held(where.cache, scaling.unacknowledged)
        )
        workers = pool.submit(_tried, lambda: _workers(where.site))
        seen = QueueSeen(datetime.now(UTC), queues.result(), held.result(), workers.result())
    if seen.consumed or not seen.waiting or not seen.ready:
        return seen
    again = _queues(where, scaling.quiet_seconds)
    return replace(seen, at=datetime.now(UTC), queues=again, looks=2)


def found_causes(where: QueueSite, seen: QueueSeen) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings."""
    workers = seen.workers
    present = 0 if isinstance(workers, Unread) else workers.workload.replicas
    return diagnose(seen, scalings.policy_of(where.site.scaling, present), where.limits)


def effect(where: QueueSite, plan: Plan | None) -> Effect:
    """Look until the planned cause is gone or the time is over; workers may only start meanwhile.

    A queue that nobody can read has not been seen to shrink: then nothing is gone.
    """
    until = time.monotonic() + where.site.scaling.verify_seconds
    taken: list[float] = []
    while True:
        seen = looked_at(where)
        if not isinstance(seen.queues, Unread):
            taken.append(seen.consumed)
        causes = found_causes(where, seen)
        found = effect_on_queue(plan, seen, causes, taken, where.limits)
        if found.gone or time.monotonic() >= until:
            return found
        time.sleep(_LOOK_AGAIN_SECONDS)


def depth(where: QueueSite, seen: QueueSeen) -> Seen:
    """The queues as one check: how many tasks wait, how old the oldest is, how they change."""
    if isinstance(seen.queues, Unread):
        return Seen(Health.UNKNOWN, seen.queues.reason)
    waiting = sum(each.waiting for each in seen.queues)
    growth = sum(each.growth for each in seen.queues)
    ages = [each.oldest_seconds for each in seen.queues if each.oldest_seconds is not None]
    oldest = f", the oldest for {max(ages):.0f} s" if ages else ""
    evidence: dict[str, Any] = {"queues": {each.name: each.as_json() for each in seen.queues}}
    if not isinstance(seen.held, Unread):
        evidence["in_work"] = {"count": seen.held.count, "seconds": seen.held.oldest_seconds}
    is_bad = bool(serious(found_causes(where, seen)))
    return Seen(
        Health.DEGRADED if is_bad else Health.HEALTHY,
        f"{waiting} tasks wait{oldest}; {growth:+.1f} a second",
        evidence,
    )


def _queues(where: QueueSite, seconds: float) -> tuple[QueueReading, ...] | Unread:
    scaling = where.site.scaling
    return _tried(
        lambda: task_queue.read_queues(where.cache, scaling.queues, scaling.sent_header, seconds)
    )


def _workers(site: Site) -> Workers:
    api = site.reader()
    workload = workloads.deployment(api, site.scaling.workers)
    pods = cluster_pods.pods(api, workload.selector)
    return Workers(workload, tuple(pods), bounds.surroundings(api))


def _tried(look: Callable[[], _Part]) -> _Part | Unread:
    try:
        return look()
    except (ClientError, BadInput) as error:
        return Unread(clean(str(error), _REASON_LIMIT))
