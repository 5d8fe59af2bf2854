"""How far the review of a closed incident is: its report's status, and when it is looked at again.

Draft: a needed question has no answer. In Review: all have one. Reviewed: a person has signed off
what stands. Closed: and no action is open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.domain.action_items import OPEN, action_items
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import utc
from tasks.domain.questions import lacking
from tasks.domain.severity import Severity
from tasks.domain.untrusted import visible

_WRITES = frozenset({FactKind.ANSWERED, FactKind.ACTION_SET})
_URGENT = frozenset({Severity.P0, Severity.P1})
_SOON, _LATER = 7, 30
"""Days after the end: do the measures get done, and did they help?"""


class Status(StrEnum):
    """Of a report."""

    DRAFT = "Draft"
    IN_REVIEW = "In Review"
    REVIEWED = "Reviewed"
    CLOSED = "Closed"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A review after the end. `held` says when people were asked to hold it, or is empty.

    `unheard`: when nobody could be told the last time; then they are asked again.
    """

    name: str
    due: datetime
    held: str
    unheard: str


@dataclass(frozen=True, slots=True)
class FollowUpRow:
    """The same for the report."""

    name: str
    due: str
    state: str


def signed_off(facts: Sequence[Fact]) -> Fact | None:
    """The person's word on what stands; what was written after it undoes it."""
    stands = None
    for fact in facts:
        if fact.kind is FactKind.SIGNED_OFF and fact.actor != RUNBOOK:
            stands = fact
        elif fact.kind in _WRITES and fact.actor != RUNBOOK:
            stands = None
    return stands


def status(facts: Sequence[Fact]) -> Status:
    """Of the report of these facts."""
    if lacking(facts):
        return Status.DRAFT
    if signed_off(facts) is None:
        return Status.IN_REVIEW
    is_open = any(item.state == OPEN for item in action_items(facts))
    return Status.REVIEWED if is_open else Status.CLOSED


def status_words(facts: Sequence[Fact]) -> str:
    """Why it is so, for the compliance section."""
    found, missing = status(facts), lacking(facts)
    if missing:
        return f"{found}: not answered yet: {', '.join(missing)}"
    signed = signed_off(facts)
    if signed is None:
        return f"{found}: nobody has signed it off"
    open_items = [item.item for item in action_items(facts) if item.state == OPEN]
    rest = f"; open: {', '.join(open_items[:20])}" if open_items else ""
    return f"{found}: signed off by {visible(signed.actor, 120)} at {utc(signed.at)}{rest}"


def follow_ups(incident: Incident) -> tuple[FollowUp, ...]:
    """The reviews of a closed incident: after 30 days, and after 7 too when it was a P0 or P1."""
    if incident.closed_at is None:
        return ()
    days = (_SOON, _LATER) if incident.severity in _URGENT else (_LATER,)
    held, unheard = _asked(incident.facts, heard=True), _asked(incident.facts, heard=False)
    return tuple(
        FollowUp(
            name,
            incident.closed_at + timedelta(days=each),
            held.get(name, ""),
            unheard.get(name, ""),
        )
        for each in days
        for name in [f"{each}-days"]
    )


def _asked(facts: Sequence[Fact], *, heard: bool) -> dict[str, str]:
    """When people were last asked, by review; a fact that does not say was heard."""
    return {
        str(fact.data.get("review")): utc(fact.at)
        for fact in facts
        if fact.kind is FactKind.FOLLOW_UP and (fact.data.get("heard") is not False) is heard
    }


def due_follow_ups(incident: Incident, now: datetime) -> tuple[FollowUp, ...]:
    """Those whose day has come and of which no fact says that people were asked."""
    return tuple(each for each in follow_ups(incident) if each.due <= now and not each.held)


def follow_up_rows(incident: Incident) -> Iterator[FollowUpRow]:
    """For the report, those to come too."""
    for each in follow_ups(incident):
        state = f"nobody could be told at {each.unheard}" if each.unheard else "to come"
        if each.held:
            state = f"people were asked at {each.held}"
        yield FollowUpRow(each.name, utc(each.due), state)


def follow_up_words(incident: Incident, name: str, now: datetime) -> str:
    """What people are asked to look at."""
    late = [each for each in action_items(incident.facts) if each.is_overdue(now.date())]
    still = [each for each in action_items(incident.facts) if each.state == OPEN]
    lines = [f"Follow-up review ({name}) of {incident.id}: {visible(incident.title, 160)}"]
    lines.append(f"Report: {status_words(incident.facts)}")
    for each in still[:20]:
        mark = "OVERDUE " if each in late else ""
        lines.append(
            f"{mark}{each.item}: {visible(each.action, 200)} ({each.owner}, due {each.due})"
        )
    if not still:
        lines.append("No action is open: did the measures help?")
    return "\n".join(lines)
