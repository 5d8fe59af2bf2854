"""The runbook's "Escalation Matrix", its clocks and holds: what is due now, read from the facts.

P0 and P1 climb the matrix by the time since opening until the incident is mitigated or closed: an
acknowledgement does not stop it ("When in doubt, escalate early"). An incident without a severity
yet climbs like a P1. Whatever the severity, its response target is a clock: when nobody has
acknowledged within it, the engineering lead is told, once. For P2 and P3 that is all.

Broken glass is told to the compliance officer and to whoever is on call at once, even when the
incident has been closed meanwhile; so is, to on call, that a person has lowered a P0 or P1, since
that ends the climb. A person's hold is told at once, and every hold again when its review time has
passed while it still keeps the door closed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.clock_alarms import clock_alarms
from tasks.domain.compliance_decisions import auditors_step, to_tell_auditors
from tasks.domain.contacts import Contact
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.isolation_state import isolation_alarms
from tasks.domain.pages import PAGED, PAGER, was_sent
from tasks.domain.policy import SECURITY
from tasks.domain.response_targets import in_words, response_target
from tasks.domain.severity import Severity
from tasks.domain.status_drafts import STATUS_PAGE, standings

_SCOPE_LIMIT = 200  # a step is part of a database key


@dataclass(frozen=True, slots=True)
class Due:
    """One step that is due. `contact` is a Contact, or a name that a fact gave; `step` lasts."""

    step: str
    contact: str
    due_at: datetime
    reason: str


_MATRIX: tuple[tuple[int, str, Contact], ...] = (
    (15, "escalation.engineering-lead", Contact.ENGINEERING_LEAD),
    (30, "escalation.incident-commander", Contact.INCIDENT_COMMANDER),
    (60, "escalation.executive-team", Contact.EXECUTIVE_TEAM),
    (120, "escalation.external-support", Contact.EXTERNAL_SUPPORT),
)
"""Minutes since opening, step, contact: the runbook's table, row by row after the first."""

TARGET_MISSED = "escalation.target-missed"
"""Nobody answered within the severity's response target; said once, whatever it becomes."""

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
        if incident.mitigated_at is None:
            yield from _target(incident)
            yield from _matrix(incident, incident.opened_at)
        yield from (Due(*alarm) for alarm in clock_alarms(incident))
        yield from (Due(*alarm) for alarm in isolation_alarms(incident))
        yield from _holds(incident)
        yield from _page(incident)
    yield from _glass(incident)
    yield from _lowered(incident)
    yield from _status_page(incident)
    yield from _auditors(incident)


def _auditors(incident: Incident) -> Iterator[Due]:
    """Told once for each time that a person decides so; of closed incidents too."""
    for fact, decided in to_tell_auditors(incident.facts):
        reason = f"{decided.by} has decided that the auditors are told: {decided.reason}"
        yield Due(auditors_step(decided), Contact.AUDITORS, fact.at, reason)


def _status_page(incident: Incident) -> Iterator[Due]:
    """What a person has approved for the public, until the page has taken it; of closed ones too.

    Of several only the newest: an older word would put the page back.
    """
    approved = [one for one in standings(incident) if one.approved_at is not None]
    newest = max(approved, key=lambda one: one.approved_at or one.drafted_at, default=None)
    if newest is not None and newest.approved_at is not None and newest.receipt is None:
        reason = f"{newest.by} approved it: {newest.draft.subject}"
        yield Due(newest.step, STATUS_PAGE, newest.approved_at, reason)


def _page(incident: Incident) -> Iterator[Due]:
    """Who was paged and has answered here is called no longer by the pager."""
    seen = acknowledged_at(incident)
    if seen is not None and was_sent(incident, PAGED):
        reason = "a person has taken notice of the incident"
        yield Due("page.acknowledged", PAGER, seen, reason)


def _matrix(incident: Incident, opened_at: datetime) -> Iterator[Due]:
    severity = incident.severity or Severity.P1
    if severity not in _URGENT:
        return
    for minutes, step, contact in _MATRIX:
        yield Due(
            step=step,
            contact=_of_the_kind(incident, contact),
            due_at=opened_at + timedelta(minutes=minutes),
            reason=f"{severity} is not mitigated {minutes} minutes after it was opened",
        )


def _of_the_kind(incident: Incident, contact: Contact) -> Contact:
    """Outside help with a matter of security is the security vendor's."""
    is_security = incident.component == SECURITY and contact is Contact.EXTERNAL_SUPPORT
    return Contact.SECURITY_VENDOR if is_security else contact


def _target(incident: Incident) -> Iterator[Due]:
    target = response_target(incident)
    if target is None or target.answered_at is not None:
        return
    yield Due(
        step=TARGET_MISSED,
        contact=Contact.ENGINEERING_LEAD,
        due_at=target.due_at,
        reason=f"nobody acknowledged a {target.severity} within {in_words(target.severity)}",
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
