"""Which release may have begun the trouble."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.recent_changes import (
    CLOCKS_DIFFER,
    LATELY,
    NEAR,
    RecentChange,
    Release,
    Timing,
    correlate,
)

ONSET = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


def release(minutes_before: float | None, component: str = "api", revision: int = 1) -> Release:
    at = None if minutes_before is None else ONSET - timedelta(minutes=minutes_before)
    return Release(component, f"{component}-x", revision, ("rlhf:1.2",), "bump", at, "anna")


def order(*releases: Release, affected: tuple[str, ...] = ()) -> list[int]:
    return [each.release.revision for each in correlate(releases, ONSET, affected)]


def test_the_nearest_change_before_the_onset_is_the_most_suspect() -> None:
    assert order(
        release(600, revision=1),
        release(25, revision=2),
        release(4, revision=3),
        release(-10, revision=4),
        release(None, revision=5),
    ) == [3, 2, 1, 4, 5]


def test_a_change_of_what_is_affected_comes_before_a_nearer_one_of_something_else() -> None:
    changes = (release(2, "workers", 1), release(20, "api", 2))
    assert order(*changes) == [1, 2]
    assert order(*changes, affected=("api",)) == [2, 1]


def test_what_came_after_the_onset_is_never_suspected_unless_clocks_may_differ() -> None:
    skewed, after = correlate([release(-2), release(-0.5)], ONSET)
    assert after.timing is Timing.AFTER
    assert skewed.timing is Timing.JUST_BEFORE
    assert "after the onset" in after.summary


def test_yesterdays_release_is_left_out() -> None:
    assert order(release(24 * 60 + 1)) == []


def test_without_an_onset_nothing_is_suspected() -> None:
    (only,) = correlate([release(3)], None)
    assert only.timing is Timing.UNKNOWN
    assert only.as_json()["minutes_before_onset"] is None


def test_a_change_is_told_with_image_cause_and_who() -> None:
    (only,) = correlate([release(4)], ONSET)
    assert only.summary == "api-x revision 1 4 min before the onset, rlhf:1.2, bump, by anna"


def test_hostile_texts_of_a_release_are_printable_and_short() -> None:
    odd = Release("api", "w\x1b[2J", 1, ("i\u202e" * 5000,) * 50, "c\n" * 5000, ONSET, "x\x00")
    (only,) = correlate([odd], ONSET)
    assert only.summary.isprintable()
    assert len(json.dumps(only.as_json())) < 12_000
    assert len(only.as_json()["images"]) == 5


@given(
    st.lists(st.none() | st.floats(-3000, 3000), max_size=30),
    st.integers(min_value=0, max_value=30),
)
def test_suspects_come_first_and_times_agree_with_their_names(
    minutes: list[float | None], shown: int
) -> None:
    found = correlate([release(each) for each in minutes], ONSET, shown=shown)
    assert len(found) <= shown
    assert [list(Timing).index(each.timing) for each in found] == sorted(
        list(Timing).index(each.timing) for each in found
    )
    assert all(map(_agrees, found))


def _agrees(change: RecentChange) -> bool:
    before = change.before
    if before is None:
        return change.timing is Timing.UNKNOWN
    expected = (
        Timing.AFTER
        if before < -CLOCKS_DIFFER
        else Timing.JUST_BEFORE
        if before <= NEAR
        else Timing.LATELY
    )
    return change.timing is expected and before <= LATELY
