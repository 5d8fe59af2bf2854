"""What a clock makes due: people are told at 50, 75 and 90 % of its time, and when it was missed.

Each alarm once: its step is recorded, so a restart, a second gateway or a machine's clock that was
set back tells nobody twice. A clock that a person set anew (another due time) alarms anew.

The data protection officer must know: who could not be reached is tried again until told, and the
deputy hears of it at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tasks.domain.contacts import Contact
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import moment
from tasks.domain.policy import DPO_CLOCK
from tasks.domain.untrusted import visible

SHARES = (50, 75, 90)
"""Per cent of a clock's time."""

DPO_MOMENT = "privacy"
"""The moment at which the data protection officer is told of an incident."""

AGAIN = "dpo.again"
"""Steps by which the DPO is told that moment again; such a message is the first that arrives."""

_AGAIN, _LATER_AGAIN = timedelta(minutes=5), timedelta(minutes=30)
_NO_LONGER_THAN = timedelta(hours=24)
_NAME_LIMIT = 64  # a step is part of a database key

_OF_DPO: dict[int, tuple[Contact, ...]] = {
    50: (Contact.DPO,),
    75: (Contact.DPO, Contact.DPO_DEPUTY),
    90: (Contact.DPO_DEPUTY,),
    100: (Contact.COMPLIANCE_OFFICER, Contact.DPO),
}
_OF_LAW: dict[int, tuple[Contact, ...]] = {
    50: (Contact.DPO,),
    75: (Contact.DPO,),
    90: (Contact.DPO, Contact.COMPLIANCE_OFFICER),
    100: (Contact.COMPLIANCE_OFFICER, Contact.DPO, Contact.LEGAL_COUNSEL),
}


class Alarm(NamedTuple):
    """One step that is due: its name for ever, whom it tells, when, and why."""

    step: str
    contact: str
    due_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Started:
    """A clock as its newest start has it. `anew`: the place of that fact, when it is not the first.

    `began` is not when the fact was written: a legal clock begins with awareness.
    """

    name: str
    began: datetime
    due: datetime
    anew: int | None

    def at(self, share: int) -> datetime:
        """When so many per cent of the time are gone."""
        return self.began + (self.due - self.began) * share / 100


def running(facts: Sequence[Fact]) -> Iterator[Started]:
    """Every clock that nobody has stopped; one whose due time cannot be read alarms nobody."""
    starts: dict[str, list[Fact]] = {}
    stopped = set()
    for fact in facts:
        name = fact.data.get("clock")
        if not isinstance(name, str) or not name:
            continue
        if fact.kind is FactKind.CLOCK_STARTED:
            starts.setdefault(name, []).append(fact)
        elif fact.kind is FactKind.CLOCK_STOPPED:
            stopped.add(name)
    for name, said in starts.items():
        newest = said[-1]
        due = moment(newest.data.get("due"))
        if name in stopped or due is None:
            continue
        began = moment(newest.data.get("began")) or newest.at
        anew = newest.seq if len(said) > 1 else None
        yield Started(name, min(began, due), due, anew)


def clock_alarms(incident: Incident) -> Iterator[Alarm]:
    """Alarms of every running clock, past and to come."""
    for clock in running(incident.facts):
        told = _OF_DPO if clock.name == DPO_CLOCK else _OF_LAW
        stem = f"clock.{clock.name[:_NAME_LIMIT]}" + (f".{clock.anew}" if clock.anew else "")
        for share in (*SHARES, 100):
            first, *others = told[share]
            step = f"{stem}.missed" if share == 100 else f"{stem}.{share}"  # noqa: PLR2004
            reason = _reason(clock, share)
            yield Alarm(step, first, clock.at(share), reason)
            for contact in others:
                yield Alarm(f"{step}.{contact}", contact, clock.at(share), reason)
        if clock.name == DPO_CLOCK:
            yield from _until_reached(incident, clock)


def _reason(clock: Started, share: int) -> str:
    due = f"{clock.due:%Y-%m-%d %H:%M} UTC"
    name = clock.name[:_NAME_LIMIT]
    if share < 100:  # noqa: PLR2004
        return f"{share} % of the clock {name} are gone: it ends at {due}, nobody has stopped it"
    return f"the clock {name} ended at {due} and nobody had stopped it"


def _until_reached(incident: Incident, clock: Started) -> Iterator[Alarm]:
    """The deputy at once, the DPO again and again for a day, until a message has arrived.

    Every five minutes within the hour, every thirty after it.
    """
    if any(told.get("moment") == DPO_MOMENT for told in incident.notified):
        return
    failed = next(
        (
            fact
            for fact in incident.facts
            if fact.kind is FactKind.NOTIFY_FAILED and fact.data.get("moment") == DPO_MOMENT
        ),
        None,
    )
    if failed is None:
        return
    why = f"personal data may be concerned ({visible(incident.title, 200)})"
    yield Alarm(
        "dpo.second",
        Contact.DPO_DEPUTY,
        failed.at,
        f"{why}, and the DPO could not be told: reach them by other means, and acknowledge",
    )
    number, due_at = 1, failed.at + _AGAIN
    while due_at < failed.at + _NO_LONGER_THAN:
        yield Alarm(f"{AGAIN}.{number}", Contact.DPO, due_at, f"{why}; please acknowledge")
        number, due_at = number + 1, due_at + (_AGAIN if due_at < clock.due else _LATER_AGAIN)
