"""Which pods are restarted, in what order, and what is left to do after a death on the way."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.disruption import RestartCaps
from tasks.domain.errors import BadInput
from tasks.domain.pods import PodState
from tasks.domain.restart_plan import (
    Restart,
    choose,
    read_restart,
    restart_remedial,
    successors_missing,
    what_is_left,
)
from tests.domain.api_values import NOW, healthy, pod

CAPS = RestartCaps(share=0.5, number=3)


def planned(*chosen: PodState, beside: tuple[PodState, ...] = ()) -> Restart:
    remedy = restart_remedial(healthy().workload, chosen, (*chosen, *beside))
    assert remedy is not None
    return read_restart(remedy.arguments["restart"])


def names(pods: tuple[PodState, ...]) -> list[str]:
    return [each.name for each in pods]


def test_pods_that_serve_nobody_go_first_and_only_their_number_is_capped() -> None:
    idle = [pod(number, ready=False) for number in (4, 3, 2, 1)]
    chosen, left_out = choose(idle, idle, 4, CAPS)
    assert names(chosen) == ["api-1", "api-2", "api-3"]
    assert left_out == ("api-4: the cap of 3 restarts is reached",)


def test_of_pods_that_serve_the_share_counts_too() -> None:
    serving = [pod(number) for number in (1, 2, 3, 4)]
    chosen, left_out = choose(serving, serving, 4, CAPS)
    assert names(chosen) == ["api-1", "api-2"]
    assert len(left_out) == 2
    mixed = [pod(1), pod(2), pod(3, ready=False), pod(4, ready=False)]
    chosen, _ = choose(mixed, mixed, 4, CAPS)
    assert names(chosen) == ["api-3", "api-4", "api-1"]


def test_what_nothing_would_make_anew_and_what_is_going_is_left_out() -> None:
    bare, going = replace(pod(1, ready=False), owners=()), pod(2, ready=False)
    going = replace(going, deleting_since=NOW)
    chosen, left_out = choose([bare, going], [bare, going], 2, CAPS)
    assert chosen == ()
    assert "nothing would make it anew" in left_out[0]
    assert restart_remedial(healthy().workload, chosen, [bare, going]) is None


def test_a_plan_is_read_back_as_it_was_written_and_nonsense_is_refused() -> None:
    restart = planned(pod(1, ready=False), beside=(pod(2),))
    assert read_restart(restart.as_json()) == restart
    assert restart.present == {"uid-1", "uid-2"}
    for broken in ({}, [], restart.as_json() | {"kind": "Node"}, restart.as_json() | {"pods": []}):
        with pytest.raises(BadInput):
            read_restart(broken)


def test_a_successor_of_the_same_name_is_never_taken_for_the_pod_that_was_planned() -> None:
    old = pod(1, ready=False)
    restart = planned(old)
    assert [each.uid for each in what_is_left(restart, [old])] == ["uid-1"]
    assert what_is_left(restart, [replace(old, uid="uid-new")]) == ()
    assert what_is_left(restart, [replace(old, ready=True)]) == ()
    assert what_is_left(restart, [replace(old, deleting_since=NOW)]) == ()


@given(
    replicas=st.integers(1, 6),
    asked=st.sets(st.integers(0, 5), min_size=1),
    evicted=st.sets(st.integers(0, 5)),
    came=st.integers(0, 6),
    served=st.integers(0, 6),
)
def test_so_many_successors_are_missing_as_pods_went_and_none_serves_in_their_place(
    replicas: int, asked: set[int], evicted: set[int], came: int, served: int
) -> None:
    pods = [pod(number, ready=number not in asked) for number in range(replicas)]
    wanted = [each for number, each in enumerate(pods) if number in asked]
    if not wanted:
        return
    restart = planned(*wanted, beside=tuple(each for each in pods if each not in wanted))
    gone = {number for number in evicted & asked if number < replicas}
    came = min(came, len(gone))
    served = min(served, came)
    fresh = [
        replace(pod(50 + number, ready=number < served), created_at=NOW + timedelta(seconds=1))
        for number in range(came)
    ]
    there = [each for number, each in enumerate(pods) if number not in gone] + fresh
    assert successors_missing(restart, there, replicas) == len(gone) - served
    assert successors_missing(restart, there, 0) == 0
    leaving = [replace(each, deleting_since=NOW) for each in there if each.uid in restart.present]
    assert successors_missing(restart, leaving, replicas) == len(wanted)
