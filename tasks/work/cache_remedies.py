"""Mending Redis: look from outside and in its pod, restart its pod through the door, look again."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tasks.clients.cache_state import last_counted, read_state
from tasks.clients.errors import ClientError, Transient
from tasks.clients.pod_answers import redis_says
from tasks.clients.pod_exec import Pod
from tasks.domain.alertmanager import clean
from tasks.domain.cache_diagnosis import CacheLimits, diagnose
from tasks.domain.cache_plan import fits, planned_instance
from tasks.domain.cache_readings import CacheReadings, CacheState, Rates
from tasks.domain.causes import Cause
from tasks.domain.database_readings import Unread, known
from tasks.domain.errors import BadInput
from tasks.domain.incident import Incident
from tasks.domain.instance_restart import Instance
from tasks.domain.mending import serious
from tasks.domain.observation import Health
from tasks.domain.plan import Plan
from tasks.sections.systems import CacheSettings, KubernetesSettings, MetricsSettings
from tasks.settings import Settings
from tasks.work.checks import Seen
from tasks.work.stateful_restart import look_at_instance, restart

_MIB = 1 << 20
_REASON_LIMIT = 200
_INSIDE_SECONDS = 4.0
_LOOK_AGAIN_SECONDS = 0.5

Fence = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Site:
    """The server, and its pod where one is configured."""

    cache: CacheSettings
    cluster: KubernetesSettings
    metrics: MetricsSettings
    queues: tuple[str, ...]
    limits: CacheLimits
    pod: Pod | None
    sample_seconds: float
    restart_seconds: float
    verify_seconds: float


def site_of(settings: Settings) -> Site:
    """The site, from the settings."""
    care = settings.cache_care
    return Site(
        cache=settings.cache,
        cluster=settings.kubernetes,
        metrics=settings.metrics,
        queues=settings.scaling.queues,
        limits=CacheLimits(care.full_share, care.crowded_share),
        pod=Pod.parse(settings.cache.pod) if settings.cache.pod else None,
        sample_seconds=care.sample_seconds,
        restart_seconds=care.restart_seconds,
        verify_seconds=care.verify_seconds,
    )


def looked_at(site: Site) -> CacheReadings:
    """Two looks from outside, one in its pod; of a server that is away, what was counted last.

    Never raises for a server or a cluster that is away or refuses.
    """
    if site.pod is None:
        return _outside(site)
    with ThreadPoolExecutor(1) as beside:  # a server that hangs costs one time-out, not two
        seconds = min(_INSIDE_SECONDS, site.cache.timeout_seconds + 1)
        inside = beside.submit(redis_says, site.cluster, site.pod, seconds)
        return replace(_outside(site), inside=inside.result())


def _outside(site: Site) -> CacheReadings:
    try:
        first, _ = read_state(site.cache, ())
        time.sleep(site.sample_seconds)
        state, queued = read_state(site.cache, site.queues)
    except Transient as error:
        return _away(site, clean(str(error), _REASON_LIMIT))
    except ClientError as error:
        reason = Unread(clean(str(error), _REASON_LIMIT))
        return CacheReadings(datetime.now(UTC), state=reason, instance=_instance(site))
    return CacheReadings(
        datetime.now(UTC),
        state=state,
        rates=_rates(first, state, site.sample_seconds),
        queued=queued,
        instance=_instance(site),
    )


def _away(site: Site, unreachable: str) -> CacheReadings:
    seen = CacheReadings(datetime.now(UTC), unreachable=unreachable, instance=_instance(site))
    with suppress(ClientError):  # what was counted is worth a word, not an error
        seen = replace(seen, counted=last_counted(site.metrics, site.queues[0]))
    return seen


def _instance(site: Site) -> Instance | Unread | None:
    if site.pod is None:
        return None
    return look_at_instance(site.cluster, site.pod, keeps_files=False)


def _rates(first: CacheState, last: CacheState, seconds: float) -> Rates:
    """What grew between the looks; a server that was restarted meanwhile counts from nothing."""
    return Rates(
        evicted=max(0, last.evicted - first.evicted) / seconds,
        oom=max(0, last.oom - first.oom) / seconds,
        rejected=max(0, last.rejected - first.rejected) / seconds,
    )


def as_seen(seen: CacheReadings) -> Seen:
    """The look as an observation."""
    evidence: dict[str, Any] = {"inside": seen.inside.answer.value, "queued": dict(seen.queued)}
    if seen.unreachable:
        said = f"; in its pod: {seen.inside.text}" if seen.inside.text else ""
        return Seen(Health.FAILED, f"{seen.unreachable}{said}", evidence)
    state = seen.state
    if isinstance(state, Unread):
        return Seen(Health.UNKNOWN, state.reason, evidence)
    evidence |= {
        "clients": state.clients,
        "used_memory": state.used_memory,
        "maxmemory": state.max_memory,
        "policy": state.policy,
        "changes_since_save": state.changes,
        "keys": state.keys,
        "persists": state.persists,
    }
    waiting = sum(seen.queued.values())
    kept = f"{state.changes:,} changes unsaved" if state.persists else "nothing is saved"
    return Seen(
        Health.HEALTHY,
        f"version {state.version}, {state.keys:,} keys in {state.used_memory / _MIB:.0f} MiB, "
        f"{state.clients:,} clients, {waiting:,} tasks queued, {kept}",
        evidence,
    )


def planned_state(site: Site, incident: Incident) -> dict[str, Any]:
    """What the plan was made against, if the same pod is still silent; else what is wrong now.

    Once the step has begun it is finished: the act looks at the pod itself.
    """
    plan = incident.plan
    if plan is not None and incident.begun:
        return dict(plan.observed)
    return fits(plan, diagnose(looked_at(site), site.limits))


def restart_pod(site: Site, plan: Plan | None, fence: Fence) -> tuple[str, dict[str, Any]]:
    """End the planned pod, and wait for its successor."""
    if site.pod is None:
        raise BadInput("expected the cache's pod, found none: set RUNBOOK_CACHE__POD")
    return restart(site.cluster, site.pod, planned_instance(plan), fence, site.restart_seconds)


def still_there(site: Site, code: str) -> tuple[list[Cause], CacheReadings]:
    """Look until the cause is gone or the time is over: what is serious then, and the last look."""
    until = time.monotonic() + site.verify_seconds
    while True:
        seen = looked_at(site)
        causes = list(serious(diagnose(seen, site.limits)))
        is_gone = known(seen.state) is not None and all(cause.code != code for cause in causes)
        if is_gone or time.monotonic() >= until:
            return causes, seen
        time.sleep(_LOOK_AGAIN_SECONDS)
