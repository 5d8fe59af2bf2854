"""The runbook's "Escalation Matrix", its clocks and holds: what is due now, read from the facts.

P0 and P1 climb the matrix by the time since opening until the incident is mitigated or closed: an
acknowledgement does not stop it ("When in doubt, escalate early"). P2 and P3 escalate once, when
nobody has acknowledged them within their response target. An incident without a severity yet
climbs like a P1.

Broken glass is told to the compliance officer and to whoever is on call at once, even when the
incident has been closed meanwhile; so is, to on call, that a person has lowered a P0 or P1, since
that ends the climb. A person's hold is told at once, and every hold again when its review time has
passed while it still keeps the door closed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.severity import RESPONSE_MINUTES, Severity

ACKNOWLEDGED = "acknowledged"
"""Key of a NOTE fact's data by which a person says: I have seen it."""

_SCOPE_LIMIT = 200  # a step is part of a database key

CLOCK_WARNING = timedelta(minutes=15)
"""A deadline that is named after it has passed helps nobody: the first call comes this early."""


@dataclass(frozen=True, slots=True)
class Due:
    """One step that is due. `contact` is a field of ContactSettings, `step` names it for ever."""

    step: str
    contact: str
    due_at: datetime
    reason: str


_MATRIX: tuple[tuple[int, str, str], ...] = (
    (15, "escalation.engineering-lead", "engineering_lead"),
    (30, "escalation.incident-commander", "incident_commander"),
    (60, "escalation.executive-team", "executive_team"),
    (120, "escalation.external-support", "external_support"),
)
"""Minutes since opening, step, contact: the runbook's table, row by row after the first."""

_TARGET_MISSED = "escalation.target-missed"

_URGENT = frozenset({Severity.P0, Severity.P1})


def due_steps(incident: Incident, now: datetime) -> tuple[Due, ...]:
    """Steps that are due and that no ESCALATED fact has recorded yet, in the order of the text."""
    return tuple(step for step in pending_steps(incident) if step.due_at <= now)


def pending_steps(incident: Incident) -> tuple[Due, ...]:
    """Steps, due now or later, that no ESCALATED fact has recorded: the facts alone say them."""
    return tuple(step for step in _all_steps(incident) if step.step not in incident.escalations)


def _all_steps(incident: Incident) -> Iterator[Due]:
    if incident.opened_at is None:
        return
    if incident.closed_at is None:
        yield from _matrix(incident, incident.opened_at)
        yield from _clocks(incident)
        yield from _holds(incident)
    yield from _glass(incident)
    yield from _lowered(incident)


def acknowledged_at(incident: Incident) -> datetime | None:
    """When a person first took notice: by acknowledging, taking the lead or deciding."""
    noted = (
        fact.at
        for fact in incident.facts
        if fact.actor != RUNBOOK
        and (
            fact.kind in {FactKind.PLAN_DECIDED, FactKind.LEAD_TAKEN}
            or (fact.kind is FactKind.NOTE and fact.data.get(ACKNOWLEDGED) is True)
        )
    )
    return next(noted, None)


def _matrix(incident: Incident, opened_at: datetime) -> Iterator[Due]:
    if incident.mitigated_at is not None:
        return
    severity = incident.severity or Severity.P1
    if severity in _URGENT:
        for minutes, step, contact in _MATRIX:
            yield Due(
                step=step,
                contact=contact,
                due_at=opened_at + timedelta(minutes=minutes),
                reason=f"{severity} is not mitigated {minutes} minutes after it was opened",
            )
    elif acknowledged_at(incident) is None:
        minutes = RESPONSE_MINUTES[severity]
        yield Due(
            step=_TARGET_MISSED,
            contact="engineering_lead",
            due_at=opened_at + timedelta(minutes=minutes),
            reason=f"nobody acknowledged a {severity} within {minutes // 60} hours",
        )


def _clocks(incident: Incident) -> Iterator[Due]:
    for name, clock in incident.clocks.items():
        if name in incident.clocks_stopped:
            continue
        due = datetime.fromisoformat(clock["due"])
        recipient = str(clock.get("recipient", ""))
        yield Due(
            step=f"clock.{name}.warning",
            contact=recipient,
            due_at=due - CLOCK_WARNING,
            reason=f"the clock {name} ends at {due:%H:%M} UTC and nobody has stopped it",
        )
        yield Due(
            step=f"clock.{name}.missed",
            contact="compliance_officer",
            due_at=due,
            reason=f"the clock {name} ended at {due:%H:%M} UTC and nobody had stopped it",
        )


def _holds(incident: Incident) -> Iterator[Due]:
    """Named after the fact that set the hold: one that is set anew is told and reviewed anew."""
    for hold in incident.held():
        if hold.sealed:
            continue
        if hold.by_person:
            yield Due(
                step=f"hold.set.{hold.scope[:_SCOPE_LIMIT]}.{hold.seq}",
                contact="on_call",
                due_at=hold.set_at,
                reason=f"{hold.by} holds every change of {hold.scope}: {hold.reason}",
            )
        if hold.review_due is None:
            continue
        step = f"hold.review.{hold.scope[:_SCOPE_LIMIT]}.{hold.seq}"
        reason = (
            f"the hold on {hold.scope} was to be reviewed at {hold.review_due:%Y-%m-%d %H:%M} UTC "
            f"and still stands: {hold.reason}"
        )
        yield Due(step, "on_call", hold.review_due, reason)
        yield Due(f"{step}.lead", "engineering_lead", hold.review_due, reason)


def _glass(incident: Incident) -> Iterator[Due]:
    for glass in incident.glass:
        step = f"glass.{glass.seq}"
        reason = (
            f"{glass.by} broke the glass: until {glass.until:%H:%M} UTC no hold on {glass.scope} "
            f"binds this incident: {glass.reason}"
        )
        yield Due(step, "compliance_officer", glass.at, reason)
        yield Due(f"{step}.on-call", "on_call", glass.at, reason)


def lowering(incident: Incident, seq: int) -> str | None:
    """The step by which a person's word at that place is told, when it lowered a P0 or P1."""
    step = f"severity.lowered.{seq}"
    return step if any(due.step == step for due in _lowered(incident)) else None


def _lowered(incident: Incident) -> Iterator[Due]:
    """An incident of alerts that nothing has assessed yet is lowered from P1, as it climbs."""
    unassessed = None if incident.cause == "person" else Severity.P1
    stood: Severity | None = None
    for fact in incident.facts:
        said = fact.data.get("severity")
        if fact.kind is not FactKind.SEVERITY_ASSIGNED or said not in [*Severity]:
            continue
        severity, before = Severity(str(said)), stood or unassessed
        is_persons = fact.actor != RUNBOOK
        if is_persons and before in _URGENT and severity > before:
            yield Due(
                step=f"severity.lowered.{fact.seq}",
                contact="on_call",
                due_at=fact.at,
                reason=f"{fact.actor} lowered it from {before} to {severity}: "
                f"{fact.data.get('reason', '')}",
            )
        if is_persons or stood is None or severity < stood:
            stood = severity
