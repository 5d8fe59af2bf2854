"""Why tasks wait: gone, down, stuck or too few workers; and when nothing is to be done."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_readings import Unread
from tasks.domain.pods import PodState
from tasks.domain.queue_diagnosis import (
    QueueLimits,
    QueueSeen,
    Workers,
    assess,
    diagnose,
    workers_wanted,
)
from tasks.domain.restart_plan import RESTART
from tasks.domain.scale_plan import SCALE_WORKERS
from tasks.domain.scaling import ScalingPolicy, Surroundings
from tasks.domain.severity import Severity
from tasks.domain.task_queue import HeldTasks, QueueReading
from tasks.domain.workload_reading import read_deployment
from tasks.domain.workloads import Deployment
from tests.domain.cluster_values import NOW, body, changed, pods

POLICY = ScalingPolicy(1, 10, 4)
LIMITS = QueueLimits(backlog=100, drain_seconds=300, stuck_seconds=300, visibility_seconds=3600)
FREE = Surroundings(quotas=(), nodes=None, pods=None, hpas=(), pdbs=())
GROWING = QueueReading("celery", 600, arriving=5.0, consumed=2.0, oldest_seconds=200.0)
STILL = replace(GROWING, consumed=0.0)
AT_WORK = HeldTasks(2, 1.0)


def deployment(replicas: int = 2, ready: int = 2) -> Deployment:
    raw = body("13-deployment-after-undo.json")
    return read_deployment(
        changed(
            raw, spec__replicas=replicas, status__replicas=replicas, status__readyReplicas=ready
        )
    )


def worker_pods(**fields: Any) -> tuple[PodState, ...]:
    found = [each for each in pods("08-pods-all.json") if "bf7d6d4f7" in each.name][:2]
    old = NOW - timedelta(hours=2)
    return tuple(replace(each, created_at=old, **fields) for each in found)


def seen(
    queue: QueueReading | Unread = GROWING,
    *,
    held: HeldTasks | Unread = AT_WORK,
    replicas: int = 2,
    ready: int = 2,
    looks: int = 1,
    **fields: Any,
) -> QueueSeen:
    workers = Workers(deployment(replicas, ready), worker_pods(**fields), FREE)
    queues = queue if isinstance(queue, Unread) else (queue,)
    return QueueSeen(NOW, queues, held, workers, looks)


def first(look: QueueSeen) -> Cause | None:
    found = diagnose(look, POLICY, LIMITS)
    return found[0] if found else None


def test_too_few_workers_get_as_many_as_clear_the_backlog_in_time() -> None:
    cause = first(seen())
    assert cause is not None
    assert (cause.code, cause.confidence) == ("queue.too-few-workers", Confidence.LIKELY)
    assert cause.remedy is not None
    assert cause.remedy.step == SCALE_WORKERS
    # 2 workers take 2 a second; 5 arrive and 600 must go within 300 s: 7 a second, 7 workers; the
    # step of 4 allows 6.
    scale = cause.remedy.arguments["scale"]
    assert (scale["former"], scale["replicas"]) == (2, 6)
    assert "our policy's step" in cause.remedy.action


def test_workers_scaled_to_nothing_are_scaled_up_again() -> None:
    cause = first(seen(STILL, replicas=0, ready=0))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("queue.workers-gone", Confidence.PROVEN)
    assert cause.remedy is not None
    assert cause.remedy.arguments["scale"]["replicas"] == 4


def test_even_a_single_task_without_any_worker_waits_for_ever() -> None:
    cause = first(seen(replace(STILL, waiting=1), replicas=0, ready=0))
    assert cause is not None
    assert cause.code == "queue.workers-gone"
    assert cause.remedy is not None
    assert cause.remedy.arguments["scale"]["replicas"] == 1


def test_workers_that_are_not_ready_are_restarted() -> None:
    cause = first(seen_unready())
    assert cause is not None
    assert (cause.code, cause.confidence) == ("queue.workers-down", Confidence.PROVEN)
    assert cause.remedy is not None
    assert cause.remedy.step == RESTART
    assert len(cause.remedy.arguments["restart"]["pods"]) == 2


def seen_unready(**fields: Any) -> QueueSeen:
    look = seen(STILL, ready=0)
    assert isinstance(look.workers, Workers)
    unready = tuple(replace(each, ready=False, **fields) for each in look.workers.pods)
    return replace(look, workers=replace(look.workers, pods=unready))


def test_a_restart_is_not_offered_where_no_node_takes_the_workers() -> None:
    cause = first(seen_unready(unschedulable="0/1 nodes are available: 1 Insufficient cpu."))
    assert cause is not None
    assert cause.code == "queue.workers-down"
    assert cause.remedy is None
    assert "Insufficient cpu" in cause.summary


def test_workers_that_are_starting_are_given_the_time() -> None:
    look = seen_unready(created_at=NOW - timedelta(seconds=5))
    assert isinstance(look.workers, Workers)
    young = tuple(
        replace(each, containers=tuple(replace(one, started_at=None) for one in each.containers))
        for each in look.workers.pods
    )
    assert first(replace(look, workers=replace(look.workers, pods=young))) is None


def test_workers_that_hold_what_was_to_be_given_back_and_take_none_are_stuck_and_restarted() -> (
    None
):
    cause = first(seen(STILL, held=HeldTasks(8, 3700.0), looks=2))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("queue.workers-stuck", Confidence.LIKELY)
    assert cause.remedy is not None
    assert cause.remedy.step == RESTART


@pytest.mark.parametrize(("seconds", "looks"), [(900.0, 2), (3700.0, 1), (3599.0, 2)])
def test_workers_that_may_be_at_long_tasks_are_only_possibly_stuck(
    seconds: float, looks: int
) -> None:
    cause = first(seen(STILL, held=HeldTasks(8, seconds), looks=looks))
    assert cause is not None
    assert (cause.code, cause.confidence, cause.remedy) == (
        "queue.workers-stuck", Confidence.POSSIBLE, None,
    )  # fmt: skip
    assert "long tasks" in cause.summary


def test_a_restart_of_workers_says_how_many_tasks_it_cuts_off() -> None:
    cause = first(seen(STILL, held=HeldTasks(8, 3700.0), looks=2))
    assert cause is not None
    assert cause.remedy is not None
    assert "the 8 tasks" in cause.remedy.destroys
    assert "cut off" in cause.remedy.destroys
    down = first(replace(seen_unready(), held=Unread("refused")))
    assert down is not None
    assert down.remedy is not None
    assert "how many is not known" in down.remedy.destroys


def test_workers_at_a_long_task_are_not_called_stuck_because_nothing_was_taken_for_a_moment() -> (
    None
):
    cause = first(seen(STILL, held=HeldTasks(8, 20.0)))
    assert cause is not None
    assert (cause.code, cause.confidence, cause.remedy) == (
        "queue.backlog", Confidence.POSSIBLE, None,
    )  # fmt: skip


NO_CAUSE = {
    "nothing waits": QueueReading("celery", 0, 0, 0),
    "few wait": replace(GROWING, waiting=99),
    "it drains in time": replace(GROWING, consumed=8.0),
    "few wait and none was taken for a moment": replace(STILL, waiting=99),
}


@pytest.mark.parametrize("queue", NO_CAUSE.values(), ids=NO_CAUSE)
def test_what_mends_itself_is_no_cause(queue: QueueReading) -> None:
    assert first(seen(queue)) is None


def test_a_backlog_that_drains_too_slowly_is_one() -> None:
    cause = first(seen(replace(GROWING, consumed=5.5)))
    assert cause is not None
    assert "needs 1200 s to clear" in cause.summary


def test_bounds_that_allow_nothing_leave_the_cause_without_a_remedy_and_say_why() -> None:
    look = seen()
    (cause,) = diagnose(look, ScalingPolicy(1, 2, 4), LIMITS)
    assert cause.remedy is None
    assert "our policy allows 2" in cause.summary


def test_a_queue_that_cannot_be_read_is_unknown_and_never_healthy() -> None:
    look = seen(Unread("celery is a hash"))
    assert diagnose(look, POLICY, LIMITS) == ()
    assert look.unread() == {"queues": "celery is a hash"}


def test_without_a_look_at_the_workers_a_backlog_is_only_possible() -> None:
    look = replace(seen(), workers=Unread("403"))
    (cause,) = diagnose(look, POLICY, LIMITS)
    assert (cause.code, cause.confidence, cause.remedy) == (
        "queue.backlog", Confidence.POSSIBLE, None,
    )  # fmt: skip


def test_the_severity_is_that_of_a_single_component_and_only_of_a_sure_cause() -> None:
    sure = assess(diagnose(seen(), POLICY, LIMITS))
    assert sure is not None
    assert (sure.severity, sure.rule) == (Severity.P2, "class.p2.component")
    assert assess(diagnose(seen(STILL, held=HeldTasks(8, 20.0)), POLICY, LIMITS)) is None


@given(
    rate=st.floats(0.01, 100), arriving=st.floats(0, 100), waiting=st.integers(1, 10**6),
    has=st.integers(1, 50),
)  # fmt: skip
def test_the_wanted_workers_clear_the_backlog_in_time(
    rate: float, arriving: float, waiting: int, has: int
) -> None:
    wanted = workers_wanted(rate, arriving, waiting, has, 300)
    assert wanted > has
    each = rate / has
    assert (wanted * each - arriving) * 300 >= waiting * 0.999 - 1e-6
