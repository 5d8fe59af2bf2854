"""The order of legacy events by their links, whatever the files' order and times are."""

import random
import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger.legacy_chain import COPY, CYCLE, FORK, Placed, order_events


def digest(name):
    return sha256(name.encode()).digest()


def placed(name, before=None, timestamp=1.0):
    previous = None if before is None else digest(before)
    return Placed(digest(name), previous, name, "s", "s", timestamp)


def chain(*names, timestamp=1.0):
    links = zip(names, (None, *names[:-1]), strict=True)
    return [placed(name, before, timestamp) for name, before in links]


def names(events, ordered, span):
    return "".join(events[at].event_id for at in ordered.order[span.first : span.end])


def order(events, weak=()):
    ordered = order_events(events, lambda at: events[at].event_id in weak)
    segments = [names(events, ordered, segment) for segment in ordered.segments]
    sides = [(names(events, ordered, side), side.kind) for side in ordered.sides]
    assert sorted(ordered.order) == list(range(len(events)))
    return segments, sides


def without(events, *gone):
    return [event for event in events if event.event_id not in gone]


@given(st.permutations(chain(*"abcdefgh")))
def test_links_give_the_order_whatever_the_files_order_is(events):
    assert order(events) == (["abcdefgh"], [])


def test_times_order_nothing_inside_a_chain():
    events = [event._replace(timestamp=-at) for at, event in enumerate(chain(*"abcd"))]
    assert order(events) == (["abcd"], [])


def test_each_start_of_a_logger_is_a_chain_of_its_own():
    events = chain(*"xyz", timestamp=1.0) + chain(*"abc", timestamp=2.0)
    assert order(events) == (["xyz", "abc"], [])


@pytest.mark.parametrize(
    ("gone", "segments"),
    [("a", ["bcdef"]), ("c", ["ab", "def"]), ("cd", ["ab", "ef"]), ("be", ["a", "cd", "f"])],
)
def test_a_missing_event_is_one_gap_named_by_the_event_after_it(gone, segments):
    events = without(chain(*"abcdef"), *gone)
    ordered = order_events(events, lambda _: False)
    assert sorted(order(events)[0]) == segments
    missing = {segment.missing for segment in ordered.segments} - {None}
    everyone = {event.digest: event.event_id for event in chain(*"abcdef")}
    expected = {before for before, after in zip("abcde", "bcdef", strict=True)
                if before in gone and after not in gone}  # fmt: skip
    assert {everyone[each] for each in missing} == expected


def test_the_longer_branch_of_a_fork_is_the_chain():
    events = [*chain(*"abcd"), placed("x", "a"), placed("y", "x")]
    assert order(events) == (["abcd"], [("xy", FORK)])


def test_a_branch_that_is_not_signed_is_not_the_chain_however_long():
    events = [*chain(*"abc"), placed("x", "b"), placed("y", "x"), placed("z", "y")]
    assert order(events, weak="xyz") == (["abc"], [("xyz", FORK)])


def test_rivals_for_a_missing_predecessor_make_one_gap():
    events = [placed("b", "gone"), placed("c", "b"), placed("x", "gone")]
    assert order(events) == (["bc"], [("x", FORK)])


def test_a_branch_of_a_branch_is_told_too():
    events = [*chain(*"abcdef"), placed("x", "b"), placed("y", "x"), placed("z", "x")]
    segments, sides = order(events)
    assert segments == ["abcdef"]
    assert sorted("".join(name for name, _ in sides)) == ["x", "y", "z"]


def test_a_copy_is_beside_the_chain():
    events = chain(*"abc")
    assert order([*events, events[1]]) == (["abc"], [("b", COPY)])


def test_an_altered_copy_does_not_take_the_place_of_the_event():
    events = chain(*"abc")
    events.insert(0, events[1]._replace(event_id="x"))
    assert order(events, weak="x") == (["abc"], [("x", COPY)])


def test_a_circle_is_in_no_chain():
    events = [*chain(*"ab"), placed("x", "z"), placed("y", "x"), placed("z", "y"), placed("t", "z")]
    segments, sides = order(events)
    assert segments == ["ab"]
    assert sorted(sides) == [(name, CYCLE) for name in "txyz"]
    assert order([placed("x", "x")]) == ([], [("x", CYCLE)])


def test_no_events_have_no_order():
    assert order([]) == ([], [])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 12)), max_size=25))
def test_every_event_has_one_place_whatever_the_links_say(links):
    events = [placed(str(own), None if before < 0 else str(before)) for own, before in links]
    order(events)


@pytest.mark.parametrize("shape", ["line", "star", "orphans", "copies", "circles"])
def test_hostile_logs_are_ordered_in_linear_time(shape):
    size = 20_000
    before = {
        "line": lambda at: at - 1,
        "star": lambda _: 0,
        "orphans": lambda at: -at - 5,
        "copies": lambda _: 0,
        "circles": lambda at: at ^ 1,
    }[shape]
    digests = [at.to_bytes(32, "big") for at in range(size)]
    links = [(before(at) % 2**64).to_bytes(32, "big") for at in range(size)]
    events = [
        Placed(digests[3 if shape == "copies" else at], links[at], str(at), "s", "s", 1.0)
        for at in range(size)
    ]
    random.Random(7).shuffle(events)
    began = time.process_time()
    assert len(order_events(events, lambda _: False).order) == size
    assert time.process_time() - began < 2
