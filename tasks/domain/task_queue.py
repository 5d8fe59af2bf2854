"""Celery's queues as Redis holds them: two looks, and what they say together.

A queue is a list that is filled at its head and emptied at its tail, so the oldest task is the last
one. Tasks that were taken out of the tail between two looks were consumed; nobody has to be asked.
Messages are hostile input: only digests of them leave the server, and of the oldest one its header.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""What Celery's transport adds to the key of a queue for the tasks of each priority."""

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
_MILLISECONDS = 1e11
"""A time beyond it, the year 5138 in seconds, is written in milliseconds."""


@dataclass(frozen=True, slots=True)
class QueueSample:
    """One look at one list. `at` is the server's clock in seconds.

    `tail` are digests of the oldest tasks, the oldest first; `oldest_sent_at` when the oldest one
    says that it was sent, as a time of the epoch.
    """

    at: float
    length: int
    tail: tuple[str, ...] = ()
    oldest_sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class HeldTasks:
    """Tasks in workers' hands: how many, and for how long the first of them (seconds)."""

    count: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class QueueReading:
    """What waits in all lists of one queue, and how that changes, in tasks per second.

    `oldest_seconds`: the age of the oldest task, where tasks say when they were sent.
    """

    name: str
    waiting: int
    arriving: float
    consumed: float
    oldest_seconds: float | None = None

    @property
    def growth(self) -> float:
        """Tasks per second by which the queue grows; below zero it shrinks."""
        return self.arriving - self.consumed

    def as_json(self) -> dict[str, Any]:
        """Small, for evidence."""
        return {
            "waiting": self.waiting,
            "arriving_per_second": round(self.arriving, 2),
            "consumed_per_second": round(self.consumed, 2),
            "oldest_seconds": self.oldest_seconds and round(self.oldest_seconds, 1),
        }


def compared(name: str, pairs: Sequence[tuple[QueueSample, QueueSample]]) -> QueueReading:
    """Two looks at each list of a queue, as one reading."""
    waiting = sum(after.length for _, after in pairs)
    consumed = arrived = 0
    seconds = max((after.at - before.at for before, after in pairs), default=0.0)
    for before, after in pairs:
        taken = _taken(before, after)
        consumed += taken
        arrived += max(0, after.length - before.length + taken)
    ages = [
        after.at - after.oldest_sent_at for _, after in pairs if after.oldest_sent_at is not None
    ]
    per_second = 1 / seconds if seconds > 0 else 0.0
    return QueueReading(
        name=name,
        waiting=waiting,
        arriving=arrived * per_second,
        consumed=consumed * per_second,
        oldest_seconds=max(0.0, *ages) if ages else None,
    )


def sent_at(message: bytes, header: str) -> float | None:
    """When a task says that it was sent, in seconds of the epoch; None when it does not.

    The header may hold a time of the epoch or ISO 8601 text with its offset.
    """
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    for part in ("headers", "properties"):
        values = found.get(part)
        if isinstance(values, dict) and header in values:
            return _instant(values[header])
    return None


def _taken(before: QueueSample, after: QueueSample) -> int:
    left = set(after.tail)
    gone = sum(1 for digest in before.tail if digest not in left)
    return max(gone, before.length - after.length, 0)


def _instant(value: object) -> float | None:
    if isinstance(value, str) and len(value) <= 64:  # noqa: PLR2004  longer than any date
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return None
        return _within(at.timestamp()) if at.tzinfo is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > 10**15:
        return None
    return _within(value / 1000 if value > _MILLISECONDS else float(value))


def _within(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and _EARLIEST <= seconds <= _LATEST else None
