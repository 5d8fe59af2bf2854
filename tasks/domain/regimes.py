"""Regulatory clocks: read from regimes.toml, started by what people have said, due to the minute.

Two anchors differ: `suspected` starts the internal clock, `aware` the legal ones. A person sets
`aware`; until then it is taken to be `suspected`, which is never later. Deadlines are strict: none
is moved because it falls on a weekend.
"""

import calendar
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from tasks.domain.errors import BadInput
from tasks.domain.written import Table, load, tables

SUSPECTED, AWARE = "suspected", "aware"

ANCHORS = frozenset({SUSPECTED, AWARE, "classified", "material"})
"""Moments that a person states; every other anchor is a clock whose notice was sent."""

_CLOCKS_LIMIT = 100
_FIELDS_LIMIT = 30
_LIMITS_LIMIT = 8
_ID = re.compile(r"[a-z0-9-]{1,40}")
_REGIME = re.compile(r"[a-z0-9_]{1,20}")
_LIMIT = re.compile(
    r"(?P<number>[1-9]\d{0,2}) (?P<unit>hour|day|month|business day)s?"
    r" after (?P<anchor>[a-z0-9-]{1,40})(?: if (?P<case>[a-z0-9-]{1,60}))?"
)
_EDGAR = ZoneInfo("America/New_York")
_EDGAR_CLOSES = time(17, 30)  # what is filed later counts for the next business day
_SOON = (0.5, 0.75, 0.9)

IsBusinessDay = Callable[[date], bool]


class Unit(StrEnum):
    """What a limit counts in."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    BUSINESS_DAY = "business day"


@dataclass(frozen=True, slots=True)
class Limit:
    """So long after an anchor; with a `case`, only when a person has said that it is one."""

    number: int
    unit: Unit
    anchor: str
    case: str = ""

    def after(self, anchor: datetime, is_business_day: IsBusinessDay) -> datetime:
        """The strict end, UTC."""
        match self.unit:
            case Unit.HOUR:
                return anchor + timedelta(hours=self.number)
            case Unit.DAY:
                return anchor + timedelta(days=self.number)
            case Unit.MONTH:
                return _months_after(anchor, self.number)
            case Unit.BUSINESS_DAY:
                return _business_days_after(anchor, self.number, is_business_day)


@dataclass(frozen=True, slots=True)
class Clock:
    """One duty to tell somebody in time; see regimes.toml for the fields."""

    id: str
    regime: str
    title: str
    limits: tuple[Limit, ...]
    recipient: str
    fields: tuple[str, ...]
    source: str
    late: str = ""

    @property
    def anchors(self) -> tuple[str, ...]:
        """What it waits for, each once."""
        return tuple(dict.fromkeys(limit.anchor for limit in self.limits))


@dataclass(frozen=True, slots=True)
class Running:
    """A clock that runs: from `began` to `due` (UTC)."""

    clock: Clock
    began: datetime
    due: datetime

    def alarms(self) -> tuple[tuple[float, datetime], ...]:
        """When people are told that it runs out: the share of the time that is gone, and 1.0."""
        length = self.due - self.began
        return tuple((share, self.began + length * share) for share in (*_SOON, 1.0))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A clock that does not run yet, and what a person must state first."""

    clock: Clock
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Regimes:
    """All clocks, and the day on which somebody read the texts that they are from."""

    reviewed_on: date
    clocks: tuple[Clock, ...]

    def of(self, regimes: Collection[str]) -> tuple[Clock, ...]:
        """Those of the regimes, in their order. Raises BadInput for one that is not known."""
        unknown = sorted(set(regimes) - {clock.regime for clock in self.clocks})
        if unknown:
            known = ", ".join(dict.fromkeys(clock.regime for clock in self.clocks))
            raise BadInput(f"expected regimes among {known}, found {', '.join(unknown)[:80]!a}")
        return tuple(clock for clock in self.clocks if clock.regime in regimes)


