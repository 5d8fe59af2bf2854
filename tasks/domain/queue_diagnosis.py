"""Why tasks wait: the workers are gone, stuck, or too few. Pure; reads no alert's name.

A backlog by itself is no trouble: one that shrinks fast enough mends itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from tasks.domain.causes import Cause, Confidence, Remedial, ranked
from tasks.domain.database_readings import Unread
from tasks.domain.disruption import RestartCaps
from tasks.domain.pod_health import PodHealth, Trouble, pod_health
from tasks.domain.pods import PodState
from tasks.domain.restart_plan import DESTROYS, choose, restart_remedial
from tasks.domain.scale_plan import SCALE_WORKERS, scale_remedial
from tasks.domain.scaling import (
    CannotScale,
    EnoughAlready,
    Scaling,
    ScalingPolicy,
    Surroundings,
    scale_up,
)
from tasks.domain.severity import Assessment, Severity
from tasks.domain.task_queue import HeldTasks, QueueReading
from tasks.domain.workloads import Deployment

COMPONENT = "workers"
STUCK = "queue.workers-stuck"

STARTING = timedelta(minutes=2)
"""A worker may take so long until it is ready."""

_RESTARTED_AT_MOST = RestartCaps(share=1.0, number=10)
"""Workers serve no users: all may be restarted, one after the other."""

_LEFT_TO_PEOPLE = frozenset({Trouble.CANNOT_START, Trouble.NO_NODE, Trouble.OUT_OF_MEMORY})


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """From where on waiting is a cause. Tasks, and seconds; see the settings of the same names.

    Celery gives a task that a worker holds for longer than `visibility_seconds` to another one: a
    task that is older shows that no worker does even that any more.
    """

    backlog: int
    drain_seconds: float
    stuck_seconds: float
    visibility_seconds: float


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers' Deployment, its pods and what bounds it."""

    workload: Deployment
    pods: tuple[PodState, ...]
    around: Surroundings


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """One look at the queues and at the workers; what could not be read says why.

    `looks`: how often the queues were looked at, one after the other, because none of their tasks
    was taken; `queues` is the last of these looks.
    """

    at: datetime
    queues: tuple[QueueReading, ...] | Unread
    held: HeldTasks | Unread
    workers: Workers | Unread
    looks: int = 1

    @property
    def consumed(self) -> float:
        """Tasks a second that were taken, of all queues together."""
        return 0.0 if isinstance(self.queues, Unread) else sum(q.consumed for q in self.queues)

    @property
    def waiting(self) -> int:
        """Tasks that wait, in all queues together."""
        return 0 if isinstance(self.queues, Unread) else sum(q.waiting for q in self.queues)

    @property
    def ready(self) -> int:
        """Workers that are ready."""
        return 0 if isinstance(self.workers, Unread) else self.workers.workload.ready

    def unread(self) -> dict[str, str]:
        """What could not be read, and why."""
        parts = {"queues": self.queues, "tasks in work": self.held, "workers": self.workers}
        return {name: part.reason for name, part in parts.items() if isinstance(part, Unread)}


@dataclass(frozen=True, slots=True)
class _Flow:
    """All queues together: the workers take from each."""

    waiting: int
    arriving: float
    consumed: float
    oldest_seconds: float | None
    held: HeldTasks
    is_held_known: bool
    looks: int

    @property
    def drained_in(self) -> float | None:
        """Seconds until nothing waits at the present rates; None: it does not shrink."""
        net = self.consumed - self.arriving
        return self.waiting / net if net > 0 else None

    def is_backlog(self, limits: QueueLimits) -> bool:
        """Whether many wait, and will go on waiting."""
        drained_in = self.drained_in
        is_short = drained_in is not None and drained_in <= limits.drain_seconds
        return self.waiting >= limits.backlog and not is_short


def diagnose(seen: QueueSeen, policy: ScalingPolicy, limits: QueueLimits) -> tuple[Cause, ...]:
    """Every cause that the look shows, the surest first; none when nothing has to wait.

    Without the queues nothing is known; without the workers the backlog is, and no remedy.
    """
    if isinstance(seen.queues, Unread):
        return ()
    flow = _flow(seen, seen.queues)
    if not flow.waiting:
        return ()
    if isinstance(seen.workers, Unread):
        return ranked(_unexplained(flow, limits, "the workers could not be looked at"))
    return ranked(_causes(flow, seen.workers, seen.at, policy, limits))


