"""Telling people through chat: once per moment, and never in the way of the response.

The journal is the idempotency key: a moment that was told is not told again after a kill. When
chat is down the fact says so, and the response goes on.
"""

from tasks.clients import slack
from tasks.clients.errors import ClientError, Conflict, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.settings import settings
from tasks.work import journal

CHANNEL = "channel"
PRIVACY = "privacy"
"""The moment at which the data protection officer is told of an incident."""

_NO_CHAT = "no chat is configured"
_TEXT_LIMIT = 3000  # escaping makes it longer, and Slack cuts at 4,000
_GENERAL = "#incidents"  # the runbook's own channel, when the incident's cannot be made


def channel_of(incident: str) -> str | None:
    """The incident's own channel id, once it was made."""
    for told in journal.read(incident).notified:
        if told.get("moment") == CHANNEL and told.get("receipt"):
            return str(told["receipt"])
    return None


def was_told(state: Incident, audience: str, moment: str) -> bool:
    """Whether somebody was told of that moment; a message that did not arrive is none."""
    return any(
        told.get("moment") == moment and told.get("audience") == audience for told in state.notified
    )


def make_channel(incident: str, *, last_try: bool) -> str | None:
    """Create `#incident-YYYY-MM-DD-HHMM` (the runbook's name) and return its id.

    None when chat will not have it, which is a fact then. Raises Transient unless this is the
    last try.
    """
    known = channel_of(incident)
    if known is not None:
        return known
    if not settings().chat.token.get_secret_value():
        _failed(incident, "responders", CHANNEL, _NO_CHAT)
        return None
    opened_at = journal.read(incident).opened_at
    stem = f"incident-{opened_at:%Y-%m-%d-%H%M}"
    try:
        name, made = _create(stem, incident)
    except ClientError as error:
        if isinstance(error, Transient) and not last_try:
            raise
        _failed(incident, "responders", CHANNEL, str(error))
        return None
    data = {
        "channel": f"#{name}",
        "audience": "responders",
        "moment": CHANNEL,
        "summary": f"channel #{name} made",
        "receipt": made,
    }
    journal.append(incident, FactKind.NOTIFIED, data, key="told:channel")
    return made


def tell(incident: str, audience: str, moment: str, text: str, *, last_try: bool) -> bool:
    """Post `text` for `audience` once; False when it could not be told, which is a fact then.

    `text` is plain and may hold alert text: it is escaped here. Raises Transient unless this is
    the last try, so that the task's retries try again.
    """
    key = f"told:{moment}:{audience}"
    if was_told(journal.read(incident), audience, moment):
        return True
    chat = settings().chat
    if not chat.token.get_secret_value():
        _failed(incident, audience, moment, _NO_CHAT)
        return False
    channel = channel_of(incident) or _GENERAL
    text = clean(text, _TEXT_LIMIT)
    try:
        receipt = slack.post(chat, channel, f"{slack.mention(audience)} {slack.escape(text)}")
    except ClientError as error:
        if isinstance(error, Transient) and not last_try:
            raise
        _failed(incident, audience, moment, str(error))
        return False
    data = {
        "channel": channel,
        "audience": audience,
        "moment": moment,
        "summary": text[:300],
        "receipt": receipt,
    }
    journal.append(incident, FactKind.NOTIFIED, data, key=key)
    return True


def _create(stem: str, incident: str) -> tuple[str, str]:
    """(name, channel id).

    Two incidents of one minute cannot share a name: the second gets its own suffix, and when that
    is taken too, an attempt of ours that died before its fact made it.
    """
    try:
        return stem, slack.create_channel(settings().chat, stem)
    except Conflict:
        name = f"{stem}-{incident[-4:].lower()}"
    try:
        return name, slack.create_channel(settings().chat, name)
    except Conflict:
        return name, f"#{name}"


def _failed(incident: str, audience: str, moment: str, reason: str) -> None:
    data = {"channel": "chat", "audience": audience, "moment": moment, "error": reason[:500]}
    journal.append(incident, FactKind.NOTIFY_FAILED, data, key=f"not-told:{moment}:{audience}")