def started(
    clock: Clock,
    stated: Mapping[str, datetime],
    sent: Mapping[str, datetime],
    cases: Collection[str] = (),
    is_business_day: IsBusinessDay = lambda day: day.weekday() < calendar.SATURDAY,
) -> Running | Waiting:
    """The clock as it runs: the earliest of the limits that apply and whose anchors are known.

    `stated`: the anchors that people have stated (UTC); `sent`: when the notices of other clocks
    were sent; `cases`: what people have said that the incident is.
    """
    known = {**sent, **stated}
    if SUSPECTED in known:
        known.setdefault(AWARE, known[SUSPECTED])
    runs = [
        (limit.after(known[limit.anchor], is_business_day), known[limit.anchor])
        for limit in clock.limits
        if limit.anchor in known and (not limit.case or limit.case in cases)
    ]
    if not runs:
        return Waiting(clock, tuple(name for name in clock.anchors if name not in known))
    due, began = min(runs)
    return Running(clock, began, due)


def read_regimes(text: str) -> Regimes:
    """From TOML, as regimes.toml explains it. BadInput names the clock and the field."""
    document = load(text)
    Table("the regimes", document).check_known({"reviewed_on", "clocks"})
    reviewed_on = document.get("reviewed_on")
    if type(reviewed_on) is not date:
        raise BadInput("the regimes: reviewed_on: expected a date such as 2026-11-22")
    clocks = [_clock(table) for table in tables(document, "clocks", _CLOCKS_LIMIT, text)]
    seen: set[str] = set()
    for clock in clocks:
        if clock.id in seen or clock.id in ANCHORS:
            raise BadInput(
                f"clocks: expected each id once, and no anchor's, found {clock.id} again"
            )
        for anchor in clock.anchors:
            if anchor not in ANCHORS | seen:
                raise BadInput(
                    f"clock {clock.id}: expected to run after {', '.join(sorted(ANCHORS))} or a "
                    f"clock that stands before it, found {anchor}"
                )
        seen.add(clock.id)
    return Regimes(reviewed_on, tuple(clocks))


@cache
def shipped() -> Regimes:
    """The clocks of regimes.toml."""
    text = resources.files(__package__).joinpath("regimes.toml").read_text(encoding="utf-8")
    return read_regimes(text)


def _clock(table: Table) -> Clock:
    known = {"id", "regime", "title", "limits", "recipient", "fields", "source", "late"}
    table.check_known(known)
    named = table.named(table.label("id", _ID))
    return Clock(
        id=table.label("id", _ID),
        regime=named.label("regime", _REGIME),
        title=named.text("title", 120),
        limits=tuple(_limit(named, text) for text in named.texts("limits", _LIMITS_LIMIT)),
        recipient=named.text("recipient", 80),
        fields=named.texts("fields", _FIELDS_LIMIT),
        source=named.text("source", 200),
        late=named.text("late", 120) if "late" in named else "",
    )


def _limit(table: Table, text: str) -> Limit:
    found = _LIMIT.fullmatch(text)
    if found is None:
        table.complain("limits", '"N hours|days|months|business days after X [if CASE]"', text)
    return Limit(int(found["number"]), Unit(found["unit"]), found["anchor"], found["case"] or "")


def _months_after(anchor: datetime, months: int) -> datetime:
    """The same day of a later month, or its last one; the same time of day in UTC."""
    at = anchor.astimezone(UTC)
    years, month = divmod(at.month - 1 + months, 12)
    year = at.year + years
    day = min(at.day, calendar.monthrange(year, month + 1)[1])
    return at.replace(year=year, month=month + 1, day=day)


def _business_days_after(anchor: datetime, number: int, is_business_day: IsBusinessDay) -> datetime:
    """The close of the last business day, New York time.

    Form 8-K, General Instruction B.1: what falls on a day that is none counts from the next one,
    which is then the first.
    """
    day = anchor.astimezone(_EDGAR).date()
    left = number
    if not is_business_day(day):
        day, left = _next_business_day(day, is_business_day), left - 1
    for _ in range(left):
        day = _next_business_day(day, is_business_day)
    return datetime.combine(day, _EDGAR_CLOSES, _EDGAR).astimezone(UTC)


def _next_business_day(day: date, is_business_day: IsBusinessDay) -> date:
    day += timedelta(days=1)
    while not is_business_day(day):
        day += timedelta(days=1)
    return day
