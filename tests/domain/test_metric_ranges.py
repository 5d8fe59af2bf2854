"""Ranges of metrics in the report: what is asked, what is kept of an answer, and the plot of it."""

import math
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.metric_ranges import (
    MOST_POINTS,
    Asked,
    fact_of,
    is_kept,
    kept,
    questions,
    ranges_of,
    span_of,
)
from tasks.domain.range_plots import marks_of, range_plots
from tasks.domain.readings import read
from tests.builders import ALERT_AT, JournalBuilder
from tests.story import full_journal

LATER = ALERT_AT + timedelta(hours=3)
ERRORS = Asked("errors", "Share of requests that fail", "share", "x")


def series(*values: tuple[float, object]) -> list[dict[str, Any]]:
    began = ALERT_AT.timestamp()
    return [{"metric": {}, "values": [[began + at, str(value)] for at, value in values]}]


def at(seconds: float) -> datetime:
    return ALERT_AT + timedelta(seconds=seconds)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  our own output


def told(*values: tuple[float, object]) -> JournalBuilder:
    story = full_journal()
    span = span_of(story.incident_state(), LATER)
    assert span is not None
    data = fact_of(span, [kept(ERRORS, series(*values))])
    return story.add(200.0, FactKind.RANGES_KEPT, data)


def test_the_span_begins_before_the_onset_and_ends_after_the_end_but_not_in_the_future() -> None:
    state = full_journal().incident_state()
    span = span_of(state, LATER)
    assert state.closed_at is not None
    assert span is not None
    assert span.begin < ALERT_AT - timedelta(minutes=15)
    assert span.end == state.closed_at + timedelta(minutes=10)
    early = span_of(state, state.closed_at)
    assert early is not None
    assert early.end == state.closed_at
    assert span_of(JournalBuilder().incident_state(), LATER) is None


def test_a_long_incident_is_asked_for_no_more_points() -> None:
    story = JournalBuilder().add(0.0, FactKind.OPENED, {"title": "t", "component": "api"})
    for days in (0, 1, 30, 400):
        span = span_of(story.incident_state(), ALERT_AT + timedelta(days=days, minutes=1))
        assert span is not None
        assert (span.end - span.begin).total_seconds() / span.step <= MOST_POINTS
        assert span.end - span.begin <= timedelta(days=14)


def test_the_questions_name_the_settings_own_metrics_and_balance_their_brackets() -> None:
    asked = questions("my_requests", "my_seconds", "code", 'job="api"', 60)
    assert [each.unit for each in asked] == ["share", "seconds", "per second"]
    assert 'my_requests{job="api",code=~"5.."}[60s]' in asked[0].promql
    assert "my_seconds_bucket" in asked[1].promql
    for each in asked:
        for pair in ("()", "{}", "[]"):
            assert each.promql.count(pair[0]) == each.promql.count(pair[1])
    assert '{code=~"5.."}' in questions("r", "d", "code", "", 60)[0].promql


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [{}],
        [{"values": "x"}],
        [{"values": [[1], ["a", "1"], [1e300, "1"], [None, None], [1, "NaN"], [1, "+Inf"], 7]}],
    ],
)
def test_an_answer_of_nonsense_keeps_no_point(answer: list[dict[str, Any]]) -> None:
    assert kept(ERRORS, answer)["points"] == []


def test_what_was_kept_is_read_back_in_time_since_the_alert() -> None:
    story = told((-60, 0), (0, 0.25), (60, math.nan), (120, "1"))
    (row,) = ranges_of(story.facts)
    assert row.points == ((-60.0, 0.0), (0.0, 0.25), (120.0, 1.0))
    assert not is_kept(full_journal().incident_state(), LATER)
    assert read(story.incident_state(), LATER).ranges == (row,)


@pytest.mark.parametrize("ranges", [None, "x", [7], [{"points": [[1, "a"]]}], [{"points": {}}]])
def test_an_odd_fact_shows_no_range(ranges: object) -> None:
    story = full_journal().add(200.0, FactKind.RANGES_KEPT, {"ranges": ranges})
    assert ranges_of(story.facts) == ()


def test_the_plot_shows_the_highest_value_the_moments_and_a_gap_as_a_gap() -> None:
    values = [(float(at), 0.5 if at > 0 else 0.0) for at in range(-60, 61, 5) if not 10 < at < 45]
    story = told(*values)
    data = read(story.incident_state(), LATER)
    plot = range_plots(data.ranges, marks_of(data.phases))
    root = parsed(plot)
    words = " ".join(root.itertext())
    assert "highest 50.0%" in words
    assert {"alert", "since the alert"} <= set(root.itertext())
    assert len([each for each in root.iter() if each.tag.endswith("polyline")]) == 2


def test_no_range_is_no_plot_and_hostile_titles_are_text() -> None:
    assert range_plots((), ((0.0, "alert"),)) == ""
    assert range_plots(ranges_of(told((0, 1)).facts), ()) == ""
    story = full_journal()
    points = [[ALERT_AT.timestamp() + at, 0] for at in (0, 5, 10)]
    spoiled = {"name": "x", "title": "</text><script>", "unit": "share", "points": points}
    story.add(200.0, FactKind.RANGES_KEPT, {"ranges": [spoiled]})
    plot = range_plots(ranges_of(story.facts), ())
    assert "<script>" not in plot
    parsed(plot)


def test_the_ten_minutes_after_the_end_are_asked_for_once_they_are_over() -> None:
    def incident(*kept_until: float, closed: bool = True) -> Incident:
        journal = JournalBuilder()
        journal.add(0, FactKind.OPENED, {"title": "t", "component": "api", "procedure": "triage"})
        for end in kept_until:
            data = {"end": at(end).isoformat(), "ranges": [{"points": [[0, 0]]}]}
            journal.add(end, FactKind.RANGES_KEPT, data)
        if closed:
            journal.add(100, FactKind.CLOSED, {"outcome": "restored", "summary": "s"})
        return journal.incident_state()

    assert not is_kept(incident(), at(101))
    assert is_kept(incident(101), at(102))
    assert not is_kept(incident(101), at(100 + 600))
    assert is_kept(incident(101, 700), at(5000))
    assert is_kept(incident(50, closed=False), at(60))
    assert not is_kept(incident(50), at(101)), "kept while it was open"
