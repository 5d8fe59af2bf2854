"""To which state a database is recovered: the newest, a moment, a size, or before the damage.

The audit log itself always comes back complete to its signed head, because a signed log never gets
shorter; the target is what the other tables are as of.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tasks.domain.errors import BadInput

FORMS = "latest, before-damage, size:50000 or a time with its zone such as 2026-11-22 14:05Z"
"""What people may type."""

_TEXT_LIMIT = 64
_SIZE = re.compile(r"size:(0|[1-9][0-9]{0,17})")  # fits a bigint
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r" ?(Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.IGNORECASE,
)


class TargetKind(StrEnum):
    """Which state is wanted."""

    LATEST = "latest"
    TIME = "time"
    SIZE = "size"
    BEFORE_DAMAGE = "before-damage"


@dataclass(frozen=True, slots=True)
class Target:
    """`time` (UTC) belongs to TIME alone, `size` (records in the log) to SIZE alone.

    Raises BadInput for anything else, a time without its zone included.
    """

    kind: TargetKind = TargetKind.LATEST
    time: datetime | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no target; the time becomes one of UTC."""
        if (self.time is not None) != (self.kind is TargetKind.TIME):
            raise BadInput(f"expected a time for the target {TargetKind.TIME} and no other")
        if (self.size is not None) != (self.kind is TargetKind.SIZE):
            raise BadInput(f"expected a size for the target {TargetKind.SIZE} and no other")
        if self.size is not None and _SIZE.fullmatch(f"size:{self.size}") is None:
            raise BadInput(f"expected a size of 0 or more records, found {str(self.size)[:40]}")
        if self.time is not None:
            object.__setattr__(self, "time", _in_utc(self.time))

    @classmethod
    def parse(cls, text: str) -> "Target":
        """What a person typed. Raises BadInput that says what to type instead."""
        words = text.strip() if len(text) <= _TEXT_LIMIT else text
        kind = words.lower().replace(" ", "-")
        if kind in (TargetKind.LATEST, TargetKind.BEFORE_DAMAGE):
            return cls(TargetKind(kind))
        size = _SIZE.fullmatch(words)
        if size is not None:
            return cls(TargetKind.SIZE, size=int(size[1]))
        return cls(TargetKind.TIME, time=_read_time(words))

    def __str__(self) -> str:
        """As people type it: `parse` is its inverse."""
        if self.time is not None:
            return self.time.isoformat(sep=" ").removesuffix("+00:00") + "Z"
        return self.kind.value if self.size is None else f"size:{self.size}"

    def as_json(self) -> dict[str, Any]:
        """JSON-able; `from_json` is its inverse."""
        return {"target": str(self)}

    @classmethod
    def from_json(cls, value: object) -> "Target":
        """A target out of the journal. Raises BadInput when it is none."""
        said = value.get("target") if isinstance(value, Mapping) else None
        if not isinstance(said, str):
            raise BadInput(f"expected a target as text, found {type(said).__name__}")
        return cls.parse(said)


def _read_time(words: str) -> datetime:
    found = _TIME.fullmatch(words)
    if found is None:
        hint = ": add the time of day" if _DAY.fullmatch(words) else ""
        raise BadInput(f"expected {FORMS}, found {words[:40]!a}{hint}")
    day, time, zone = found.groups()
    if zone is None:
        raise BadInput(
            f"expected a time with its zone, found {words!a}, which is another moment in every "
            f"zone: type {day} {time}Z if it is UTC, else the offset, such as {day} {time}+01:00"
        )
    offset = "+00:00" if zone.upper() in ("Z", "UTC") else zone
    try:
        return _in_utc(datetime.fromisoformat(f"{day}T{time}{offset}"))
    except ValueError as error:
        raise BadInput(f"expected a moment that exists, found {words!a}: {error}") from error


def _in_utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise BadInput("expected a time with its zone, found one without")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise BadInput(f"expected a moment of this calendar, found {time.isoformat()}") from error