def _causes(
    flow: "_Flow", workers: Workers, at: datetime, policy: ScalingPolicy, limits: QueueLimits
) -> Iterable[Cause]:
    """Tasks wait: the one reason for it that explains all that is seen."""
    if not workers.workload.replicas:
        yield _gone(flow, workers, policy, limits)
    elif not workers.workload.ready:
        yield from _down(flow, workers, at)
    elif _may_be_stuck(flow, limits):
        yield _stuck(flow, workers, limits)
    elif not flow.consumed:
        yield from _unexplained(flow, limits, "none was taken while we looked: long tasks, perhaps")
    elif flow.is_backlog(limits):
        yield _too_few(flow, workers, policy, limits)


def assess(causes: Sequence[Cause]) -> Assessment | None:
    """A component that does not serve: P2 by the runbook's list; None without a sure cause."""
    sure = next((each for each in causes if each.confidence is not Confidence.POSSIBLE), None)
    if sure is None:
        return None
    return Assessment(Severity.P2, "class.p2.component", sure.summary)


def workers_wanted(flow_rate: float, arriving: float, waiting: int, has: int, within: float) -> int:
    """Workers that keep up with what arrives and clear what waits within so many seconds.

    `flow_rate` is what `has` workers take together, tasks per second and more than 0.
    """
    return max(has + 1, ceil(has * (arriving + waiting / within) / flow_rate))


def _flow(seen: QueueSeen, queues: Sequence[QueueReading]) -> _Flow:
    ages = [each.oldest_seconds for each in queues if each.oldest_seconds is not None]
    return _Flow(
        waiting=seen.waiting,
        arriving=sum(each.arriving for each in queues),
        consumed=seen.consumed,
        oldest_seconds=max(ages, default=None),
        held=HeldTasks(0, None) if isinstance(seen.held, Unread) else seen.held,
        is_held_known=not isinstance(seen.held, Unread),
        looks=seen.looks,
    )


def _gone(flow: _Flow, workers: Workers, policy: ScalingPolicy, limits: QueueLimits) -> Cause:
    """Nobody wants any worker: somebody has scaled them to nothing, or forgotten to scale back."""
    wanted = max(1, min(ceil(flow.waiting / limits.backlog), policy.most))
    return _cause(
        "queue.workers-gone",
        Confidence.PROVEN,
        f"{_waiting(flow)} and {workers.workload.name} is scaled to 0",
        flow,
        *_scaled(workers, wanted, policy),
    )


def _down(flow: _Flow, workers: Workers, at: datetime) -> Iterable[Cause]:
    """Workers are wanted, and none is ready."""
    health = [pod_health(pod, at, STARTING) for pod in workers.pods]
    if any(each.trouble is Trouble.STARTING for each in health):
        return
    troubled = [each for each in health if each.trouble.is_trouble]
    why = f": {troubled[0]}" if troubled else ": no pod of it is there"
    yield _cause(
        "queue.workers-down",
        Confidence.PROVEN,
        f"{_waiting(flow)} and none of the {workers.workload.replicas} workers is ready{why}",
        flow,
        *_mended_by_restart(flow, workers, troubled),
    )


def _stuck(flow: _Flow, workers: Workers, limits: QueueLimits) -> Cause:
    """Likely only of workers that do not even give back what they hold for too long."""
    seconds = flow.held.oldest_seconds or 0.0
    said = (
        f"{_waiting(flow)}; none was taken, and the {flow.held.count} in work are held for up to "
        f"{seconds:.0f} s"
    )
    if seconds >= limits.visibility_seconds and flow.looks > 1:
        remedy = _restarted(flow, workers, workers.pods)
        return _cause(STUCK, Confidence.LIKELY, said, flow, *remedy)
    why = "workers at long tasks look the same"
    return _cause(STUCK, Confidence.POSSIBLE, said, flow, None, why)


