"""Telling people. Tasks of class NOTIFY: retried, journaled, never in the way."""

from prefect import task

from tasks.retries import NOTIFY, is_last_try
from tasks.settings import settings
from tasks.work import telling


def _tell(incident: str, audience: str, moment: str, text: str) -> bool:
    return telling.tell(incident, audience, moment, text, last_try=is_last_try())


@task(name="Make the incident channel", tags={"runbook:comms.channel"}, **NOTIFY)
def make_channel(incident: str) -> str | None:
    """Create `#incident-YYYY-MM-DD-HHMM`; its id, or None when chat will not have it."""
    return telling.make_channel(incident, last_try=is_last_try())


@task(name="Notify on-call engineer", tags={"runbook:comms.on-call"}, **NOTIFY)
def notify_on_call(incident: str, text: str) -> bool:
    """Tell the on-call engineer that an incident has begun."""
    return _tell(incident, settings().contacts.on_call, "opened", text)


@task(name="Notify compliance team", tags={"runbook:audit.resolution.compliance"}, **NOTIFY)
def notify_compliance(incident: str, text: str) -> bool:
    """Tell the compliance officer what was proven about the audit log."""
    return _tell(incident, settings().contacts.compliance_officer, "diagnosed", text)


@task(name="Notify DPO", tags={"runbook:privacy-incident.dpo"}, **NOTIFY)
def notify_dpo(incident: str, text: str) -> bool:
    """Tell the data protection officer, within the runbook's hour."""
    return _tell(incident, settings().contacts.dpo, "privacy", text)


@task(name="Ask for approval", **NOTIFY)
def ask_for_approval(incident: str, text: str) -> bool:
    """Tell the on-call engineer that a plan waits for a decision."""
    return _tell(incident, settings().contacts.on_call, "plan", text)


@task(name="Update stakeholders", tags={"runbook:post.comms.stakeholders"}, **NOTIFY)
def announce_end(incident: str, text: str) -> bool:
    """Tell the responders how it ended."""
    return _tell(incident, "responders", "closed", text)
