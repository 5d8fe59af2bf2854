"""PagerDuty follows the incident: triggered when on call is told, acknowledged, resolved.

The incident's id is the key of the page, so whatever is sent twice is sent once. What people do in
the incident ends PagerDuty's own calls; what they do in PagerDuty is not read back.
"""

from collections.abc import Callable

from tasks.clients import pagerduty
from tasks.clients.errors import ClientError, Transient
from tasks.domain.facts import FactKind
from tasks.domain.pages import PAGE_ACKNOWLEDGED, PAGED, PAGER, was_sent
from tasks.domain.severity import Severity
from tasks.sections.communication import PagerDutySettings
from tasks.settings import settings
from tasks.work import journal


def is_configured() -> bool:
    """Whether there is a service to page."""
    return bool(settings().pagerduty.routing_key.get_secret_value())


def page(incident: str, audience: str, text: str, *, last_try: bool) -> bool:
    """Page for an incident, once; False when it could not be, which is a fact then.

    Raises Transient unless this is the last try.
    """
    state = journal.read(incident)
    if was_sent(state, PAGED):
        return True
    severity = state.severity or Severity.P1
    return _send(
        incident,
        audience,
        PAGED,
        lambda pager: pagerduty.trigger(pager, incident, text, severity, state.component),
        last_try=last_try,
    )


def follow(incident: str, moment: str, *, last_try: bool) -> bool:
    """Tell PagerDuty what has become of a page; nothing where nobody was paged."""
    state = journal.read(incident)
    if not was_sent(state, PAGED) or not is_configured():
        return False
    if was_sent(state, moment):
        return True
    tell = pagerduty.acknowledge if moment == PAGE_ACKNOWLEDGED else pagerduty.resolve
    return _send(
        incident, "on call", moment, lambda pager: tell(pager, incident), last_try=last_try
    )


def _send(
    incident: str,
    audience: str,
    moment: str,
    send: Callable[[PagerDutySettings], str],
    *,
    last_try: bool,
) -> bool:
    data = {"channel": PAGER, "via": PAGER, "audience": audience, "moment": moment}
    try:
        receipt = send(settings().pagerduty)
    except ClientError as error:
        if isinstance(error, Transient) and not last_try:
            raise
        failed = data | {"error": str(error)[:500]}
        journal.append(incident, FactKind.NOTIFY_FAILED, failed, key=f"not-told:{moment}")
        return False
    done = data | {"summary": moment, "receipt": receipt}
    journal.append(incident, FactKind.NOTIFIED, done, key=f"told:{moment}")
    return True
