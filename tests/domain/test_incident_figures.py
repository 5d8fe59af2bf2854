"""Figures over incidents: medians of what was measured, silence where there is too little."""

import csv
import io
import subprocess
import sys
from datetime import timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.drills import DrillResult, Ending, Phase
from tasks.domain.facts import FactKind
from tasks.domain.incident_figures import (
    ALL,
    FEWEST,
    KINDS,
    IncidentFigures,
    Measured,
    Row,
    Trend,
    as_csv,
    figures_of,
    plain,
    summary,
)
from tests.builders import ALERT_AT, JournalBuilder
from tests.story import full_journal


def one(number: int, ttr: float | None = None, *, simulated: bool = False) -> IncidentFigures:
    return IncidentFigures(
        incident=f"INC-{number}",
        opened_at=ALERT_AT + timedelta(hours=number),
        component="api",
        severity="P1" if number % 2 else "P2",
        outcome="restored",
        simulated=simulated,
        ttd=None,
        tta=10.0,
        ttr=ttr,
        closed=None,
    )


def row(rows: list[Row], measured: Measured, severity: str = ALL) -> Row:
    return next(
        each for each in rows if (each.measured, each.severity) == (measured.value, severity)
    )


def test_the_figures_of_one_incident_are_those_of_its_report() -> None:
    (found,) = figures_of(full_journal().facts)
    assert (found.ttd, found.severity, found.simulated) == (41.0, "P0", True)
    assert found.tta == pytest.approx(7.15)
    assert found.ttr == pytest.approx(57.9)


def test_half_an_incident_and_other_names_of_the_journal_measure_nothing() -> None:
    note = JournalBuilder("restore-drills").add(0.0, FactKind.NOTE, {"text": "x"})
    assert figures_of(note.facts) == []
    assert figures_of([]) == []


def test_no_incident_is_no_figure_and_no_error() -> None:
    found = summary([])
    assert {each.n for each in found} == {0}
    assert {each.trend for each in found} == {Trend.TOO_FEW}
    assert row(found, Measured.TTR).median_words == "-"


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_the_median_is_the_median_and_p90_needs_five(values: list[float]) -> None:
    found = row(summary([one(n, value) for n, value in enumerate(values)]), Measured.TTR)
    assert found.n == len(values)
    assert found.median == (pytest.approx(median(values)) if values else None)
    assert (found.p90 is None) == (len(values) < FEWEST)
    if found.p90 is not None:
        assert min(values) <= found.p90 <= max(values)


def test_unknown_is_left_out_and_an_exercise_too() -> None:
    found = summary([one(1, 60.0), one(2), one(3, 9e9, simulated=True)])
    assert (row(found, Measured.TTR).n, row(found, Measured.TTR).median) == (1, 60.0)
    assert row(found, Measured.TTA).n == 2
    assert (row(found, Measured.TTR, "P1").n, row(found, Measured.TTR, "P2").n) == (1, 0)


def test_who_takes_the_lead_before_anybody_is_told_has_answered_the_alert() -> None:
    story = JournalBuilder().add(0.0, FactKind.OPENED, {"title": "t", "component": "api"})
    story.add(4.0, FactKind.LEAD_TAKEN, {}, "ada")
    story.add(9.0, FactKind.NOTIFIED, {"audience": "responders", "moment": "opened"})
    story.add(20.0, FactKind.PLAN_DECIDED, {"decision": "approved"}, "bea")
    (found,) = figures_of(fact for fact in story.facts if fact.kind in KINDS)
    assert found.tta == 4.0


def test_a_trend_of_negative_medians_may_be_steady() -> None:
    incidents = [one(n, -100.0 if n < 5 else -101.0) for n in range(10)]
    assert row(summary(incidents), Measured.TTR).trend is Trend.STEADY


@pytest.mark.parametrize(
    ("newer", "trend"), [(10.0, Trend.BETTER), (200.0, Trend.WORSE), (105.0, Trend.STEADY)]
)
def test_the_trend_is_of_the_newer_half(newer: float, trend: Trend) -> None:
    incidents = [one(n, 100.0 if n < 5 else newer) for n in range(10)]
    assert row(summary(incidents), Measured.TTR).trend is trend
    assert row(summary(incidents[1:]), Measured.TTR).trend is Trend.TOO_FEW


def test_drills_that_passed_are_a_row_of_their_own() -> None:
    phases = ((Phase.FETCH, 2.0), (Phase.LOAD, 4.0))
    drills = [
        DrillResult("k", ending, ALERT_AT + timedelta(days=n), phases=phases)
        for n, ending in enumerate((Ending.PASSED, Ending.FAILED, Ending.PASSED))
    ]
    found = row(summary([], drills), Measured.DRILL)
    assert (found.n, found.median) == (2, 6.0)
    assert plain(found)["median_seconds"] == 6.0


def test_no_cell_of_the_csv_is_a_formula_or_a_second_line() -> None:
    odd = one(1, 1.5)
    hostile = IncidentFigures(
        *("=cmd()", odd.opened_at, '@x\n"y",z', "-1", "+2", False, None, None, 1.5, None)
    )
    lines = list(csv.reader(io.StringIO(as_csv([hostile, odd]))))
    assert len(lines) == 3
    assert lines[1][0] == "'=cmd()"
    assert (lines[1][3], lines[1][4]) == ("'-1", "'+2")
    assert lines[1][2].startswith("'@x ")
    assert (lines[2][6], lines[2][8]) == ("", "1.500")


def test_pandas_is_loaded_only_by_who_wants_the_summary() -> None:
    code = (
        "import sys; import tasks.domain.incident_figures, deployments.cli;"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_incident_that_a_simulated_person_has_decided_is_an_exercise() -> None:
    journal = JournalBuilder()
    journal.add(0, FactKind.OPENED, {"title": "t", "component": "api", "procedure": "triage"})
    decided = {"hash": "h", "decision": "approved", "role": "approver"}
    journal.add(1, FactKind.PLAN_DECIDED, decided, "demo approver (simulated)")
    (found,) = figures_of(journal.facts)
    assert found.simulated
