"""Telling people. Tasks of class NOTIFY: retried, journaled, never in the way.

What is told meanwhile must be waited for before the run ends or is suspended: a run that ends
cancels what is still being tried again, and then nobody was told and no fact says so.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import Task, task
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from tasks.domain.contacts import Contact
from tasks.domain.messages import Moment
from tasks.retries import NOTIFY, is_last_try
from tasks.work import (
    escalating,
    incident_channel,
    journal,
    paging,
    reaching,
    reports,
    status_page,
    telling,
)

OPENED = "opened"
"""The moment at which an incident begins; alerts that join later have moments of their own."""

_meanwhile: defaultdict[str, list[PrefectFuture[Any]]] = defaultdict(list)


def tell_meanwhile(
    notification: Task[..., Any], *arguments: str | int, after: Sequence[PrefectFuture[Any]] = ()
) -> PrefectFuture[Any]:
    """Begin to tell somebody while the response goes on; `after` other notifications."""
    future = notification.submit(*arguments, wait_for=list(after))
    _meanwhile[str(flow_run.id)].append(future)
    return future


def wait_until_told() -> None:
    """Return when everything that this run tells meanwhile is told, or given up and journaled."""
    wait(_meanwhile.pop(str(flow_run.id), []))


def _tell(incident: str, role: str, moment: str, text: str, *, aside: bool = False) -> bool:
    """Tell whoever fills the role now."""
    who = reaching.whom(role, datetime.now(UTC)).who
    return telling.tell(
        incident, who, moment, text, last_try=is_last_try(), contact=role, aside=aside
    )


@task(name="Make the incident channel", tags={"runbook:comms.channel"}, **NOTIFY)
def make_channel(incident: str) -> str | None:
    """Create `#incident-YYYY-MM-DD-HHMM`; its id, or None when chat will not have it."""
    return telling.make_channel(incident, last_try=is_last_try())


@task(name="Keep the incident channel", **NOTIFY)
def keep_channel(incident: str) -> None:
    """Invite who is needed, pin how it stands, and put what the checks saw into its thread."""
    state = journal.read(incident)
    last_try = is_last_try()
    incident_channel.invite(incident, incident_channel.roles_in(state), last_try=last_try)
    incident_channel.keep_summary(incident, last_try=last_try)
    incident_channel.add_detail(incident, "checks", reports.checks(state), last_try=last_try)


@task(name="Notify on-call engineer", tags={"runbook:comms.on-call"}, **NOTIFY)
def notify_on_call(incident: str, moment: str, text: str) -> bool:
    """Tell the on-call engineer that an incident has begun, or that alerts have joined it.

    The beginning is told with a report of how it stands; alerts that join, in the thread.
    """
    begins = moment == OPENED
    words = reports.report(incident, Contact.ON_CALL, text) if begins else text
    return _tell(incident, Contact.ON_CALL, moment, words, aside=not begins)


@task(name="Draft for the status page", tags={"runbook:comms.status-page"}, **NOTIFY)
def draft_status(incident: str, moment: str) -> bool:
    """Draft what the public would read, and ask on call for the word that makes it public."""
    made = status_page.draft_for(incident, Moment(moment))
    if made is None:
        return False
    text = (
        f'{incident}: to be public, "{made.subject}" needs your word: '
        f"runbook status-page {incident} --publish {made.hash[:12]}"
    )
    return _tell(incident, Contact.ON_CALL, f"status page {moment}", text)


@task(name="Page on-call engineer", **NOTIFY)
def page_on_call(incident: str, text: str) -> bool:
    """Page whoever is on call by the pager, where there is one."""
    if not paging.is_configured():
        return False
    who = reaching.whom(Contact.ON_CALL, datetime.now(UTC)).who
    return paging.page(incident, who, text, last_try=is_last_try())


@task(name="Notify the named owner", **NOTIFY)
def notify_owner(incident: str, owner: str, moment: str, text: str) -> bool:
    """Tell whom the routing policy names: `owner` is a contact's name in the settings."""
    return _tell(incident, owner, moment, text)


@task(name="Notify security team", tags={"runbook:breach.notify"}, **NOTIFY)
def notify_security(incident: str, moment: str, text: str) -> bool:
    """Tell the security team at once of what may be a breach."""
    return _tell(incident, Contact.SECURITY_TEAM, moment, text)


@task(name="Notify compliance team", tags={"runbook:audit.resolution.compliance"}, **NOTIFY)
def notify_compliance(incident: str, text: str, moment: str = "diagnosed") -> bool:
    """Tell the compliance officer what was proven about the audit log; once each moment."""
    return _tell(incident, Contact.COMPLIANCE_OFFICER, moment, text)


@task(name="Notify DPO", tags={"runbook:privacy-incident.dpo"}, **NOTIFY)
def notify_dpo(incident: str, text: str, moment: str = telling.PRIVACY) -> bool:
    """Tell the data protection officer, within the runbook's hour; once each moment."""
    return _tell(incident, Contact.DPO, moment, text)


@task(name="Ask for approval", **NOTIFY)
def ask_for_approval(incident: str, plan_hash: str) -> bool:
    """Tell the on-call engineer that a plan waits for a decision; each plan anew."""
    text = f"{incident}: plan {plan_hash[:12]} needs a decision: runbook approve {incident}"
    return _tell(incident, Contact.ON_CALL, f"plan {plan_hash[:12]}", text)


@task(name="Update stakeholders", tags={"runbook:post.comms.stakeholders"}, **NOTIFY)
def announce_end(incident: str, moment: str, text: str) -> bool:
    """Tell the responders how it ended, or that it cannot go on without a person."""
    told = _tell(incident, "responders", moment, text)
    incident_channel.keep_summary(incident, last_try=is_last_try())
    return told


@task(name="Tell everybody who was called", **NOTIFY)
def tell_the_end(incident: str) -> None:
    """Whoever an escalation or a page has called hears that it is over, in their own words."""
    escalating.tell_the_end(incident, datetime.now(UTC), last_try=is_last_try())
