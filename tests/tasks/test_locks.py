"""One holder per target: whoever was replaced makes no further change."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from deployments.lab.environment import PROJECT
from tasks.domain.errors import LockLost, RunbookError
from tasks.work import door, journal, locks, responder
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


def test_of_two_incidents_one_waits_and_then_finds_what_the_other_changed() -> None:
    plans = approved(), approved()
    order: list[str] = []

    def go(name: str) -> None:
        with through(name, wait_seconds=30) as passage:
            order.append(f"in {name}")
            passage.carry_out(FIRST, Change(before=lambda: time.sleep(0.5)))
            order.append(f"out {name}")

    ended = at_once(*(lambda name=plan.incident: go(name) for plan in plans))

    assert sorted(type(each).__name__ for each in ended) == ["NoneType", "TooManyChanges"]
    assert [each.split()[0] for each in order] == ["in", "out"]


def test_of_many_who_take_a_free_lock_at_once_one_gets_it() -> None:
    ended = at_once(*(lambda name=f"holder {n}": locks.take(TARGET, name, 60) for n in range(12)))
    assert sum(isinstance(each, locks.Lock) for each in ended) == 1
    assert sum(isinstance(each, LockLost) for each in ended) == 11


def test_a_second_run_of_the_incident_is_refused_while_the_first_lives() -> None:
    plan = approved()
    first, late = Change(), Change()
    with through(plan.incident) as passage:
        with pytest.raises(LockLost, match="another holder"):
            pass_with(plan.incident, late)
        assert passage.carry_out(FIRST, first) == {"times": 1}
    assert (first.made, late.made) == (["begun"], [])


def test_a_second_run_of_the_incident_waits_for_the_first_and_repeats_nothing() -> None:
    plan = approved()
    change = Change(before=lambda: time.sleep(0.5))
    ended = at_once(*[lambda: pass_with(plan.incident, change, wait_seconds=30)] * 2)
    assert ended == [{"times": 1}] * 2
    assert change.made == ["begun"]


def test_an_act_without_a_fence_for_longer_than_the_lease_keeps_the_target() -> None:
    with locks.held(TARGET, "the busy one", 1) as lock:
        time.sleep(2.5)
        for each in ("the next one", "the busy one"):
            with pytest.raises(LockLost, match="another holder"):
                locks.take(TARGET, each, 60)
        lock.fence()
    assert locks.take(TARGET, "the next one", 60).token == lock.token + 1


def test_who_was_taken_over_all_the_same_does_not_take_the_target_back() -> None:
    with locks.held(TARGET, "the stopped one", 1) as lock:
        with responder.connection() as connection:
            connection.execute("UPDATE locks SET token = token + 1, holder = 'the next one'")
        time.sleep(0.8)  # its thread has looked meanwhile
        with pytest.raises(LockLost, match="newer holder"):
            lock.fence()
    with pytest.raises(LockLost):
        locks.take(TARGET, "the third one", 60)  # nor was it released


def test_a_lease_is_kept_though_its_session_breaks() -> None:
    with locks.held(TARGET, "the busy one", 2) as lock:
        with responder.connection() as connection:
            ended = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
                " AND granted AND pid <> pg_backend_pid()"
            ).fetchone()
        assert ended is not None
        assert ended[0] >= 1
        time.sleep(3)
        for each in ("the next one", "the busy one"):
            with pytest.raises(LockLost, match="another holder"):
                locks.take(TARGET, each, 60)
        lock.fence()


def test_a_run_that_was_killed_is_replaced_at_once_by_the_next_run_of_its_incident() -> None:
    with holding(TARGET, "the incident") as other:
        with pytest.raises(LockLost):
            locks.take(TARGET, "the incident", 60)
        other.kill()
        other.wait()
        began = time.monotonic()
        with locks.held(TARGET, "the incident", 60, wait_seconds=30):
            assert time.monotonic() - began < 20  # its lease was of 600 seconds
        assert locks.take(TARGET, "the next one", 60)


@contextmanager
def holding(target: str, holder: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the target's lock for ten minutes."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, target, holder],
        env=os.environ,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
    finally:
        other.kill()
        other.communicate()


HOLDING = """
import sys, time
from tasks.work import locks
with locks.held(sys.argv[1], sys.argv[2], 600):
    print("held", flush=True)
    time.sleep(600)
"""