def _may_be_stuck(flow: _Flow, limits: QueueLimits) -> bool:
    held = flow.held
    is_old = held.oldest_seconds is not None and held.oldest_seconds >= limits.stuck_seconds
    return flow.waiting > 0 and not flow.consumed and held.count > 0 and is_old


def _too_few(flow: _Flow, workers: Workers, policy: ScalingPolicy, limits: QueueLimits) -> Cause:
    has = workers.workload.ready
    wanted = workers_wanted(flow.consumed, flow.arriving, flow.waiting, has, limits.drain_seconds)
    drained = flow.drained_in
    until = "does not shrink" if drained is None else f"needs {drained:.0f} s to clear"
    return _cause(
        "queue.too-few-workers",
        Confidence.LIKELY,
        f"{_waiting(flow)}; {has} workers take {flow.consumed:.1f} a second of {flow.arriving:.1f} "
        f"that arrive: it {until}",
        flow,
        *_scaled(workers, wanted, policy),
    )


def _unexplained(flow: _Flow, limits: QueueLimits, why: str) -> Iterable[Cause]:
    """Many wait, and nothing that was seen says what to do about it."""
    if flow.is_backlog(limits):
        summary = f"{_waiting(flow)}; {why}"
        yield _cause("queue.backlog", Confidence.POSSIBLE, summary, flow, None, "")


def _scaled(workers: Workers, wanted: int, policy: ScalingPolicy) -> tuple[Remedial | None, str]:
    decision = scale_up(workers.workload, wanted, policy, workers.around)
    match decision:
        case Scaling():
            return scale_remedial(SCALE_WORKERS, workers.workload, decision, workers.around), ""
        case CannotScale(text=text) | EnoughAlready(text=text):
            return None, text


def _mended_by_restart(
    flow: _Flow, workers: Workers, troubled: Sequence[PodHealth]
) -> tuple[Remedial | None, str]:
    """Unless what keeps them from starting would keep the new ones as well."""
    for each in troubled:
        if each.trouble in _LEFT_TO_PEOPLE:
            return None, f"a restart does not mend that {each}"
    return _restarted(flow, workers, [each.pod for each in troubled])


def _restarted(
    flow: _Flow, workers: Workers, asked: Sequence[PodState]
) -> tuple[Remedial | None, str]:
    pods = workers.pods
    chosen, left = choose(asked, pods, workers.workload.replicas, _RESTARTED_AT_MOST)
    remedy = restart_remedial(workers.workload, chosen, pods)
    if remedy is None:
        return None, "; ".join(left) or "there is no pod to restart"
    return replace(remedy, destroys=f"{DESTROYS}; {_cut_off(flow)}"), ""


def _cut_off(flow: _Flow) -> str:
    """What becomes of the tasks in the hands of workers that end."""
    held = flow.held
    count = f"the {held.count} tasks" if flow.is_held_known else "tasks, how many is not known,"
    return (
        f"{count} that workers hold: those in work are cut off, and given to another worker only "
        "where they are acknowledged late; those acknowledged before they ran are lost, and nobody "
        "counts them"
    )


def _waiting(flow: _Flow) -> str:
    oldest = flow.oldest_seconds
    age = f", the oldest for {oldest:.0f} s" if oldest is not None else ""
    return f"{flow.waiting} tasks wait{age}"


def _cause(
    code: str,
    confidence: Confidence,
    summary: str,
    flow: _Flow,
    remedy: Remedial | None,
    why_none: str,
) -> Cause:
    evidence: dict[str, Any] = {
        "waiting": flow.waiting,
        "arriving_per_second": round(flow.arriving, 2),
        "consumed_per_second": round(flow.consumed, 2),
        "oldest_seconds": flow.oldest_seconds and round(flow.oldest_seconds, 1),
        "in_work": flow.held.count,
        "in_work_seconds": flow.held.oldest_seconds and round(flow.held.oldest_seconds, 1),
    }
    if why_none:
        evidence["why_no_remedy"] = why_none
        summary = f"{summary}; {why_none}"
    return Cause(code, COMPONENT, confidence, summary, evidence, remedy)
