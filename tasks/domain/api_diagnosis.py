"""What is wrong with the API: from one look to ranked causes. Pure; reads no alert's name.

What the API needs comes first: with its database away its pods are not ready, and no restart, no
roll-back and no further replica mends that. Then what its pods say, then their resources, then
what was changed shortly before.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tasks.domain.causes import Cause, Confidence, Remedial, ranked
from tasks.domain.impact import Impact
from tasks.domain.observation import Health
from tasks.domain.pods import PodState, PodUsage, Stage
from tasks.domain.recent_changes import RecentChange, Timing
from tasks.domain.rollout_evidence import trouble_of

COMPONENT = "api"

STARTING = timedelta(minutes=2)
"""A pod that is not ready may still be starting for so long."""

BUSY = 0.9
"""Share of a limit from which a pod is short of it."""

WANTED = 0.7
"""Share of its limit that a pod is to use after scaling up."""

CROWDED = 0.95
"""Share of the database's connections from which new ones are likely to be refused."""

REFUSED_LOGINS = 10
"""Within the window, from which the served system's own alert speaks of a suspicious pattern."""

_NAMED = 10


@dataclass(frozen=True, slots=True)
class ApiReadings:
    """One look at the API; None is unknown, which is never taken for well.

    `needs` is the health of what the API needs; `connections` those of its database, used and
    allowed; `refused_logins` those of the last window; `changes` come from `recent_changes`.
    """

    at: datetime
    deployment: str
    pods: tuple[PodState, ...] | None = None
    usage: tuple[PodUsage, ...] | None = None
    impact: Impact | None = None
    needs: Mapping[str, Health] = field(default_factory=dict)
    connections: tuple[int, int] | None = None
    changes: tuple[RecentChange, ...] = ()
    refused_logins: float | None = None

    @property
    def unready(self) -> tuple[PodState, ...]:
        """Pods that should serve by now and do not; those that are ending are none."""
        return tuple(
            pod
            for pod in self.pods or ()
            if not pod.ready
            and pod.deleting_since is None
            and (bool(trouble_of(pod)) or pod.created_at is None or self._is_old(pod.created_at))
        )

    @property
    def is_troubled(self) -> bool:
        """Whether users or pods show that something is wrong."""
        noticed = self.impact is not None and self.impact.health is Health.DEGRADED
        return noticed or bool(self.unready) or bool(self.killed)

    @property
    def killed(self) -> tuple[PodState, ...]:
        """Pods of which a container was killed for its memory."""
        return tuple(
            pod for pod in self.pods or () if any(each.out_of_memory for each in pod.containers)
        )

    def _is_old(self, created: datetime) -> bool:
        return self.at - created > STARTING


def diagnose(seen: ApiReadings) -> tuple[Cause, ...]:
    """Every cause that the look shows, the surest first; none when nothing is wrong."""
    if not seen.is_troubled:
        return ranked(_refused_logins(seen))
    away = sorted(name for name, health in seen.needs.items() if health is Health.FAILED)
    explained = [*_dependency(seen, away), *_connections(seen)]
    return ranked(
        (
            *explained,
            *_broken_release(seen),
            *_unhealthy(seen, explained=bool(explained)),
            *_constrained(seen, explained=bool(explained)),
            *_changed(seen, explained=bool(explained)),
            *_refused_logins(seen),
        )
    )


def _dependency(seen: ApiReadings, away: Sequence[str]) -> Iterable[Cause]:
    if away:
        yield Cause(
            "api.dependency",
            COMPONENT,
            Confidence.PROVEN,
            f"the API needs {' and '.join(away)}, which failed: that is to be mended first",
            {"failed": list(away)},
        )
    unseen = sorted(name for name, health in seen.needs.items() if health is Health.UNKNOWN)
    if unseen and not away:
        yield Cause(
            "api.dependency",
            COMPONENT,
            Confidence.POSSIBLE,
            f"the API needs {' and '.join(unseen)}, of which nothing is known",
            {"unknown": unseen},
        )


def _connections(seen: ApiReadings) -> Iterable[Cause]:
    if seen.connections is None:
        return
    used, allowed = seen.connections
    if allowed > 0 and used >= CROWDED * allowed:
        yield Cause(
            "api.database-connections",
            COMPONENT,
            Confidence.PROVEN if used >= allowed else Confidence.LIKELY,
            f"{used} of the database's {allowed} connections are taken: new ones are refused",
            {"used": used, "allowed": allowed},
        )


def _broken_release(seen: ApiReadings) -> Iterable[Cause]:
    """Pods that cannot start for what stands in their template: no restart mends that."""
    broken = [pod for pod in seen.unready if trouble_of(pod)]
    suspect = _suspect(seen)
    if not broken or suspect is None:
        return
    yield Cause(
        "api.release-change",
        COMPONENT,
        Confidence.PROVEN,
        f"{len(broken)} pods do not start ({trouble_of(broken[0])}) since {suspect.summary}",
        {"pods": _named(broken), "change": suspect.as_json()},
        _undo(seen, suspect),
    )


