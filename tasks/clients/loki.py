"""Loki's HTTP API: the lines before a moment, and those since.

One question backwards from now would give the newest lines alone, and on a busy day those do not
reach back to the beginning. So two are asked: the last lines before the moment, and the first
lines from it on.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.domain.log_lines import LogLine
from tasks.sections.components import LokiSettings

_BODY_LIMIT = 32 * 1024 * 1024
_NANO = 1_000_000_000
_LEAST_SECONDS = 0.05
_NAMES = ("pod", "container", "app", "job")
_LABEL_LIMIT = 128


@dataclass(frozen=True, slots=True)
class Around:
    """Lines before and since a moment. `cut`: there are more than were asked for."""

    lines: tuple[LogLine, ...]
    cut: bool


def around(loki: LokiSettings, moment: datetime, now: datetime) -> Around:
    """Lines of the last `minutes_before` before `moment`, and from it until `now`.

    Both questions together take no longer than the time-out. Raises Transient, Denied, NotFound or
    Malformed, as `http.call` does.
    """
    until = time.monotonic() + loki.timeout_seconds
    earliest = moment - timedelta(minutes=loki.minutes_before)
    since = _asked(loki, moment, now, "forward", until)
    before = _asked(loki, earliest, moment, "backward", until)
    return Around((*before, *since), cut=max(len(before), len(since)) >= loki.lines)


def _asked(
    loki: LokiSettings, start: datetime, end: datetime, direction: str, until: float
) -> list[LogLine]:
    if start >= end:
        return []
    answer = http.call(
        "GET",
        f"{loki.url}/loki/api/v1/query_range",
        timeout_seconds=max(until - time.monotonic(), _LEAST_SECONDS),
        token=loki.token,
        params={
            "query": loki.query,
            "start": _nanoseconds(start),
            "end": _nanoseconds(end),
            "limit": loki.lines,
            "direction": direction,
        },
        body_limit=_BODY_LIMIT,
    )
    try:
        lines = list(_lines(answer.value))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Malformed(f"expected streams of Loki, found {type(error).__name__}") from error
    if len(lines) > loki.lines:
        raise Malformed(f"expected at most {loki.lines} lines of Loki, found {len(lines)}")
    return lines


def _lines(answer: Any) -> Iterator[LogLine]:  # noqa: ANN401 - JSON of another system
    data = answer["data"]
    if data["resultType"] != "streams" or not isinstance(data["result"], list):
        raise TypeError("expected streams")
    for stream in data["result"]:
        source = _source(stream["stream"])
        for nanoseconds, text, *_ in stream["values"]:  # newer ones add metadata
            if not isinstance(text, str):
                raise TypeError("expected a line as text")
            yield LogLine(text, datetime.fromtimestamp(int(nanoseconds) / _NANO, UTC), source)


def _source(labels: dict[str, Any]) -> str:
    """Who wrote a stream, by the labels that promtail and its successors set."""
    named = [str(labels[name])[:_LABEL_LIMIT] for name in _NAMES if name in labels]
    return "/".join(named[:2])


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
