"""Live reports: how an incident stands, in the words of whoever reads it.

Tactical for those who work on it (conditions, actions, needs), executive for those who answer for
it (status, overview, next steps), and what their duty needs for the DPO and for compliance.
"""

from datetime import UTC, datetime

from tasks.domain.contacts import Contact
from tasks.domain.incident import Incident, Stage
from tasks.domain.journaled import text
from tasks.domain.messages import Audience, Moment, message
from tasks.work import journal

_AUDIENCES = {
    Contact.EXECUTIVE_TEAM: Audience.EXECUTIVES,
    Contact.DPO: Audience.DPO,
    Contact.DPO_DEPUTY: Audience.DPO,
    Contact.COMPLIANCE_OFFICER: Audience.AUDITORS,
    Contact.LEGAL_COUNSEL: Audience.DPO,
    Contact.AUDITORS: Audience.AUDITORS,
}
"""Whose words a role reads; every other one reads the engineers'."""


def moment_of(state: Incident) -> Moment:
    """Which of the moments that people are told of an incident is at."""
    if state.stage is Stage.CLOSED:
        return Moment.CLOSED
    if state.mitigated_at is not None:
        return Moment.MITIGATED
    return Moment.UPDATE if state.checks else Moment.OPENED


def report(incident: str, contact: str, headline: str) -> str:
    """The headline, and below it how the incident stands, for that role."""
    return report_of(journal.read(incident), contact, headline, datetime.now(UTC))


def report_of(state: Incident, contact: str, headline: str, now: datetime) -> str:
    """The same of an incident that was read already."""
    audience = next((one for role, one in _AUDIENCES.items() if role == contact), None)
    lines = message(state, audience or Audience.ENGINEERS, moment_of(state), now).lines
    return "\n".join((headline, *lines))


def summary_of(state: Incident, now: datetime) -> str:
    """What stands in the pinned message: how it stands, for those who work on it."""
    return f"{message(state, Audience.ENGINEERS, moment_of(state), now)}\nAs of {now:%H:%M} UTC"


def checks(state: Incident) -> tuple[str, ...]:
    """What each check saw, a line each."""
    return tuple(
        f"{text(check, 'health')}: {text(check, 'step')}: {text(check, 'summary')}"
        for check in state.checks.values()
    )
