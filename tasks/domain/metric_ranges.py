"""Error rate and latency around an incident: what is asked of Prometheus, and what is kept of it.

Kept as a fact when the incident ends: Prometheus forgets after some days, a report does not. Points
are bounded, and what is no finite number is left out: a gap is a gap.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import items, mapping, moment, text
from tasks.domain.metrics import beginning, onset

MOST_POINTS = 180
_MOST_RANGES = 4
_BEFORE = timedelta(minutes=15)
_AFTER = timedelta(minutes=10)
_LONGEST = timedelta(days=14)
_SHORTEST_STEP = 5.0
_PRECISION = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """One question; `unit` is share (of 1), seconds or per second."""

    name: str
    title: str
    unit: str
    promql: str


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked about, and how finely, in seconds."""

    begin: datetime
    end: datetime
    step: float


@dataclass(frozen=True, slots=True)
class RangeRow:
    """A kept range; `points` are (seconds since the alert, value), in the order of time."""

    name: str
    title: str
    unit: str
    points: tuple[tuple[float, float], ...]


def span_of(incident: Incident, now: datetime) -> Span | None:
    """From a quarter of an hour before the onset until ten minutes after the end."""
    began = onset(incident.facts)
    if began is None:
        return None
    end = min(now, (incident.closed_at or now) + _AFTER)
    begin = max(began - _BEFORE, end - _LONGEST)
    if begin >= end:
        return None
    step = max(_SHORTEST_STEP, (end - begin).total_seconds() / (MOST_POINTS - 1))
    return Span(begin, end, step)


def questions(
    requests: str, durations: str, status: str, selector: str, window_seconds: int
) -> tuple[Asked, ...]:
    """By the settings' own names of metrics; a rate is over `window_seconds`."""
    over = f"[{window_seconds}s]"
    failing = f'{selector},{status}=~"5.."'.lstrip(",")
    every = f"sum(rate({requests}{{{selector}}}{over}))"
    buckets = f"sum by (le) (rate({durations}_bucket{{{selector}}}{over}))"
    none = "vector(0)"  # no answer of 5xx so far is no series: then nothing failed
    return (
        Asked(
            "errors",
            "Share of requests that fail",
            "share",
            f"(sum(rate({requests}{{{failing}}}{over})) or {none}) / ({every} > 0)",
        ),
        Asked("p95", "Latency, 95th percentile", "seconds", f"histogram_quantile(0.95, {buckets})"),
        Asked("requests", "Requests", "per second", every),
    )


def kept(asked: Asked, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the fact holds of an answer: the points of its first series."""
    values = items(mapping(series[0]).get("values")) if series else ()
    points = [point for pair in values if (point := _point(pair)) is not None]
    return {
        "name": asked.name,
        "title": asked.title,
        "unit": asked.unit,
        "points": [list(point) for point in points[-MOST_POINTS:]],
    }


def fact_of(span: Span, ranges: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What such a fact holds."""
    count = sum(len(items(each.get("points"))) for each in ranges)
    return {
        "begin": span.begin.isoformat(),
        "end": span.end.isoformat(),
        "ranges": list(ranges),
        "summary": f"{count} points of error rate, latency and requests kept from Prometheus",
    }


def ranges_of(facts: Iterable[Fact]) -> tuple[RangeRow, ...]:
    """The ranges of the newest fact that has any, in time since the alert."""
    known = list(facts)
    zero = beginning(known)
    for fact in reversed(known):
        if fact.kind is not FactKind.RANGES_KEPT or zero is None:
            continue
        found = [mapping(each) for each in items(fact.data.get("ranges"))[:_MOST_RANGES]]
        rows = [_row(each, zero) for each in found]
        if any(row.points for row in rows):
            return tuple(row for row in rows if row.points)
    return ()


def _row(data: Mapping[str, Any], zero: datetime) -> RangeRow:
    read = [point for pair in items(data.get("points"))[:MOST_POINTS] if (point := _point(pair))]
    began = zero.timestamp()
    return RangeRow(
        name=text(data, "name", limit=40),
        title=text(data, "title", limit=80),
        unit=text(data, "unit", limit=20),
        points=tuple(sorted((round(at - began, 3), value) for at, value in read)),
    )


def _point(pair: object) -> tuple[float, float] | None:
    """(seconds since 1970, value), or None for what is no finite number of a possible time."""
    found = items(pair)
    if len(found) != 2:  # noqa: PLR2004  time and value
        return None
    try:
        at, value = float(found[0]), float(found[1])
        datetime.fromtimestamp(at, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return (at, round(value, _PRECISION)) if math.isfinite(value) else None


def is_kept(incident: Incident, now: datetime) -> bool:
    """Whether a fact has ranges as long as they can be had by now.

    What was kept at the closing lacks the ten minutes after it: they are asked for once more, with
    a report that is written later. What an open incident has kept ends too early once it is closed.
    """
    ends = [
        end
        for fact in incident.facts
        if fact.kind is FactKind.RANGES_KEPT and fact.data.get("ranges")
        for end in [moment(fact.data.get("end"))]
        if end is not None
    ]
    if not ends or incident.closed_at is None:
        return bool(ends)
    until = incident.closed_at + _AFTER
    return max(ends) >= (until if now >= until else incident.closed_at)
