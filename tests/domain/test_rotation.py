"""On-call rotation: exact at each hand-over, over summer time, and under overrides."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.errors import BadInput
from tasks.domain.rotation import BusinessHours, Override, Rotation, first_named

VIENNA = ZoneInfo("Europe/Vienna")
MONDAY = date(2026, 3, 23)
TEAM = Rotation(("ada", "bob", "cy"), MONDAY, days=7, zone="Europe/Vienna")
SECOND = timedelta(seconds=1)


def local(day: int, hour: int, minute: int = 0, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=VIENNA)


def test_a_shift_begins_at_its_minute_and_not_before() -> None:
    assert TEAM.on_call(local(30, 9)) == "bob"
    assert TEAM.on_call(local(30, 9) - SECOND) == "ada"


def test_summer_time_moves_no_hand_over() -> None:
    before, after = local(23, 9), local(30, 9)  # the clocks were set forward on the 29th
    assert (after.astimezone(UTC) - before.astimezone(UTC)) == timedelta(days=7, hours=-1)
    assert (TEAM.on_call(before), TEAM.on_call(after)) == ("ada", "bob")


def test_a_hand_over_that_the_clocks_show_twice_happens_once() -> None:
    night = Rotation(("ada", "bob"), date(2026, 10, 24), 1, time(2, 30), "Europe/Vienna")
    utc = [
        datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + timedelta(minutes=each) for each in range(180)
    ]
    names = [night.on_call(at) for at in utc]
    assert [names.index("bob"), names.count("bob")] == [30, 150]


def test_the_members_take_turns_for_ever() -> None:
    weeks = [TEAM.on_call(local(23, 12) + timedelta(weeks=week)) for week in range(7)]
    assert weeks == ["ada", "bob", "cy", "ada", "bob", "cy", "ada"]


def test_before_the_first_shift_nobody_is_on_call_and_the_next_rotation_is_asked() -> None:
    early = local(23, 9) - SECOND
    assert TEAM.on_call(early) is None
    old = Rotation(("zoe",), date(2020, 1, 1))
    assert first_named(early, [TEAM, old], "on-call") == "zoe"
    assert first_named(early, [TEAM], "on-call") == "on-call"


def test_the_latest_override_wins_until_just_before_its_end() -> None:
    covered = Rotation(
        ("ada", "bob"),
        MONDAY,
        overrides=(
            Override("dan", local(24, 0), local(26, 0)),
            Override("eve", local(25, 0), local(25, 12)),
        ),
    )
    assert covered.on_call(local(24, 12)) == "dan"
    assert covered.on_call(local(25, 11, 59)) == "eve"
    assert covered.on_call(local(25, 12)) == "dan"
    assert covered.on_call(local(26, 0)) == "ada"


@given(some.integers(0, 60 * 24 * 800), some.integers(1, 20), some.integers(0, 23 * 60))
def test_every_moment_belongs_to_the_shift_that_began_last(
    minutes: int, days: int, hands_over: int
) -> None:
    clock = time(hands_over // 60, hands_over % 60)
    team = Rotation(("a", "b", "c"), MONDAY, days, clock, "America/New_York")
    first = datetime.combine(MONDAY, clock, ZoneInfo("America/New_York")).astimezone(UTC)
    at = first + timedelta(minutes=minutes)
    begins = [
        datetime.combine(
            MONDAY + timedelta(days=days * turn), clock, ZoneInfo("America/New_York")
        ).astimezone(UTC)
        for turn in range(minutes // (60 * 24 * days) + 3)
    ]
    turn = max(place for place, begin in enumerate(begins) if begin <= at)
    assert team.on_call(at) == "abc"[turn % 3]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"members": ()}, "named members"),
        ({"members": ("ada", " ")}, "named members"),
        ({"days": 0}, "shifts of 1 to"),
        ({"zone": "Mars/Olympus"}, "Europe/Vienna or UTC, found 'Mars"),
        ({"zone": "../../etc/passwd"}, "time zone"),
        ({"hands_over": time(9, tzinfo=UTC)}, "without an offset"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused(change: dict[str, object], complaint: str) -> None:
    values = {"members": ("ada",), "starts": MONDAY, **change}
    with pytest.raises(BadInput, match=complaint):
        Rotation(**values)  # type: ignore[arg-type]  the fields, some of them wrong


def test_an_override_that_ends_before_it_begins_or_has_no_offset_is_refused() -> None:
    with pytest.raises(BadInput, match="to end after it begins"):
        Override("dan", local(24, 0), local(24, 0))
    with pytest.raises(BadInput, match="with offsets"):
        Override("dan", datetime(2026, 3, 24), local(26, 0))  # noqa: DTZ001  what is refused


def test_business_hours_are_local_and_end_before_the_closing_minute() -> None:
    hours = BusinessHours("Europe/Vienna", is_holiday=lambda day: day == date(2026, 4, 6))
    assert hours.includes(local(23, 9))
    assert not hours.includes(local(23, 17))
    assert not hours.includes(local(28, 12))  # Saturday
    assert not hours.includes(local(6, 12, month=4))  # Easter Monday
    assert hours.includes(datetime(2026, 3, 30, 7, 0, tzinfo=UTC))  # nine in summer time
    assert not hours.includes(datetime(2026, 3, 27, 7, 0, tzinfo=UTC))


@pytest.mark.parametrize("wrong", [{"closes": time(9)}, {"weekdays": frozenset({7})}])
def test_business_hours_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        BusinessHours(**wrong)  # type: ignore[arg-type]  the fields, one of them wrong
