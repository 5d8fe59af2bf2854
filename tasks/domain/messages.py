"""What each audience is told at each moment of an incident, in its own words.

Engineers get conditions, actions and needs; executives status, overview and next steps; customers
plain words without any text of an alert, since those are a stranger's and may name people; the DPO
and the auditors what their duties need. Each line is derived from the incident's facts. Escaping is
the medium's and is done where a message is sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tasks.domain.incident import Incident, Stage
from tasks.domain.proofs import log_proof
from tasks.domain.untrusted import visible

_TITLE_LIMIT = 160
_OUTCOME_LIMIT = 300

_IN_PUBLIC = {
    "api": "the API",
    "audit-trail": "the audit trail",
    "cache": "background processing",
    "database": "the database",
    "privacy": "privacy protection",
    "security": "account security",
    "workers": "background processing",
}
"""Components in words that a customer knows; every other one is "the service"."""


class Audience(StrEnum):
    """Who is told."""

    ENGINEERS = "engineers"
    EXECUTIVES = "executives"
    CUSTOMERS = "customers"
    DPO = "data protection officer"
    AUDITORS = "auditors"

    @property
    def is_public(self) -> bool:
        """Whether its words need a person's approval before they are sent."""
        return self is Audience.CUSTOMERS


class Moment(StrEnum):
    """When they are told."""

    OPENED = "opened"
    UPDATE = "update"
    MITIGATED = "mitigated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Message:
    """Plain text: a subject of one line, and lines."""

    subject: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.subject, *self.lines))


def message(incident: Incident, audience: Audience, moment: Moment, now: datetime) -> Message:
    """What the audience is told of the incident at this moment; times in UTC."""
    match audience:
        case Audience.ENGINEERS:
            return Message(_subject(incident, moment), tuple(_tactical(incident, now)))
        case Audience.EXECUTIVES:
            return Message(_subject(incident, moment), tuple(_executive(incident, moment, now)))
        case Audience.CUSTOMERS:
            return _public(incident, moment, now)
        case Audience.DPO:
            return Message(_subject(incident, moment), tuple(_privacy(incident, now)))
        case Audience.AUDITORS:
            return Message(_subject(incident, moment), tuple(_audit(incident)))


def _subject(incident: Incident, moment: Moment) -> str:
    severity = incident.severity or "not assessed"
    return f"{incident.id} {moment}, severity {severity}: {visible(incident.title, _TITLE_LIMIT)}"


def _tactical(incident: Incident, now: datetime) -> Iterator[str]:
    yield f"Conditions: {_conditions(incident)}; open for {_since(incident, now)}"
    done = ", ".join(incident.steps) or "none"
    going = ", ".join(sorted(incident.begun - incident.steps.keys()))
    yield f"Actions: done {done}" + (f"; begun and not done {going}" if going else "")
    yield f"Needs: {_needs(incident)}"


def _executive(incident: Incident, moment: Moment, now: datetime) -> Iterator[str]:
    yield f"Status: {_status(incident, moment)}"
    lead = visible(incident.lead, 80) if incident.lead else "nobody yet"
    yield f"Overview: {_conditions(incident)}; open for {_since(incident, now)}; led by {lead}"
    yield f"Next: {_needs(incident)}"


def _public(incident: Incident, moment: Moment, now: datetime) -> Message:
    what = _IN_PUBLIC.get(incident.component, "the service")
    at = f"{now:%Y-%m-%d %H:%M} UTC"
    subject, line = {
        Moment.OPENED: ("Investigating", f"We are investigating a problem with {what}."),
        Moment.UPDATE: ("Working on it", f"We are still working on a problem with {what}."),
        Moment.MITIGATED: ("Monitoring", f"The problem with {what} is mended; we are watching it."),
        Moment.CLOSED: ("Resolved", f"The problem with {what} is resolved."),
    }[moment]
    return Message(f"{subject}: {what}", (line, f"As of {at}."))


def _privacy(incident: Incident, now: datetime) -> Iterator[str]:
    if not incident.clocks:
        yield "No regulatory clock runs: nothing says so far that personal data is concerned."
    for name, clock in incident.clocks.items():
        due = visible(str(clock.get("due", "")), 40)
        state = "stopped" if name in incident.clocks_stopped else f"due {due}"
        yield f"Clock {visible(name, 60)}: {state}"
    yield f"Conditions: {_conditions(incident)}; open for {_since(incident, now)}"
    yield "Whether an authority or people are notified is your decision; nothing was sent."


def _audit(incident: Incident) -> Iterator[str]:
    sealed = sum(len(each.get("items", ())) for each in incident.evidence.values())
    yield f"Evidence: {sealed} items sealed" if sealed else "Evidence: none is sealed"
    fact = log_proof(incident.facts)
    proof = None if fact is None else fact.data
    if proof is None:
        yield "Proof of the log: none was made in this incident"
    else:
        holds = "holds" if proof.get("holds") is True else "DOES NOT HOLD"
        yield f"Proof of the log: {holds}: {visible(str(proof.get('summary', '')), 200)}"
    held = ", ".join(sorted({hold.scope for hold in incident.held()}))
    yield f"Held against change: {visible(held, 200)}" if held else "Nothing is held"


def _conditions(incident: Incident) -> str:
    failed = sorted(
        {
            str(check.get("component", ""))
            for check in incident.checks.values()
            if check.get("health") == "Failed"
        }
    )
    if not failed:
        return f"{len(incident.alerts)} alerts, no check has failed"
    return f"{len(incident.alerts)} alerts, failed: {visible(', '.join(failed), 200)}"


def _status(incident: Incident, moment: Moment) -> str:
    if incident.stage is Stage.CLOSED:
        return f"closed: {visible(incident.outcome, _OUTCOME_LIMIT) or 'no outcome recorded'}"
    if moment is Moment.MITIGATED or incident.mitigated_at is not None:
        return "mitigated, not closed"
    return str(incident.stage)


def _needs(incident: Incident) -> str:
    if incident.stage is Stage.CLOSED:
        return "nothing"
    if incident.stage is Stage.AWAITING_APPROVAL:
        left = incident.approvers_required - len(incident.approvers())
        people = "person" if left == 1 else "people"
        return f"{left} {people} to decide on plan {incident.plan_hash[:12]}"
    return "somebody to take the lead" if not incident.lead else "nothing that the facts say"


def _since(incident: Incident, now: datetime) -> str:
    if incident.opened_at is None:
        return "an unknown time"
    minutes = max(int((now - incident.opened_at).total_seconds() // 60), 0)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
