"""States of alerts: whatever order sightings come in and however often, the end is the same."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alert_state import (
    FLAPPING_QUIET,
    STALE_AFTER,
    AlertState,
    Episode,
    Sighting,
    Source,
    State,
    joined,
    judge,
)

START = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
LABELS = {"alertname": "ApplicationDown"}


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def seen(
    status: str,
    starts: float,
    arrived: float | None = None,
    incident: str = "INC-1",
    *,
    truncated: bool = False,
) -> Sighting:
    alert = Alert("f1", AlertStatus(status), at(starts), LABELS, {})
    arrival = at(starts if arrived is None else arrived)
    return Sighting(alert, incident, arrival, Source.NOTIFICATION, truncated)


def judged(*sightings: Sighting, now: float = 10_000, unanswered: float | None = None) -> State:
    since = None if unanswered is None else at(unanswered)
    return judge(joined(sightings), at(now), since).state


def test_an_alert_fires_until_its_resolved_comes() -> None:
    assert judged(seen("firing", 0)) is State.FIRING
    assert judged(seen("firing", 0), seen("resolved", 0, 5)) is State.RESOLVED


def test_a_resolved_that_overtakes_its_firing_is_still_the_end_of_it() -> None:
    assert judged(seen("resolved", 0, 5, ""), seen("firing", 0, 6)) is State.RESOLVED


def test_a_resolved_of_an_older_episode_does_not_end_a_newer_one() -> None:
    story = [seen("firing", 0), seen("firing", 60), seen("resolved", 0, 70)]
    for order in permutations(story):
        assert judged(*order) is State.FIRING


def test_a_newer_episode_says_that_the_older_one_is_over() -> None:
    episodes = joined([seen("firing", 0, incident="INC-1"), seen("firing", 60, incident="INC-2")])
    assert judge(episodes, at(10_000), incident="INC-1").state is State.RESOLVED
    assert judge(episodes, at(10_000), incident="INC-1").since == at(60)
    assert judge(episodes, at(10_000), incident="INC-2").state is State.FIRING


def test_a_beginning_in_the_future_does_not_make_what_fires_later_count_as_over() -> None:
    """The sender's clock was an hour ahead, and was put right."""
    story = [seen("firing", 60, 0), seen("resolved", 60, 2), seen("firing", 5)]
    for order in permutations(story):
        assert judged(*order) is State.FIRING
    assert judged(*story[:2]) is State.RESOLVED
    assert judge(joined(story[:1]), at(1)).since == at(0)
    both = [seen("firing", 60, 0, "INC-1"), seen("firing", 5, incident="INC-2")]
    assert judge(joined(both), at(100), incident="INC-1").state is State.RESOLVED
    assert judge(joined(both), at(100), incident="INC-2").state is State.FIRING


def test_a_duplicate_changes_only_when_it_was_last_seen() -> None:
    once, twice = seen("firing", 0), seen("firing", 0, 9)
    (episode,), (again,) = joined([once]), joined([once, twice, once])
    assert (again.first_seen, again.last_seen) == (at(0), at(9))
    assert again == episode.join(Episode.of(twice))
    assert (again.fired, again.resolved_at, again.starts_at) == (True, None, at(0))


def changing(*minutes: float) -> list[Sighting]:
    """Firing at the first, resolved at the second, firing again at the third, ..."""
    story = []
    for place, minute in enumerate(minutes):
        if place % 2 == 0:
            story.append(seen("firing", minute))
        else:
            story.append(seen("resolved", minutes[place - 1], minute))
    return story


@pytest.mark.parametrize(
    ("minutes", "now", "state"),
    [
        ((0, 10, 20), 21, State.FIRING),  # three changes are none too many
        ((0, 10, 20, 30), 31, State.FLAPPING),
        ((0, 10, 20, 30.1), 31, State.RESOLVED),  # four within more than 30 minutes
        ((0, 10, 20, 30), 44.9, State.FLAPPING),
        ((0, 10, 20, 30), 45, State.RESOLVED),  # quiet for 15 minutes
        ((0, 5, 10, 15, 16), 30.9, State.FLAPPING),
        ((0, 5, 10, 15, 16), 31, State.FIRING),
        ((0, 5, 10, 15, 29), 43, State.FLAPPING),  # never quiet since: it flaps on
        ((0, 5, 10, 15, 31), 32, State.FIRING),  # quiet between: begun anew
    ],
)
def test_an_alert_flaps_after_four_changes_in_30_minutes_until_15_are_quiet(
    minutes: Sequence[float], now: float, state: State
) -> None:
    assert judged(*changing(*minutes), now=now) is state


