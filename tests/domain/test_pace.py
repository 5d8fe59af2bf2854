"""How far long work is, in words that nobody has to interpret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.pace import Pace, pace


@pytest.mark.parametrize(
    ("done", "due", "seconds", "words"),
    [
        (0, 0, 9, "loading"),
        (0, 100, 9, "loading"),
        (1, 100, 9, "loading: 1 %"),  # too early to say
        (50, 100, 30, "loading: 50 %, about 30 s left"),
        (25, 100, 100, "loading: 25 %, about 5 min 00 s left"),
        (100, 100, 30, "loading: 100 %, about 0 s left"),
        (120, 100, 30, "loading: 100 %, about 0 s left"),
    ],
)
def test_a_pace_says_what_how_far_and_how_long(
    done: int, due: int, seconds: float, words: str
) -> None:
    assert str(pace("loading", done, due, seconds)) == words


@given(st.floats(-1e9, 1e12), st.floats(-1e9, 1e12), st.floats(0, 1e7))
def test_a_share_is_never_outside_of_its_bounds(done: float, due: float, seconds: float) -> None:
    now = pace("x", done, due, seconds)

    assert 0 <= now.share <= 1
    assert now.seconds_left is None or now.seconds_left >= 0
    assert str(now).startswith("x")
    assert now == Pace("x", now.share, now.seconds_left)
