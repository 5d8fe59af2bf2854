"""Targets of a recovery: what people type is understood, or refused with what to type instead."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.recovery_target import Target, TargetKind

AT = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)

_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = st.builds(
    lambda since, zone: (_EPOCH + timedelta(microseconds=since)).astimezone(zone),
    st.integers(-62_135_000_000_000_000, 253_402_000_000_000_000),  # years 1 to 9999
    _ZONES,
)
_TARGETS = st.one_of(
    st.sampled_from([Target(), Target(TargetKind.BEFORE_DAMAGE)]),
    st.integers(0, 10**18 - 1).map(lambda size: Target(TargetKind.SIZE, size=size)),
    _TIMES.map(lambda at: Target(TargetKind.TIME, time=at)),
)


@given(_TARGETS)
def test_what_is_printed_can_be_typed(target: Target) -> None:
    assert Target.parse(str(target)) == target


@given(_TARGETS)
def test_a_target_survives_the_journal(target: Target) -> None:
    assert Target.from_json(json.loads(json.dumps(target.as_json()))) == target


@given(st.text())
def test_any_text_is_a_target_or_bad_input(text: str) -> None:
    try:
        said = str(Target.parse(text))
    except BadInput as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 600


@pytest.mark.parametrize(
    "typed",
    [
        "2026-11-22 14:05Z",
        "2026-11-22T14:05Z",
        "2026-11-22t14:05z",
        "2026-11-22 14:05 Z",
        "2026-11-22 14:05 UTC",
        "2026-11-22 14:05:00Z",
        "2026-11-22T14:05:00.000Z",
        "2026-11-22 14:05+00:00",
        "2026-11-22 15:05+01:00",
        "2026-11-22 15:05+01",
        "2026-11-22 15:05 +0100",
        "2026-11-22T09:35:00-04:30",
        " 2026-11-22 14:05Z\n",
    ],
)
def test_a_moment_may_be_typed_in_many_ways(typed: str) -> None:
    assert Target.parse(typed) == Target(TargetKind.TIME, time=AT)


def test_words_and_sizes_are_understood() -> None:
    assert Target.parse("latest") == Target()
    assert Target.parse("Before damage") == Target(TargetKind.BEFORE_DAMAGE)
    assert Target.parse("size:50000") == Target(TargetKind.SIZE, size=50_000)


def test_a_time_without_its_zone_is_refused_with_what_to_type() -> None:
    with pytest.raises(BadInput, match="type 2026-11-22 14:05Z if it is UTC"):
        Target.parse("2026-11-22 14:05")


def test_a_day_without_a_time_is_refused_with_what_is_missing() -> None:
    with pytest.raises(BadInput, match="add the time of day"):
        Target.parse("2026-11-22")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "now",
        "yesterday",
        "size:",
        "size:-1",
        "size:1_000",
        "size:01",
        "size:\u0661",
        "size:" + "9" * 400,
        "2026-02-30 10:00Z",
        "2026-11-22 25:00Z",
        "2026-11-22 14:05+99:00",
        "0001-01-01 00:00+14:00",
        "9999-12-31 23:59-14:00",
        "2026-11-22 14:05Z'; DROP TABLE audit_records; --",
        "2026-11-22 14:05Z\n2026",
        "\x1b[2J",
        "latest" + " " * 10_000,
        "\u0662\u0660\u0662\u0666-11-22 14:05Z",
    ],
)
def test_what_is_no_target_is_refused_and_never_echoed_raw(typed: str) -> None:
    with pytest.raises(BadInput, match="expected") as refused:
        Target.parse(typed)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("value", [None, [], "latest", {}, {"target": 7}, {"target": "soon"}])
def test_a_strange_fact_is_no_target(value: object) -> None:
    with pytest.raises(BadInput):
        Target.from_json(value)


def test_a_target_that_says_two_things_is_refused() -> None:
    with pytest.raises(BadInput):
        Target(TargetKind.LATEST, time=AT)
    with pytest.raises(BadInput):
        Target(TargetKind.TIME)
    with pytest.raises(BadInput):
        Target(TargetKind.TIME, time=AT.replace(tzinfo=None))
    with pytest.raises(BadInput):
        Target(TargetKind.SIZE, size=-1)
