"""One holder per target: whoever was replaced makes no further change."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.domain.errors import LockLost, RunbookError
from tasks.work import door, journal, locks
from tests.tasks.passing import Change, no_evidence, pass_with, steps, through
from tests.tasks.proposals import FIRST, TARGET, approved

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]


def passage_with(lock: locks.Lock) -> tuple[str, door.Passage]:
    plan = approved()
    return plan.incident, door.Passage(plan.incident, plan.hash, TARGET, lock, no_evidence)


def test_who_lost_the_target_before_the_step_changes_nothing() -> None:
    incident, passage = passage_with(locks.take(TARGET, "the slow one", 1))
    time.sleep(1.1)
    newer = locks.take(TARGET, "the next one", 60)
    change = Change()
    with pytest.raises(LockLost, match="newer holder"):
        passage.carry_out(FIRST, change)
    assert change.made == []
    assert steps(incident) == [("step started", FIRST), ("step failed", FIRST)]
    newer.fence()  # raises when the late one has done anything to it


def test_who_loses_the_target_within_a_step_makes_no_further_change() -> None:
    incident, passage = passage_with(locks.take(TARGET, "the slow one", 1))

    def sleep_too_long() -> None:
        time.sleep(1.1)
        locks.take(TARGET, "the next one", 60)

    change = Change(fences=1, before=sleep_too_long)
    with pytest.raises(LockLost):
        passage.carry_out(FIRST, change)
    assert change.made == ["begun"]
    assert steps(incident)[-1] == ("step failed", FIRST)


def test_a_lease_that_ran_out_while_nobody_came_is_taken_up_again() -> None:
    lock = locks.take(TARGET, "the slow one", 1)
    time.sleep(1.1)
    lock.fence()
    with pytest.raises(LockLost, match="another holder"):
        locks.take(TARGET, "the next one", 60)


def test_each_fence_extends_the_lease() -> None:
    lock = locks.take(TARGET, "the busy one", 1)
    for _ in range(3):
        time.sleep(0.6)
        lock.fence()
    with pytest.raises(LockLost, match="another holder"):
        locks.take(TARGET, "the next one", 60)


def test_a_late_holder_cannot_release_the_lock_of_the_next_one() -> None:
    late = locks.take(TARGET, "the slow one", 1)
    time.sleep(1.1)
    newer = locks.take(TARGET, "the next one", 60)
    late.release()
    with pytest.raises(LockLost, match="another holder"):
        locks.take(TARGET, "the slow one", 60)
    assert newer.token > late.token


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each returned or raised, all begun at the same moment."""
    journal.all_incidents()  # the connection pool is there
    together = threading.Barrier(len(acts))

    def begin(act: Callable[[], object]) -> object:
        together.wait(timeout=30)
        try:
            return act()
        except RunbookError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(begin, acts))


def test_of_two_incidents_at_once_one_gets_the_target() -> None:
    plans = approved(), approved()
    change = Change(before=lambda: time.sleep(0.5))
    ended = at_once(*(lambda plan=plan: pass_with(plan.incident, change) for plan in plans))
    assert sorted(type(each).__name__ for each in ended) == ["LockLost", "dict"]
    assert change.made == ["begun"]


def test_of_many_who_take_a_free_lock_at_once_one_gets_it() -> None:
    ended = at_once(*(lambda name=f"holder {n}": locks.take(TARGET, name, 60) for n in range(12)))
    assert sum(isinstance(each, locks.Lock) for each in ended) == 1
    assert sum(isinstance(each, LockLost) for each in ended) == 11


def test_a_second_run_of_the_incident_takes_over_and_the_first_stops() -> None:
    plan = approved()
    late, newer = Change(), Change()
    with through(plan.incident) as first, through(plan.incident) as second:
        with pytest.raises(LockLost):
            first.carry_out(FIRST, late)
        assert second.carry_out(FIRST, newer) == {"times": 1}
    assert (late.made, newer.made) == ([], ["begun"])