def _unhealthy(seen: ApiReadings, *, explained: bool) -> Iterable[Cause]:
    """Pods that run and do not serve; what explains all of them is not mended by a restart."""
    running = [pod for pod in seen.unready if not trouble_of(pod) and _runs(pod)]
    crashing = [pod for pod in seen.unready if trouble_of(pod)]
    if running:
        mendable = not explained
        yield Cause(
            "api.unhealthy-pods",
            COMPONENT,
            Confidence.LIKELY if mendable else Confidence.POSSIBLE,
            f"{len(running)} of {len(seen.pods or ())} pods run but are not ready",
            {"pods": _named(running)},
            Remedial(
                "api.resolution.restart",
                "restart the pods that are not ready, one by one within the disruption budget",
                f"deployment/{seen.deployment}",
                "what these pods hold in memory and in their own file systems",
                {"pods": [{"name": pod.name, "uid": pod.uid} for pod in running]},
            )
            if mendable
            else None,
        )
    if crashing and _suspect(seen) is None:
        yield Cause(
            "api.unhealthy-pods",
            COMPONENT,
            Confidence.POSSIBLE if explained else Confidence.LIKELY,
            f"{len(crashing)} pods do not start ({trouble_of(crashing[0])}), and nothing was "
            "released lately: a restart happens by itself and does not help",
            {"pods": _named(crashing)},
        )


def _constrained(seen: ApiReadings, *, explained: bool) -> Iterable[Cause]:
    shares = _shares(seen)
    busy = {name: share for name, share in shares.items() if share >= BUSY}
    killed = seen.killed
    widely = bool(shares) and len(busy) * 2 >= len(shares)
    if not killed and not widely:
        return
    pods = max(len(seen.pods or ()), 1)
    fullest = max(shares.values(), default=1.0)
    more = max(1, math.ceil(pods * fullest / WANTED) - pods)
    said = [f"{len(killed)} pods were killed for their memory"] if killed else []
    said += [f"{len(busy)} of {len(shares)} pods use {BUSY:.0%} of a limit"] if widely else []
    yield Cause(
        "api.resource-constrained",
        COMPONENT,
        Confidence.POSSIBLE if explained else Confidence.PROVEN if killed else Confidence.LIKELY,
        " and ".join(said),
        {"shares": dict(sorted(busy.items())[:_NAMED]), "killed": _named(killed)},
        None
        if explained
        else Remedial(
            "api.resolution.scale",
            f"run {more} pods more, as far as quota, nodes and autoscaler allow",
            f"deployment/{seen.deployment}",
            "nothing",
            {"deployment": seen.deployment, "more": more},
        ),
    )


def _changed(seen: ApiReadings, *, explained: bool) -> Iterable[Cause]:
    """A release just before the onset, where the pods themselves show no reason."""
    suspect = _suspect(seen)
    if suspect is None or any(trouble_of(pod) for pod in seen.unready):
        return
    yield Cause(
        "api.release-change",
        COMPONENT,
        Confidence.POSSIBLE if explained else Confidence.LIKELY,
        f"released shortly before it began: {suspect.summary}",
        {"change": suspect.as_json()},
        None if explained else _undo(seen, suspect),
    )


def _refused_logins(seen: ApiReadings) -> Iterable[Cause]:
    if seen.refused_logins is not None and seen.refused_logins > REFUSED_LOGINS:
        yield Cause(
            "api.authentication",
            COMPONENT,
            Confidence.POSSIBLE,
            f"{seen.refused_logins:.0f} logins were refused: an attack, or an expired token",
            {"refused": round(seen.refused_logins, 1)},
        )


def _suspect(seen: ApiReadings) -> RecentChange | None:
    return next(
        (
            change
            for change in seen.changes
            if change.timing is Timing.JUST_BEFORE and change.release.component == COMPONENT
        ),
        None,
    )


def _undo(seen: ApiReadings, suspect: RecentChange) -> Remedial:
    return Remedial(
        "recovery.rollback.undo",
        f"return to the last revision before {suspect.release.revision} that is known to have "
        "worked",
        f"deployment/{seen.deployment}",
        f"revision {suspect.release.revision} no longer serves; it stays in the history",
        {"deployment": seen.deployment, "bad_revision": suspect.release.revision},
    )


def _shares(seen: ApiReadings) -> dict[str, float]:
    """The fullest of CPU and memory against its limit, by pod; pods without limits have none."""
    pods = {pod.name: pod for pod in seen.pods or ()}
    found: dict[str, float] = {}
    for usage in seen.usage or ():
        pod = pods.get(usage.name)
        shares = _shares_of(pod, usage) if pod is not None else []
        if shares:
            found[usage.name] = round(max(shares), 3)
    return found


def _shares_of(pod: PodState, usage: PodUsage) -> list[float]:
    """Of each container, because each has limits of its own."""
    shares = []
    for container in pod.containers:
        used = usage.containers.get(container.name)
        if used is None:
            continue
        limits = container.resources
        pairs = ((used.cpu, limits.cpu_limit), (used.memory, limits.memory_limit))
        shares += [use / limit for use, limit in pairs if limit]
    return shares


def _runs(pod: PodState) -> bool:
    return any(each.stage is Stage.RUNNING and not each.init for each in pod.containers)


def _named(pods: Sequence[PodState]) -> list[str]:
    return [pod.name for pod in pods[:_NAMED]]
