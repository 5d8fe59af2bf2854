"""Who is on call at a moment: shifts by turns, in local time, with overrides above them.

A shift begins at a time of day of its own zone, so a change to or from summer time makes one shift
an hour longer or shorter and moves no hand-over. Overrides win over shifts, the latest one over the
others; a moment that nobody covers has nobody, and the caller says whom to tell then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tasks.domain.errors import BadInput

_WEEKDAYS = 7
_MEMBERS_LIMIT = 100
_LONGEST_SHIFT_DAYS = 92


@dataclass(frozen=True, slots=True)
class Override:
    """From `begins` until just before `ends` (both with offset), `who` instead of whoever it was.

    Raises BadInput when it ends before it begins, or a time has no offset.
    """

    who: str
    begins: datetime
    ends: datetime

    def __post_init__(self) -> None:
        if self.begins.tzinfo is None or self.ends.tzinfo is None:
            raise BadInput(f"expected the override of {self.who} with offsets, found none")
        if self.ends <= self.begins:
            raise BadInput(f"expected the override of {self.who} to end after it begins")

    def covers(self, at: datetime) -> bool:
        """Whether the moment is within it."""
        return self.begins <= at < self.ends


@dataclass(frozen=True, slots=True)
class Rotation:
    """Members by turns, `days` each, from `starts` on at `hands_over` in `zone`.

    Raises BadInput for nobody, for a zone that does not exist, and for shifts that are no days.
    """

    members: tuple[str, ...]
    starts: date
    days: int = 7
    hands_over: time = time(9, 0)
    zone: str = "UTC"
    overrides: tuple[Override, ...] = ()
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.members) <= _MEMBERS_LIMIT or not all(map(str.strip, self.members)):
            raise BadInput(f"expected 1 to {_MEMBERS_LIMIT} named members, found other ones")
        if not 0 < self.days <= _LONGEST_SHIFT_DAYS:
            raise BadInput(f"expected shifts of 1 to {_LONGEST_SHIFT_DAYS} days, found {self.days}")
        if self.hands_over.tzinfo is not None:
            raise BadInput("expected the time of handing over without an offset: the zone has it")
        object.__setattr__(self, "_zone", zone_named(self.zone))

    def on_call(self, at: datetime) -> str | None:
        """Who is on call then; None before the first shift, when no override says otherwise."""
        for override in reversed(self.overrides):
            if override.covers(at):
                return override.who
        turn = self._turn(at)
        return self.members[turn % len(self.members)] if turn >= 0 else None

    def _turn(self, at: datetime) -> int:
        """Which shift it is, from 0; negative before the first.

        The hand-over of a day is compared as an instant: of a time of day that the clocks show
        twice it is the first.
        """
        day = at.astimezone(self._zone).date()
        begun = self._hand_over_on(day) <= at
        return ((day - self.starts).days - (not begun)) // self.days

    def _hand_over_on(self, day: date) -> datetime:
        return datetime.combine(day, self.hands_over, self._zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """When people are at work: some weekdays (0 is Monday), from `opens` until `closes`."""

    zone: str = "UTC"
    opens: time = time(9, 0)
    closes: time = time(17, 0)
    weekdays: frozenset[int] = frozenset(range(5))
    is_holiday: Callable[[date], bool] = field(default=lambda _: False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.closes <= self.opens:
            raise BadInput(f"expected to close after {self.opens}, found {self.closes}")
        if not self.weekdays or not self.weekdays <= frozenset(range(_WEEKDAYS)):
            raise BadInput("expected weekdays from 0 (Monday) to 6, found none or others")
        object.__setattr__(self, "_zone", zone_named(self.zone))

    def includes(self, at: datetime) -> bool:
        """Whether the moment is within business hours; the closing minute is not."""
        local = at.astimezone(self._zone)
        day = local.date()
        if day.weekday() not in self.weekdays or self.is_holiday(day):
            return False
        return self.opens <= local.time() < self.closes


def first_named(at: datetime, rotations: Sequence[Rotation], otherwise: str) -> str:
    """Whoever the first rotation that covers the moment names; else `otherwise`."""
    named = (rotation.on_call(at) for rotation in rotations)
    return next((who for who in named if who is not None), otherwise)


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database. Raises BadInput."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(
            f"expected a time zone such as Europe/Vienna or UTC, found {name[:60]!a}"
        ) from error
