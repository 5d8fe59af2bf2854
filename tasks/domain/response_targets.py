"""The response targets of the runbook's severities, as clocks: immediate, 1, 4 and 24 hours.

A target counts from the opening of the incident until a person takes notice, or until it is over
by itself, at any hour of any day: the runbook knows no office hours. "Immediate" has to end at
some moment to be missed at all: whoever is called gets five minutes to say that they have seen it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.contacts import Contact
from tasks.domain.incident import Incident
from tasks.domain.journaled import utc
from tasks.domain.report_tables import ClockRow
from tasks.domain.severity import RESPONSE_MINUTES, Severity

IMMEDIATELY = timedelta(minutes=5)
"""What P0 gets: the runbook says "immediate", and nobody answers within no time at all."""


class Kept(StrEnum):
    """How a target stands at a moment."""

    RUNNING = "running"
    KEPT = "kept"
    MISSED = "MISSED"


@dataclass(frozen=True, slots=True)
class ResponseTarget:
    """By when a person had to take notice, and when one did, or needed to no more."""

    severity: Severity
    opened_at: datetime
    due_at: datetime
    answered_at: datetime | None

    def stands(self, now: datetime) -> Kept:
        """An answer at the last moment keeps it; without one it is missed from that moment on."""
        if self.answered_at is not None:
            return Kept.KEPT if self.answered_at <= self.due_at else Kept.MISSED
        return Kept.RUNNING if now < self.due_at else Kept.MISSED


def allowed(severity: Severity) -> timedelta:
    """How long a person may take to answer an incident of this severity."""
    return timedelta(minutes=RESPONSE_MINUTES[severity]) or IMMEDIATELY


def in_words(severity: Severity) -> str:
    """The same for people."""
    minutes = round(allowed(severity).total_seconds() / 60)
    return f"{minutes} minutes" if minutes < 60 else f"{minutes // 60} h"  # noqa: PLR2004 - an hour


def response_target(incident: Incident) -> ResponseTarget | None:
    """The target of the severity that stands; one not assessed yet has that of a P1.

    None for an incident that was never opened.
    """
    if incident.opened_at is None:
        return None
    severity = incident.severity or Severity.P1
    due_at = incident.opened_at + allowed(severity)
    ends = (acknowledged_at(incident), incident.mitigated_at, incident.closed_at)
    answered_at = min((end for end in ends if end is not None), default=None)
    return ResponseTarget(severity, incident.opened_at, due_at, answered_at)


def response_clock(incident: Incident, now: datetime) -> Iterator[ClockRow]:
    """The target as a row before the other clocks; none for an incident that was never opened."""
    target = response_target(incident)
    if target is None:
        return
    until = target.answered_at or now
    yield ClockRow(
        clock=f"response to {target.severity}",
        started=utc(target.opened_at),
        due=utc(target.due_at),
        recipient=Contact.ON_CALL.value,
        reason=f"the runbook's response target of {target.severity}",
        stopped=utc(target.answered_at) if target.answered_at else "not stopped",
        state=target.stands(now).value,
        used=(until - target.opened_at) / (target.due_at - target.opened_at),
    )
