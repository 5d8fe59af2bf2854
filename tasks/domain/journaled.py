"""Reading journaled JSON for people: a missing or strange value is UNKNOWN, never an error.

A report is written when things have gone wrong, perhaps by an older version of ourselves; a key
that is not there must cost one cell, not the report. All text that leaves here passed `visible`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tasks.domain.facts import Fact, FactKind
from tasks.domain.untrusted import LIMIT, visible

UNKNOWN = "UNKNOWN"


def text(data: Mapping[str, Any], key: str, otherwise: str = UNKNOWN, limit: int = LIMIT) -> str:
    """A field for people, at most `limit` long; `otherwise` when it is absent or empty."""
    value = data.get(key)
    return otherwise if value is None or value in ("", [], {}) else visible(value, limit)


def mapping(value: object) -> Mapping[str, Any]:
    """`value` when it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> Sequence[Any]:
    """`value` when it is a JSON array, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def whole_number(value: object) -> int | None:
    """A whole number that fits PostgreSQL's bigint and is not negative, else None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 63 else None


def seconds_in(value: object) -> float | None:
    """A non-negative, finite number of seconds, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < float("inf") else None


def moment(value: object) -> datetime | None:
    """An ISO 8601 instant as UTC; None when it is not one, or carries no offset."""
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return read.astimezone(UTC) if read.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def utc(at: datetime) -> str:
    """An instant with its offset shown: `2026-03-14 03:00:12.250+00:00`."""
    return at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")


def instant(value: object) -> str:
    """A journaled instant in UTC with its offset, else UNKNOWN."""
    at = moment(value)
    return UNKNOWN if at is None else utc(at)


def of_kind(facts: Iterable[Fact], *kinds: FactKind) -> list[Fact]:
    """The facts of these kinds, in order."""
    return [fact for fact in facts if fact.kind in kinds]


def result_of(fact: Fact) -> Mapping[str, Any]:
    """What a step or a proof says about itself."""
    return mapping(fact.data.get("result"))
