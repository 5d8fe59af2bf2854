"""The incident's own channel: who is in it, and the pinned summary that is kept current.

The summary is one message, pinned; whatever changes is written into it again, so that whoever
enters at any hour reads how it stands. Detail that would bury it goes into its thread. None of it
is a step that anybody waits for: a channel that could not be kept is a fact, and that is all.
"""

from datetime import UTC, datetime

from tasks.clients import slack
from tasks.clients.errors import ClientError, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.contacts import Contact
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.policy import DPO_CLOCK, SECURITY
from tasks.domain.severity import Severity
from tasks.settings import settings
from tasks.work import journal, reaching, reports, telling

INVITED = "invited"
_TEXT_LIMIT = 3500
_DETAIL_LINES = 40
_NEEDED = (Contact.ON_CALL, Contact.ENGINEERING_LEAD, Contact.INCIDENT_COMMANDER)


def roles_in(state: Incident) -> tuple[Contact, ...]:
    """Who belongs into the channel by what the incident is; nobody from outside the house."""
    urgent = (state.severity or Severity.P1) in {Severity.P0, Severity.P1}
    roles = list(_NEEDED if urgent else _NEEDED[:1])
    if state.component == SECURITY:
        roles.append(Contact.SECURITY_TEAM)
    if DPO_CLOCK in state.clocks:
        roles.append(Contact.DPO)
    return tuple(roles)


def invite(incident: str, roles: tuple[Contact, ...], *, last_try: bool) -> None:
    """Invite whoever fills these roles now, each once; groups and bare names cannot be invited.

    Raises Transient unless this is the last try.
    """
    channel = telling.channel_of(incident)
    if channel is None or channel.startswith("#"):
        return
    for role in roles:
        who = reaching.whom(role, datetime.now(UTC)).who
        if role.is_external or not slack.is_member(who):
            continue
        if telling.was_told(journal.read(incident), who, INVITED):
            continue
        try:
            slack.invite(settings().chat, channel, who)
        except ClientError as error:
            _give_up(incident, who, INVITED, error, last_try=last_try)
            continue
        said = {"audience": who, "moment": INVITED, "contact": role, "summary": f"{role} invited"}
        data = {"channel": channel, "receipt": "", **said}
        journal.append(incident, FactKind.NOTIFIED, data, key=f"told:{INVITED}:{who}")


def keep_summary(incident: str, *, last_try: bool) -> bool:
    """Write the pinned summary as the facts are now; False when the channel will not have it.

    Raises Transient unless this is the last try.
    """
    channel = telling.channel_of(incident)
    if channel is None or channel.startswith("#"):
        return False
    state = journal.read(incident)
    text = slack.escape(clean(reports.summary_of(state, datetime.now(UTC)), _TEXT_LIMIT))
    chat = settings().chat
    try:
        known = telling.summary_message(state) or slack.find(chat, channel, _key(incident))
        if known is None:
            known = slack.post(chat, channel, text, key=_key(incident))
        else:
            slack.update(chat, channel, known, text)
        slack.pin(chat, channel, known)
    except ClientError as error:
        _give_up(incident, "responders", telling.SUMMARY, error, last_try=last_try)
        return False
    said = {"audience": "responders", "moment": telling.SUMMARY, "summary": "summary pinned"}
    data = {"channel": channel, "receipt": known, **said}
    journal.append(incident, FactKind.NOTIFIED, data, key=f"told:{telling.SUMMARY}")
    return True


def add_detail(incident: str, moment: str, lines: tuple[str, ...], *, last_try: bool) -> bool:
    """Lines into the summary's thread, once for each moment, where they bury nothing.

    Raises Transient unless this is the last try.
    """
    state = journal.read(incident)
    channel, thread = telling.channel_of(incident), telling.summary_message(state)
    if channel is None or thread is None or telling.was_told(state, "thread", moment):
        return False
    text = slack.escape(clean("\n".join(lines[:_DETAIL_LINES]), _TEXT_LIMIT))
    try:
        receipt = slack.post(settings().chat, channel, text, thread=thread)
    except ClientError as error:
        _give_up(incident, "thread", moment, error, last_try=last_try)
        return False
    said = {"audience": "thread", "moment": moment, "summary": f"{len(lines)} lines of detail"}
    data = {"channel": channel, "receipt": receipt, **said}
    journal.append(incident, FactKind.NOTIFIED, data, key=f"told:{moment}:thread")
    return True


def _key(incident: str) -> str:
    return f"{incident} {telling.SUMMARY}"


def _give_up(
    incident: str, audience: str, moment: str, error: ClientError, *, last_try: bool
) -> None:
    if isinstance(error, Transient) and not (last_try or telling.chat_is_down(incident)):
        telling.wait_as_asked(error)
        raise error
    data = {
        "channel": "chat",
        "audience": audience,
        "moment": moment,
        "error": str(error)[:500],
        telling.TRANSIENT: isinstance(error, Transient),
    }
    journal.append(incident, FactKind.NOTIFY_FAILED, data, key=f"not-told:{moment}:{audience}")
