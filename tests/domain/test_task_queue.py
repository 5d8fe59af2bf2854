"""Two looks at Celery's queues, and what hostile messages say of their age."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.task_queue import QueueSample, compared, sent_at

NOW = 1_790_000_000.0
HEADER = "timestamp"


def message(**headers: Any) -> bytes:
    return json.dumps({"body": "e30=", "headers": headers, "properties": {}}).encode()


def sample(at: float, *waiting: str, length: int | None = None) -> QueueSample:
    return QueueSample(at, len(waiting) if length is None else length, waiting)


def test_what_left_the_tail_was_consumed_and_the_rest_arrived() -> None:
    before, after = sample(NOW, "a", "b", "c"), sample(NOW + 2, "c", "d", "e", "f", "g")
    found = compared("celery", [(before, after)])
    assert (found.waiting, found.consumed, found.arriving, found.growth) == (5, 1.0, 2.0, 1.0)


def test_a_queue_that_only_grows_has_no_consumer() -> None:
    found = compared("celery", [(sample(NOW, "a"), sample(NOW + 1, "a", "b"))])
    assert (found.consumed, found.arriving) == (0.0, 1.0)


def test_lists_of_all_priorities_count_together_and_the_oldest_of_them_decides() -> None:
    pairs = [
        (sample(NOW, "a"), QueueSample(NOW + 1, 1, ("a",), NOW - 30)),
        (sample(NOW, "x", "y"), QueueSample(NOW + 1, 1, ("y",), NOW - 300)),
    ]
    found = compared("celery", pairs)
    assert (found.waiting, found.consumed, found.oldest_seconds) == (2, 1.0, 301.0)


def test_an_empty_queue_waits_for_nothing() -> None:
    found = compared("celery", [(QueueSample(NOW, 0), QueueSample(NOW + 1, 0))])
    assert (found.waiting, found.growth, found.oldest_seconds) == (0, 0.0, None)


def test_a_task_from_the_future_is_not_younger_than_nothing() -> None:
    pair = (QueueSample(NOW, 1, ("a",)), QueueSample(NOW + 1, 1, ("a",), NOW + 500))
    assert compared("celery", [pair]).oldest_seconds == 0.0


@given(
    first=st.lists(st.integers(0, 40), unique=True, max_size=30),
    taken=st.integers(0, 30),
    more=st.integers(0, 30),
)
def test_no_rate_is_negative_and_they_add_up_to_the_change(
    first: list[int], taken: int, more: int
) -> None:
    waiting = [str(each) for each in first]
    left = [*waiting[taken:], *(f"new-{each}" for each in range(more))]
    found = compared("q", [(sample(0.0, *waiting), sample(1.0, *left))])
    assert found.consumed == min(taken, len(waiting))
    assert found.arriving == more
    assert round(found.growth) == len(left) - len(waiting)


TIMES = {
    "seconds": (NOW, NOW),
    "milliseconds": (NOW * 1000, NOW),
    "text": ("2026-09-21T14:13:20+00:00", NOW),
    "text without an offset": ("2026-09-21T14:13:20", None),
    "words": ("yesterday", None),
    "long words": ("2026" * 1000, None),
    "a flag": (True, None),
    "nothing": (None, None),
    "negative": (-5, None),
    "long ago": (1.0, None),
    "a huge number": (10**400, None),
    "a list": ([NOW], None),
}


@pytest.mark.parametrize(("value", "found"), TIMES.values(), ids=TIMES)
def test_a_task_says_when_it_was_sent_or_it_does_not(value: object, found: float | None) -> None:
    assert sent_at(message(timestamp=value), HEADER) == found


@pytest.mark.parametrize(
    "hostile",
    [b"", b"\xff\xfe", b"[]", b"null", b"7", b'{"headers": 7}', b'{"headers": {"timestamp": NaN}}',
     b'{"headers": {"timestamp": Infinity}}', b"[" * 20_000, b'{"headers": {}}'],
)  # fmt: skip
def test_a_hostile_message_has_no_age(hostile: bytes) -> None:
    assert sent_at(hostile, HEADER) is None


def test_the_time_may_stand_among_the_properties_too() -> None:
    assert sent_at(json.dumps({"properties": {HEADER: NOW}}).encode(), HEADER) == NOW
