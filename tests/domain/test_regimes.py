"""Regulatory clocks: when each begins and ends, and what a file of them may not say."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.errors import BadInput
from tasks.domain.regimes import Clock, Running, Unit, Waiting, read_regimes, shipped, started

SUSPECTED = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
MOMENTS = some.integers(0, 15 * 365 * 24 * 60).map(
    lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


def clock(name: str) -> Clock:
    return next(each for each in shipped().clocks if each.id == name)


def due(name: str, **anchors: datetime) -> datetime:
    found = started(clock(name), {"suspected": SUSPECTED, **anchors}, {})
    assert isinstance(found, Running)
    return found.due


def test_the_internal_clock_is_an_hour_from_suspicion_whenever_somebody_became_aware() -> None:
    later = SUSPECTED + timedelta(hours=9)
    assert due("dpo", aware=later) == SUSPECTED + timedelta(hours=1)


def test_until_a_person_says_otherwise_awareness_is_the_suspicion() -> None:
    assert due("gdpr-33") == SUSPECTED + timedelta(hours=72)
    later = SUSPECTED + timedelta(hours=2)
    assert due("gdpr-33", aware=later) == later + timedelta(hours=72)


def test_the_ai_acts_clock_is_as_strict_as_the_gravest_case() -> None:
    ai_act = clock("ai-act-73")
    days = []
    for cases in ((), ("death",), ("death", "widespread-or-critical-infrastructure")):
        found = started(ai_act, {"suspected": SUSPECTED}, {}, cases)
        assert isinstance(found, Running)
        days.append((found.due - SUSPECTED).days)
    assert days == [15, 10, 2]  # death alone is ten days, not two


def test_doras_first_notice_is_due_four_hours_after_classification_or_a_day_after_awareness() -> (
    None
):
    early, late = SUSPECTED + timedelta(hours=3), SUSPECTED + timedelta(hours=22)
    assert due("dora-initial", classified=early) == early + timedelta(hours=4)
    assert due("dora-initial", classified=late) == SUSPECTED + timedelta(hours=24)


def test_a_clock_that_runs_from_another_notice_waits_until_that_was_sent() -> None:
    final = clock("nis2-final")
    assert started(final, {"suspected": SUSPECTED}, {}) == Waiting(final, ("nis2-notification",))
    sent = datetime(2027, 1, 31, 8, tzinfo=UTC)
    found = started(final, {"suspected": SUSPECTED}, {"nis2-notification": sent})
    assert isinstance(found, Running)
    assert found.due == datetime(2027, 2, 28, 8, tzinfo=UTC)


def test_nothing_runs_before_anybody_has_said_anything() -> None:
    assert all(isinstance(started(each, {}, {}), Waiting) for each in shipped().clocks)


@pytest.mark.parametrize(
    ("material", "last_day"),
    [
        (datetime(2026, 11, 16, 15, tzinfo=UTC), date(2026, 11, 20)),  # Monday to Friday
        (datetime(2026, 11, 18, 15, tzinfo=UTC), date(2026, 11, 24)),  # over a weekend
        (
            datetime(2026, 11, 21, 15, tzinfo=UTC),
            date(2026, 11, 27),
        ),  # Saturday: Monday is the first
        (datetime(2026, 11, 20, 3, tzinfo=UTC), date(2026, 11, 25)),  # still Thursday in New York
    ],
)
def test_four_business_days_are_counted_as_form_8k_says(material: datetime, last_day: date) -> None:
    found = started(
        clock("sec-8k"),
        {"material": material},
        {},
        is_business_day=lambda day: day.weekday() < 5 and day != date(2026, 11, 26),
    )
    assert isinstance(found, Running)
    assert found.due == datetime(last_day.year, last_day.month, last_day.day, 22, 30, tzinfo=UTC)


def test_alarms_come_at_half_three_quarters_nine_tenths_and_at_the_end() -> None:
    found = started(clock("gdpr-33"), {"suspected": SUSPECTED}, {})
    assert isinstance(found, Running)
    hours = [(at - SUSPECTED) / timedelta(hours=1) for _, at in found.alarms()]
    assert hours == pytest.approx([36, 54, 64.8, 72])


@given(MOMENTS, some.integers(0, 10_000))
def test_a_later_anchor_never_makes_a_clock_end_earlier(at: datetime, minutes: int) -> None:
    """To the minute; a limit in months to the day: a month is as long as it is."""
    later = at + timedelta(minutes=minutes)
    for each in (clock for clock in shipped().clocks if clock.limits):
        ends = []
        for moment in (at, later):
            anchors = dict.fromkeys(("suspected", "aware", "classified", "material"), moment)
            found = started(each, anchors, dict.fromkeys(each.anchors, moment))
            assert isinstance(found, Running)
            assert found.due > moment
            ends.append(found.due)
        in_months = any(limit.unit is Unit.MONTH for limit in each.limits)
        assert ends[0] <= ends[1] or (in_months and ends[0].date() == ends[1].date())


def test_only_enabled_regimes_have_clocks_and_an_unknown_one_is_refused() -> None:
    assert {each.regime for each in shipped().of(["gdpr", "internal"])} == {"gdpr", "internal"}
    with pytest.raises(BadInput, match="found 'ccpa'"):
        shipped().of(["ccpa"])


CLOCK = """
reviewed_on = 2026-11-22
[[clocks]]
id = "a"
regime = "r"
title = "t"
limits = [{limits}]
recipient = "somebody"
fields = ["f"]
source = "s"
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CLOCK.format(limits='"soon"'), "limits: expected .N hours"),
        (CLOCK.format(limits='"0 hours after aware"'), "limits: expected"),
        (CLOCK.format(limits='"2 hours after b"'), "clock a: expected to run after aware"),
        (CLOCK.format(limits='"2 hours after a"'), "clock a: expected to run after aware"),
        (CLOCK.format(limits='"2 hours after aware"') + "fine = true", "fine"),
        (CLOCK.format(limits='"2 hours after aware"').replace("2026-11-22", '"now"'), "a date"),
        (CLOCK.format(limits='"2 hours after aware"').replace('"a"', '"aware"'), "no anchor's"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused_with_the_place(
    text: str, complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint):
        read_regimes(text)
