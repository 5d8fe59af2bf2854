"""Looks at once: each answer is there, none is waited for beyond the deadline."""

import threading
import time
from functools import partial

import pytest

from tasks.clients.errors import ClientError, Denied, Transient
from tasks.domain.errors import BadInput
from tasks.work.at_once import at_once, within


def denied() -> int:
    raise Denied("grant it")


def test_every_look_has_its_answer_in_the_order_of_the_looks() -> None:
    found = at_once({name: partial(int, name) for name in ("3", "1", "2")}, 5.0)
    assert list(found.items()) == [("3", 3), ("1", 1), ("2", 2)]


def test_looks_run_beside_each_other() -> None:
    together = threading.Barrier(4)
    found = at_once({n: partial(together.wait, 10) for n in range(4)}, 20.0)
    assert sorted(str(each) for each in found.values()) == ["0", "1", "2", "3"]


def test_one_that_stands_still_is_late_and_costs_the_others_nothing() -> None:
    over = threading.Event()
    began = time.monotonic()
    found = at_once({"stuck": lambda: over.wait(30), "quick": lambda: True}, 0.3)
    took = time.monotonic() - began
    over.set()
    assert found["quick"] is True
    assert isinstance(found["stuck"], Transient)
    assert 0.3 <= took < 3.0


def test_more_looks_than_threads_are_all_made() -> None:
    found = at_once({n: partial(pow, n, 2) for n in range(50)}, 20.0, threads=2)
    assert found == {n: n * n for n in range(50)}


def test_what_nobody_had_time_to_begin_is_late_too() -> None:
    asked: list[int] = []
    over = threading.Event()

    def look(number: int) -> None:
        asked.append(number)
        over.wait(30)

    found = at_once({n: partial(look, n) for n in range(5)}, 0.2, threads=1)
    over.set()
    assert all(isinstance(each, Transient) for each in found.values())
    time.sleep(0.1)
    assert asked == [0]


def test_a_refusal_is_an_answer_and_a_mistake_of_ours_is_raised() -> None:
    found: dict[str, int | ClientError] = at_once({"no": denied, "yes": lambda: 1}, 5.0)
    assert isinstance(found["no"], Denied)
    assert found["yes"] == 1

    def mistake() -> int:
        raise BadInput("a setting")

    with pytest.raises(BadInput):
        at_once({"x": mistake}, 5.0)


def test_a_single_look_raises_what_it_met_and_its_lateness() -> None:
    assert within(5.0, lambda: 7) == 7
    with pytest.raises(Denied, match="grant it"):
        within(5.0, denied)
    over = threading.Event()
    with pytest.raises(Transient, match=r"within 0\.1 s"):
        within(0.1, lambda: over.wait(30))
    over.set()


def test_nothing_to_look_at_is_no_wait() -> None:
    began = time.monotonic()
    assert at_once({}, 30.0) == {}
    assert time.monotonic() - began < 1.0
