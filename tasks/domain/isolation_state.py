"""An isolation that was begun: until when it stands, who has confirmed it, and when it goes back.

Read from the facts alone, so that a restart loses nothing and nothing goes back twice. It ends by
itself when nobody has confirmed it in time: a forged alert must not keep people out for ever.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tasks.domain.clock_alarms import Alarm
from tasks.domain.contacts import Contact
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.isolation import ACCOUNTS, NETWORK, RETURN, SESSIONS, UNLESS_CONFIRMED
from tasks.domain.journaled import mapping

PROCEDURE = "breach"

_ISOLATING = frozenset({NETWORK, ACCOUNTS, SESSIONS})
_DENIED = "denied"
_LONGEST = timedelta(days=7)
_FIRST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE = timedelta(hours=1)
_DOUBLED_AT_MOST = 5


class Word(StrEnum):
    """What a person says of an isolation that stands."""

    CONFIRM = "confirm"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What was begun under one plan. `until`: it goes back then, unless it is confirmed.

    `seq`: the place of its first step in the journal. `word` is the newest of a person, and who
    denies a plan that was begun wants it back; `failures` counts the attempts to take it back that
    did not succeed.
    """

    plan_hash: str
    seq: int
    begun_at: datetime
    until: datetime
    done: frozenset[str] = frozenset()
    word: Word | None = None
    by: str = ""
    said_at: datetime | None = None
    returned: bool = False
    failures: int = 0
    failed_at: datetime | None = None
    error: str = ""

    @property
    def stands(self) -> bool:
        """Whether something of it may still be in place."""
        return not self.returned

    @property
    def return_at(self) -> datetime | None:
        """When it is to be taken back; None when it was, or a person has confirmed it.

        What failed is tried again, with pauses that double up to an hour; a word that is newer
        than the last failure waits for no pause: its order is the only one under its key.
        """
        if self.returned or self.word is Word.CONFIRM:
            return None
        due = self.said_at if self.word is Word.RETURN and self.said_at else self.until
        if self.failed_at is None or self.failed_at < due:
            return due
        pause = _FIRST_PAUSE * (1 << min(self.failures - 1, _DOUBLED_AT_MOST))
        return max(due, self.failed_at + min(pause, _LONGEST_PAUSE))

    @property
    def return_key(self) -> str:
        """Names the next attempt to take it back: each is ordered once."""
        said = self.said_at.isoformat() if self.word is Word.RETURN and self.said_at else "expired"
        return f"{self.plan_hash[:16]}:{self.seq}:{said}:{self.failures}"


def isolation_of(incident: Incident) -> Isolation | None:
    """The newest that was begun, in place or taken back; None before any was."""
    found: Isolation | None = None
    planned: tuple[str, timedelta] | None = None
    for fact in incident.facts:
        if fact.kind is FactKind.PLAN_PROPOSED:
            planned = _planned(fact)
        elif fact.kind is FactKind.STEP_STARTED and planned and _step(fact) in _ISOLATING:
            name, lasts = planned
            if found is None or found.plan_hash != name:
                found = Isolation(name, fact.seq, fact.at, fact.at + lasts)
        elif found is not None:
            found = _changed(found, fact)
    return found


def is_due(isolation: Isolation, now: datetime) -> bool:
    """Whether it is to be taken back now."""
    return isolation.return_at is not None and isolation.return_at <= now


def isolation_alarms(incident: Incident) -> Iterator[Alarm]:
    """Who must confirm hears of it at half its time; that it could not go back, at once."""
    found = isolation_of(incident)
    if found is None or found.returned:
        return
    if found.failed_at is not None:
        reason = f"the isolation could not be taken back and is tried again: {found.error}"
        stem = f"isolation-left.{found.seq}"
        yield Alarm(stem, Contact.SECURITY_TEAM, found.failed_at, reason)
        yield Alarm(f"{stem}.on-call", Contact.ON_CALL, found.failed_at, reason)
    if found.word is None:
        reason = (
            f"the isolation goes back at {found.until:%Y-%m-%d %H:%M} UTC unless it is confirmed: "
            f"runbook isolation confirm {incident.id}"
        )
        half = found.begun_at + (found.until - found.begun_at) / 2
        yield Alarm(f"isolation-unconfirmed.{found.seq}", Contact.SECURITY_TEAM, half, reason)


def _planned(fact: Fact) -> tuple[str, timedelta] | None:
    """Hash of the plan, and how long its isolation stands; None of another procedure's plan."""
    plan = mapping(fact.data.get("plan"))
    name = fact.data.get("hash")
    if plan.get("procedure") != PROCEDURE or not isinstance(name, str):
        return None
    return name, lasts(mapping(plan.get("observed")))


def lasts(observed: Mapping[str, Any]) -> timedelta:
    """How long a plan's isolation stands unconfirmed; what cannot be read is the shipped time."""
    minutes = observed.get("minutes")
    if type(minutes) is not int or not 0 < minutes <= _LONGEST / timedelta(minutes=1):
        return UNLESS_CONFIRMED
    return timedelta(minutes=minutes)


def _changed(found: Isolation, fact: Fact) -> Isolation:
    step = _step(fact)
    if fact.kind is FactKind.STEP_DONE and step in _ISOLATING:
        return replace(found, done=found.done | {step})
    if fact.kind is FactKind.STEP_DONE and step == RETURN:
        return replace(found, returned=True)
    if fact.kind is FactKind.STEP_FAILED and step == RETURN:
        error = str(fact.data.get("error", ""))[:300]
        return replace(found, failures=found.failures + 1, failed_at=fact.at, error=error)
    if fact.kind is FactKind.PLAN_DECIDED:
        is_no = fact.data.get("decision") == _DENIED and fact.data.get("hash") == found.plan_hash
        back = replace(found, word=Word.RETURN, by=fact.actor, said_at=fact.at)
        return back if is_no else found
    said = fact.data.get("word")
    is_persons = fact.kind is FactKind.ISOLATION_JUDGED and fact.actor != RUNBOOK
    if is_persons and said in set(Word) and fact.data.get("plan") == found.plan_hash:
        return replace(found, word=Word(str(said)), by=fact.actor, said_at=fact.at)
    return found


def _step(fact: Fact) -> str:
    return str(fact.data.get("step", ""))
