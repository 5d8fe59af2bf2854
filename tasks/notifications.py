"""Telling people. Tasks of class NOTIFY: retried, journaled, never in the way.

What is told meanwhile must be waited for before the run ends or is suspended: a run that ends
cancels what is still being tried again, and then nobody was told and no fact says so.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from prefect import Task, task
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from tasks.retries import NOTIFY, is_last_try
from tasks.settings import settings
from tasks.work import telling

_meanwhile: defaultdict[str, list[PrefectFuture[Any]]] = defaultdict(list)


def tell_meanwhile(
    notification: Task[..., Any], *arguments: str, after: Sequence[PrefectFuture[Any]] = ()
) -> PrefectFuture[Any]:
    """Begin to tell somebody while the response goes on; `after` other notifications."""
    future = notification.submit(*arguments, wait_for=list(after))
    _meanwhile[str(flow_run.id)].append(future)
    return future


def wait_until_told() -> None:
    """Return when everything that this run tells meanwhile is told, or given up and journaled."""
    wait(_meanwhile.pop(str(flow_run.id), []))


def _tell(incident: str, audience: str, moment: str, text: str) -> bool:
    return telling.tell(incident, audience, moment, text, last_try=is_last_try())


@task(name="Make the incident channel", tags={"runbook:comms.channel"}, **NOTIFY)
def make_channel(incident: str) -> str | None:
    """Create `#incident-YYYY-MM-DD-HHMM`; its id, or None when chat will not have it."""
    return telling.make_channel(incident, last_try=is_last_try())


@task(name="Notify on-call engineer", tags={"runbook:comms.on-call"}, **NOTIFY)
def notify_on_call(incident: str, moment: str, text: str) -> bool:
    """Tell the on-call engineer that an incident has begun, or that alerts have joined it."""
    return _tell(incident, settings().contacts.on_call, moment, text)


@task(name="Notify the named owner", **NOTIFY)
def notify_owner(incident: str, owner: str, moment: str, text: str) -> bool:
    """Tell whom the routing policy names: `owner` is a contact's name in the settings."""
    return _tell(incident, str(getattr(settings().contacts, owner)), moment, text)


@task(name="Notify security team", tags={"runbook:breach.notify"}, **NOTIFY)
def notify_security(incident: str, moment: str, text: str) -> bool:
    """Tell the security team at once of what may be a breach."""
    return _tell(incident, settings().contacts.security_team, moment, text)


@task(name="Notify compliance team", tags={"runbook:audit.resolution.compliance"}, **NOTIFY)
def notify_compliance(incident: str, text: str, moment: str = "diagnosed") -> bool:
    """Tell the compliance officer what was proven about the audit log; once each moment."""
    return _tell(incident, settings().contacts.compliance_officer, moment, text)


@task(name="Notify DPO", tags={"runbook:privacy-incident.dpo"}, **NOTIFY)
def notify_dpo(incident: str, text: str) -> bool:
    """Tell the data protection officer, within the runbook's hour."""
    return _tell(incident, settings().contacts.dpo, telling.PRIVACY, text)


@task(name="Ask for approval", **NOTIFY)
def ask_for_approval(incident: str, plan_hash: str) -> bool:
    """Tell the on-call engineer that a plan waits for a decision; each plan anew."""
    text = f"{incident}: plan {plan_hash[:12]} needs a decision: runbook approve {incident}"
    return _tell(incident, settings().contacts.on_call, f"plan {plan_hash[:12]}", text)


@task(name="Update stakeholders", tags={"runbook:post.comms.stakeholders"}, **NOTIFY)
def announce_end(incident: str, moment: str, text: str) -> bool:
    """Tell the responders how it ended, or that it cannot go on without a person."""
    return _tell(incident, "responders", moment, text)
