"""What a remedy of the queue has brought: gone only with proof, and what helps is not undone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_readings import Unread
from tasks.domain.mending import Effect
from tasks.domain.plan import Plan
from tasks.domain.queue_diagnosis import QueueSeen, Workers, diagnose
from tasks.domain.queue_effect import effect_on_queue
from tasks.domain.scale_plan import SCALE_WORKERS, plan_scaling, scale_remedial
from tasks.domain.scaling import Scaling, scale_up
from tasks.domain.task_queue import HeldTasks, QueueReading
from tests.domain.cluster_values import NOW
from tests.domain.test_queue_diagnosis import (
    AT_WORK,
    FREE,
    GROWING,
    LIMITS,
    POLICY,
    STILL,
    deployment,
    first,
    seen,
    seen_unready,
)

MANY = QueueReading("celery", 50_000, arriving=20.0, consumed=0.0)
SERVED = replace(GROWING, waiting=50, arriving=1.0, consumed=2.0)
CODES = ("queue.workers-gone", "queue.workers-down", "queue.workers-stuck", "queue.too-few-workers")


def plan_against(cause: Cause | None) -> Plan:
    assert cause is not None
    return plan_scaling("INC-1", cause, NOW + timedelta(hours=1))


def plan_of(code: str) -> Plan:
    """A plan that scales, whatever the cause."""
    decided = scale_up(deployment(), 6, POLICY, FREE)
    assert isinstance(decided, Scaling)
    remedy = scale_remedial(SCALE_WORKERS, deployment(), decided, FREE)
    return plan_against(Cause(code, "workers", Confidence.LIKELY, "tasks wait", {}, remedy))


def effect(plan: Plan, look: QueueSeen, *taken: float) -> Effect:
    causes = diagnose(look, POLICY, LIMITS)
    rates = taken or (look.consumed,)
    return effect_on_queue(plan, look, causes, rates, LIMITS)


def starting() -> QueueSeen:
    look = seen_unready(created_at=NOW - timedelta(seconds=5))
    assert isinstance(look.workers, Workers)
    young = tuple(
        replace(each, containers=tuple(replace(one, started_at=None) for one in each.containers))
        for each in look.workers.pods
    )
    return replace(look, workers=replace(look.workers, pods=young))


UNPROVEN = {
    "a growing backlog of which nobody took a task": seen(MANY),
    "workers that only start": starting(),
    "an empty queue without a worker": seen(replace(STILL, waiting=0), replicas=0, ready=0),
    "a queue that nobody could read": seen(Unread("refused")),
    "workers that nobody could look at": replace(seen(), workers=Unread("403")),
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("look", UNPROVEN.values(), ids=UNPROVEN)
def test_nothing_is_gone_without_a_ready_worker_that_takes_tasks_or_a_short_queue(
    look: QueueSeen, code: str
) -> None:
    found = effect(plan_of(code), look)
    assert not found.gone
    assert found.unseen or code in found.causes


@pytest.mark.parametrize("code", CODES)
def test_a_ready_worker_that_takes_tasks_is_proof(code: str) -> None:
    assert effect(plan_of(code), seen(SERVED)).gone


def test_workers_that_are_there_again_and_too_few_leave_that_as_another_cause() -> None:
    found = effect(plan_of("queue.workers-down"), seen())
    assert (found.gone, found.causes) == (True, ("queue.too-few-workers",))


def test_workers_that_were_stuck_must_be_seen_to_take_a_task_however_few_wait() -> None:
    few = seen(replace(STILL, waiting=5), held=AT_WORK)
    assert effect(plan_of("queue.workers-stuck"), few).unseen
    assert effect(plan_of("queue.workers-gone"), few).gone
    assert effect(plan_of("queue.workers-stuck"), seen(replace(STILL, waiting=0))).gone


def test_workers_that_may_be_stuck_still_are_not_gone() -> None:
    look = seen(STILL, held=HeldTasks(8, 900.0))
    found = effect(plan_of("queue.workers-stuck"), look)
    assert (found.gone, found.causes) == (False, ("queue.workers-stuck",))


def test_more_workers_that_help_and_are_not_enough_are_kept() -> None:
    """Two took 2 a second; six take 6, and it would still need longer than it may."""
    plan = plan_against(first(seen()))
    found = effect(plan, seen(replace(GROWING, consumed=6.0), replicas=6, ready=6))
    assert (found.gone, found.helps) == (False, True)
    assert found.text.startswith("it helps and is not enough: 6.0 tasks a second are taken, 2.0")
    assert found.causes == ("queue.too-few-workers",)


@pytest.mark.parametrize("taken", [(2.0,), (1.0, 3.0, 2.0), (2.2,)])
def test_more_workers_that_take_no_more_do_not_help(taken: tuple[float, ...]) -> None:
    plan = plan_against(first(seen()))
    found = effect(plan, seen(replicas=6, ready=6), *taken)
    assert (found.gone, found.helps, found.unseen) == (False, False, False)


def test_what_a_plan_has_not_observed_cannot_have_risen() -> None:
    found = effect(plan_of("queue.too-few-workers"), seen(replicas=6, ready=6), 6.0)
    assert not found.helps


def test_a_plan_of_garbage_observations_has_not_observed_anything() -> None:
    plan = plan_of("queue.too-few-workers")
    for hostile in ("x", None, True, -1, float("nan"), {"consumed_per_second": []}):
        observed: dict[str, Any] = {**plan.observed, "queue": {"consumed_per_second": hostile}}
        found = effect(replace(plan, observed=observed), seen(replicas=6, ready=6), 6.0)
        assert not found.helps