def test_beginnings_alone_make_an_alert_flap_when_its_ends_were_never_sent() -> None:
    story = [seen("firing", minute) for minute in (0, 6, 12)]  # each began: the one before ended
    assert judged(*story, now=13) is State.FLAPPING


def test_a_beginning_in_the_far_future_does_not_keep_an_alert_flapping_for_ever() -> None:
    future = 60 * 24 * 365
    story = changing(*(future + minute for minute in range(4)))
    assert judged(*story, now=10) is State.RESOLVED


def test_an_alert_is_stale_only_when_nobody_can_be_asked_for_more_than_ten_minutes() -> None:
    fires = seen("firing", 0)
    assert judged(fires, now=100_000) is State.FIRING  # nothing is known of repeat_interval
    assert judged(fires, now=30, unanswered=20) is State.FIRING
    assert judged(fires, now=30.1, unanswered=20) is State.STALE
    assert judged(fires, seen("firing", 0, 25), now=30.1, unanswered=20) is State.FIRING
    assert judged(fires, seen("resolved", 0, 5), now=90, unanswered=20) is State.RESOLVED


def test_an_alert_that_alertmanager_disputes_for_long_is_stale() -> None:
    (episode,) = joined([seen("firing", 0)])
    disputed = Episode(
        **{name: getattr(episode, name) for name in Episode.__dataclass_fields__}
        | {"disputed_since": at(20)}
    )
    assert judge([disputed], at(20) + STALE_AFTER).state is State.FIRING
    assert judge([disputed], at(20.1) + STALE_AFTER).state is State.STALE


statuses = st.sampled_from(["firing", "resolved"])
minutes = st.integers(0, 90)
sightings = st.builds(
    lambda status, starts, later, truncated: seen(
        status, starts, starts + later, truncated=truncated
    ),
    statuses,
    st.integers(0, 60),
    st.integers(-30, 30),  # before it began: a clock is wrong
    st.booleans(),
)


@given(st.lists(sightings, min_size=1, max_size=24), st.randoms(use_true_random=False), minutes)
def test_any_order_and_repetition_of_the_same_sightings_ends_in_the_same_state(
    story: list[Sighting], random: Random, now: int
) -> None:
    shuffled = story + random.choices(story, k=len(story))
    random.shuffle(shuffled)
    assert joined(shuffled) == joined(story)
    assert judge(joined(shuffled), at(now)) == judge(joined(story), at(now))


@given(st.lists(sightings, min_size=3, max_size=12), st.integers(1, 11))
def test_sightings_may_be_joined_in_parts(story: list[Sighting], cut: int) -> None:
    parts = [joined(story[:cut]), joined(story[cut:])]
    known: dict[datetime, Episode] = {}
    for episode in [*parts[1], *parts[0], *parts[0]]:
        mine = known.get(episode.starts_at)
        known[episode.starts_at] = episode if mine is None else mine.join(episode)
    assert [known[moment] for moment in sorted(known)] == joined(story)


@given(
    st.lists(st.tuples(statuses, st.integers(0, 60)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_deliveries_stamped_as_they_arrive_end_alike_once_all_is_quiet(
    events: list[tuple[str, int]], random: Random
) -> None:
    def settled(order: Sequence[tuple[str, int]]) -> tuple[State, str]:
        story = [seen(status, starts, 61 + place) for place, (status, starts) in enumerate(order)]
        state: AlertState = judge(joined(story), at(61 + len(story)) + FLAPPING_QUIET)
        return state.state, state.fingerprint

    other = random.sample(events, len(events))
    assert settled(other) == settled(events)


@given(st.lists(sightings, min_size=1, max_size=24))
def test_the_newest_episode_alone_says_whether_a_quiet_alert_fires(story: list[Sighting]) -> None:
    began: dict[datetime, datetime] = {}
    for sighting in story:
        starts_at = sighting.alert.starts_at
        began[starts_at] = min(began.get(starts_at, starts_at), sighting.at)
    newest = max(began, key=lambda starts_at: (began[starts_at], starts_at))
    resolved = any(
        sighting.alert.starts_at == newest and sighting.alert.status is AlertStatus.RESOLVED
        for sighting in story
    )
    expected = State.RESOLVED if resolved else State.FIRING
    assert judge(joined(story), at(10_000)).state is expected
