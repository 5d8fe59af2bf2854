"""The runbook's "Escalation Matrix" and its clocks: what is due now, read from the facts.

P0 and P1 climb the matrix by the time since opening until the incident is mitigated or closed: an
acknowledgement does not stop it ("When in doubt, escalate early"). P2 and P3 escalate once, when
nobody has acknowledged them within their response target. An incident without a severity yet
climbs like a P1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.severity import RESPONSE_MINUTES, Severity

ACKNOWLEDGED = "acknowledged"
"""Key of a NOTE fact's data by which a person says: I have seen it."""

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


def due_steps(incident: Incident, now: datetime) -> tuple[Due, ...]:
    """Steps that are due and that no ESCALATED fact has recorded yet, in the order of the text."""
    if incident.opened_at is None or incident.closed_at is not None:
        return ()
    steps = [*_matrix(incident, incident.opened_at), *_clocks(incident)]
    return tuple(
        step for step in steps if step.due_at <= now and step.step not in incident.escalations
    )


def find_step(incident: Incident, step: str) -> Due | None:
    """The step of that name, due or not: what an escalation run was started for."""
    if incident.opened_at is None:
        return None
    steps = [*_matrix(incident, incident.opened_at), *_clocks(incident)]
    return next((due for due in steps if due.step == step), None)


def acknowledged_at(incident: Incident) -> datetime | None:
    """When a person first took notice: an acknowledgement or a decision, whichever came first."""
    noted = (
        fact.at
        for fact in incident.facts
        if fact.actor != RUNBOOK
        and (
            fact.kind is FactKind.PLAN_DECIDED
            or (fact.kind is FactKind.NOTE and fact.data.get(ACKNOWLEDGED) is True)
        )
    )
    return next(noted, None)


def _matrix(incident: Incident, opened_at: datetime) -> Iterator[Due]:
    if incident.mitigated_at is not None:
        return
    severity = incident.severity or Severity.P1
    if severity in {Severity.P0, Severity.P1}:
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
