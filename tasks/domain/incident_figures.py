"""Figures over many incidents: how soon they are detected, acknowledged and recovered.

TTD = detected - impact start; TTA = acknowledged - paged; TTR = recovered - impact start, where
recovered is the moment at which a proof held (see `metrics`). Shown are n, median and p90; a mean
never is, and below five incidents no p90 and below ten no trend: few values say too little.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from tasks.domain.drills import DrillResult, Ending
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import fold
from tasks.domain.metrics import duration, measure
from tasks.domain.report_changes import is_simulated
from tasks.domain.untrusted import visible

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5
"""Values below which p90 is not shown."""

FEWEST_FOR_TREND = 10
_STEADY = 0.1  # a median that moved by less is called steady
ALL = "all"

KINDS = (
    *(FactKind.OPENED, FactKind.ALERT_RECEIVED, FactKind.SEVERITY_ASSIGNED, FactKind.NOTIFIED),
    *(FactKind.NOTE, FactKind.PLAN_DECIDED, FactKind.VERIFIED, FactKind.CLOSED),
    FactKind.LEAD_TAKEN,
)
"""The facts that the figures are read from."""


class Measured(StrEnum):
    """What is measured, in seconds."""

    TTD = "time to detect"
    TTA = "time to acknowledge"
    TTR = "time to recover"
    CLOSED = "alert to close"
    DRILL = "restore drill (RTO)"


_KEYS = {
    Measured.TTD: "time_to_detect",
    Measured.TTA: "time_to_acknowledge",
    Measured.TTR: "time_to_recover",
    Measured.CLOSED: "total",
}


_FIELDS = {
    Measured.TTD: "ttd",
    Measured.TTA: "tta",
    Measured.TTR: "ttr",
    Measured.CLOSED: "closed",
}


class Trend(StrEnum):
    """Of the newer half against the older one, by their medians."""

    BETTER = "better"
    WORSE = "worse"
    STEADY = "steady"
    TOO_FEW = "too few"


@dataclass(frozen=True, slots=True)
class IncidentFigures:
    """One incident. Seconds; None is UNKNOWN. Texts are as the facts have them."""

    incident: str
    opened_at: datetime
    component: str
    severity: str
    outcome: str
    simulated: bool
    ttd: float | None
    tta: float | None
    ttr: float | None
    closed: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary; `median` and `p90` in seconds, None where they are not shown."""

    measured: str
    severity: str
    n: int
    median: float | None
    p90: float | None
    trend: Trend

    @property
    def median_words(self) -> str:
        """For people."""
        return "-" if self.median is None else duration(self.median)

    @property
    def p90_words(self) -> str:
        """For people."""
        return "-" if self.p90 is None else duration(self.p90)


def figures_of(facts: Iterable[Fact]) -> list[IncidentFigures]:
    """Of the facts of many incidents, in the order of their opening."""
    by_incident: dict[str, list[Fact]] = {}
    for fact in facts:
        by_incident.setdefault(fact.incident, []).append(fact)
    found = [one for each in by_incident.values() if (one := _figures(each)) is not None]
    return sorted(found, key=lambda each: (each.opened_at, each.incident))


def _figures(facts: Sequence[Fact]) -> IncidentFigures | None:
    """None for what was opened before the facts begin: half of an incident measures nothing."""
    state = fold(facts[0].incident, facts)
    if state.opened_at is None:
        return None
    measured = {figure.key: figure.value for figure in measure(facts)}
    return IncidentFigures(
        incident=state.id,
        opened_at=state.opened_at,
        component=state.component,
        severity=state.severity.value if state.severity else "",
        outcome=state.outcome,
        simulated=any(_is_simulated(fact) for fact in facts),
        ttd=measured[_KEYS[Measured.TTD]],
        tta=measured[_KEYS[Measured.TTA]],
        ttr=measured[_KEYS[Measured.TTR]],
        closed=measured[_KEYS[Measured.CLOSED]],
    )


def _is_simulated(fact: Fact) -> bool:
    """An exercise says that it is one, and so does whoever decides in the place of a person."""
    decided = fact.kind is FactKind.PLAN_DECIDED and is_simulated(fact)
    return decided or fact.data.get("simulated") is True


def summary(incidents: Sequence[IncidentFigures], drills: Sequence[DrillResult] = ()) -> list[Row]:
    """n, median, p90 and trend: of all, then by severity, then of drills that passed.

    Exercises are left out. Loads pandas.
    """
    import pandas as pd  # noqa: PLC0415  half a second that nobody else should wait for

    table = pd.DataFrame(
        {
            "severity": [each.severity or "P?" for each in incidents if not each.simulated],
            **{
                measured.value: pd.Series(
                    [getattr(each, name) for each in incidents if not each.simulated],
                    dtype="float64",
                )
                for measured, name in _FIELDS.items()
            },
        }
    )
    rows = []
    for measured in _FIELDS:
        rows.append(_row(measured, ALL, table[measured.value]))
        if not table.empty:
            rows += [
                _row(measured, str(severity), group[measured.value])
                for severity, group in table.groupby("severity", sort=True)
            ]
    passed = sorted(
        (each for each in drills if each.ending is Ending.PASSED), key=lambda each: each.at
    )
    rows.append(
        _row(Measured.DRILL, ALL, pd.Series([each.rto for each in passed], dtype="float64"))
    )
    return rows


def _row(measured: Measured, severity: str, values: "pd.Series[float]") -> Row:
    known = values.dropna()
    n = len(known)
    return Row(
        measured=measured.value,
        severity=severity,
        n=n,
        median=float(known.median()) if n else None,
        p90=float(known.quantile(0.9)) if n >= FEWEST else None,
        trend=_trend(known),
    )


def _trend(known: "pd.Series[float]") -> Trend:
    """The values are in the order of time: lower is better."""
    if len(known) < FEWEST_FOR_TREND:
        return Trend.TOO_FEW
    half = len(known) // 2
    older, newer = float(known.iloc[:half].median()), float(known.iloc[-half:].median())
    if abs(newer - older) <= _STEADY * abs(older):
        return Trend.STEADY
    return Trend.BETTER if newer < older else Trend.WORSE


def as_csv(incidents: Sequence[IncidentFigures]) -> str:
    """One line an incident, for a spreadsheet: no cell of it is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(IncidentFigures)])
    for each in incidents:
        writer.writerow([_cell(getattr(each, field.name)) for field in fields(IncidentFigures)])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.3f}"
    text = visible(value, 200)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t"} else text


def plain(row: Row) -> Mapping[str, object]:
    """The row for programs."""
    return {
        "measured": row.measured,
        "severity": row.severity,
        "n": row.n,
        "median_seconds": row.median,
        "p90_seconds": row.p90,
        "trend": row.trend.value,
    }
