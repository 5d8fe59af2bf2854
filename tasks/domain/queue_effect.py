"""What a remedy has brought to the queue. Pure.

That a cause is not found again proves nothing: nobody may have taken a task for a moment, or the
workers only start. It is gone when a worker is ready and tasks are taken, or few wait. And what
helped without being enough is no reason to take the help away.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from tasks.domain.causes import Cause
from tasks.domain.mending import Effect, effect_on, planned_cause, serious
from tasks.domain.plan import Plan
from tasks.domain.queue_diagnosis import STUCK, QueueLimits, QueueSeen
from tasks.domain.scale_plan import ScaleChange, consumed_before, scales

_MORE = 1.25
"""Rates of a moment differ by themselves: so much more is a rise,"""

_SHARE = 0.5
"""or half of what the added workers would bring where that is less."""


def effect_on_queue(
    plan: Plan | None,
    seen: QueueSeen,
    causes: Sequence[Cause],
    taken: Sequence[float],
    limits: QueueLimits,
) -> Effect:
    """The effect on the planned cause, from the last look and its causes.

    `taken`: tasks a second that were taken, of every look since the remedy.
    """
    code = planned_cause(plan)
    sure = serious(causes)
    left = [*sure, *(each for each in causes if each.code == code and each not in sure)]
    unread = "; ".join(f"{name}: {why}" for name, why in seen.unread().items())
    found = effect_on(code, left, unread)
    if found.gone:
        lacking = why_unproven(code, seen, limits)
        text = f"whether {code} is gone cannot be seen: {lacking}"
        return replace(found, gone=False, text=text, unseen=True) if lacking else found
    before, now = consumed_before(plan), fmean(taken) if taken else 0.0
    if found.unseen or before is None or not _rose(before, now, _grown(plan)):
        return found
    rates = f"{now:.1f} tasks a second are taken, {before:.1f} before it"
    return replace(found, text=f"it helps and is not enough: {rates}; {found.text}", helps=True)


def why_unproven(code: str, seen: QueueSeen, limits: QueueLimits) -> str:
    """What is missing to say that the cause is gone; empty: nothing is."""
    if not seen.ready:
        return "no worker is ready"
    if seen.consumed > 0 or not seen.waiting:
        return ""
    if code == STUCK:
        return f"{seen.waiting} tasks wait, and no worker was seen to take one"
    if seen.waiting >= limits.backlog:
        return f"{seen.waiting} tasks wait, and none was taken while we looked"
    return ""


def _rose(before: float, now: float, grown: float) -> bool:
    if before <= 0:
        return now > 0
    return now >= before * min(_MORE, 1 + _SHARE * (grown - 1))


def _grown(plan: Plan | None) -> float:
    """How many times as many workers the plan makes; endless where there were none."""
    if plan is None or not scales(plan.observed):
        return float("inf")
    change = ScaleChange.of(plan)
    return change.replicas / change.present if change.present else float("inf")
