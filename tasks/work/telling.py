"""Telling people: once per moment, by every way there is, and never in the way of the response.

Chat first; beside it what reaches the contact otherwise (e-mail, SMS...), and the pager for whoever
is on call. Each way stands for itself: one that is down keeps no other from telling. The journal is
the idempotency key: a moment that was told is not told again after a kill, and what a killed
attempt had posted is found in the channel. What could not be told is a fact, and the response goes
on.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import SecretStr

from tasks.clients import reach, slack
from tasks.clients.errors import ClientError, Conflict, Denied, Throttled, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.clock_alarms import DPO_MOMENT
from tasks.domain.contacts import Contact, known
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.settings import settings
from tasks.work import journal, paging

CHANNEL = "channel"
CHAT = "chat"
TRANSIENT = "transient"
"""Key of a NOTIFY_FAILED fact's data: the way did not answer, in contrast to refusing."""
SUMMARY = "summary"
"""The moment at which an incident's summary was pinned in its channel."""
PRIVACY = DPO_MOMENT
"""The moment at which the data protection officer is told of an incident."""

_NO_CHAT = "no chat is configured"
_DOWN_FOR = timedelta(minutes=2)
_LONGEST_WAIT = 30.0  # seconds that one try waits when it was told to come back later
_TEXT_LIMIT = 3000  # escaping makes it longer, and Slack cuts at 4,000
_GENERAL = "#incidents"  # the runbook's own channel, when the incident's cannot be made


def channel_of(incident: str) -> str | None:
    """The incident's own channel id, once it was made."""
    for told in journal.read(incident).notified:
        if told.get("moment") == CHANNEL and told.get("receipt"):
            return str(told["receipt"])
    return None


def summary_message(state: Incident) -> str | None:
    """The `ts` of the pinned summary, whose thread takes what would bury it."""
    found = (told for told in state.notified if told.get("moment") == SUMMARY)
    return next((str(told["receipt"]) for told in found if told.get("receipt")), None)


def was_told(state: Incident, audience: str, moment: str, contact: str = "", via: str = "") -> bool:
    """Whether somebody was told of that moment, by whatever way or `via` one.

    `contact` is the role: whoever filled it then counts too. What did not arrive tells nobody.
    """
    return any(
        told.get("moment") == moment
        and (told.get("audience") == audience or (contact and told.get("contact") == contact))
        and (not via or told.get("via", CHAT) == via)
        for told in state.notified
    )


def chat_is_down(incident: str) -> bool:
    """Whether chat has just not answered, however often asked: then it is tried once, not again.

    A run waits for what it tells, so that every message that tries for itself would add its own
    waiting to the response's.
    """
    by_chat = [
        fact
        for fact in journal.read(incident).facts
        if fact.kind in {FactKind.NOTIFIED, FactKind.NOTIFY_FAILED}
        and fact.data.get("via", CHAT) == CHAT
    ]
    return (
        bool(by_chat)
        and by_chat[-1].data.get(TRANSIENT) is True  # a message that it refuses is no sign of that
        and datetime.now(UTC) - by_chat[-1].at < _DOWN_FOR
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
        _failed(_Message(incident, "responders", CHANNEL, ""), CHAT, Denied(_NO_CHAT))
        return None
    opened_at = journal.read(incident).opened_at
    stem = f"incident-{opened_at:%Y-%m-%d-%H%M}"
    try:
        name, made = _create(stem, incident)
    except ClientError as error:
        if isinstance(error, Transient) and not (last_try or chat_is_down(incident)):
            wait_as_asked(error)
            raise
        _failed(_Message(incident, "responders", CHANNEL, ""), CHAT, error)
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


def tell(
    incident: str,
    audience: str,
    moment: str,
    text: str,
    *,
    last_try: bool,
    contact: str = "",
    aside: bool = False,
) -> bool:
    """Tell `audience` once; False when no way took it, and each that failed is a fact then.

    `contact` is the role that `audience` fills; `aside` is for detail: in the summary's thread,
    and by no other way than chat and the pager. `text` is plain and may hold alert text: every
    medium escapes its own way. Raises Transient unless this is the last try, when every way was
    tried, so that the task's retries try those again that failed.
    """
    message = _Message(incident, audience, moment, clean(text, _TEXT_LIMIT), contact, aside)
    told, later = False, None
    for tell_so in _ways(message, last_try=last_try):
        try:
            told = tell_so() or told
        except Transient as error:
            later = error
    if later is not None:
        wait_as_asked(later)
        raise later
    return told


def wait_as_asked(error: Transient) -> None:
    """Wait for the seconds that the other side has named, within reason, before it is tried again.

    Nothing that mends waits with it: people are told meanwhile, or when all is done.
    """
    if isinstance(error, Throttled):
        time.sleep(min(error.seconds, _LONGEST_WAIT))


@dataclass(frozen=True, slots=True)
class _Message:
    incident: str
    audience: str
    moment: str
    text: str
    contact: str = ""
    aside: bool = False

    def key(self, via: str) -> str:
        beside = "" if via == CHAT else f":{via}"
        return f"told:{self.moment}:{self.audience}{beside}"

    @property
    def data(self) -> dict[str, str]:
        said = {"audience": self.audience, "moment": self.moment}
        return said | ({"contact": self.contact} if self.contact else {})


def _ways(message: _Message, *, last_try: bool) -> Iterator[Callable[[], bool]]:
    once = last_try or chat_is_down(message.incident)
    yield partial(_once, message, CHAT, partial(_by_chat, message), last_try=once)
    role = known(message.contact)
    if role is not None and not message.aside:
        for place, url in enumerate(settings().reach.urls.get(role, ()), start=1):
            via = f"{reach.kind_of(url)}.{place}"
            yield partial(_once, message, via, partial(_beside, message, url), last_try=last_try)
    if role is Contact.ON_CALL and paging.is_configured():
        who, text = message.audience, message.text
        yield partial(paging.page, message.incident, who, text, last_try=last_try)


def _once(
    message: _Message, via: str, send: Callable[[], tuple[str, str]], *, last_try: bool
) -> bool:
    """Send by one way unless that is done; `send` returns (channel, receipt)."""
    state = journal.read(message.incident)
    if was_told(state, message.audience, message.moment, message.contact, via):
        return True
    try:
        channel, receipt = send()
    except ClientError as error:
        if isinstance(error, Transient) and not last_try:
            raise
        _failed(message, via, error)
        return False
    said = {"channel": channel, "via": via, "summary": message.text[:300], "receipt": receipt}
    journal.append(message.incident, FactKind.NOTIFIED, message.data | said, key=message.key(via))
    return True


def _by_chat(message: _Message) -> tuple[str, str]:
    chat = settings().chat
    if not chat.token.get_secret_value():
        raise Denied(_NO_CHAT)
    own = channel_of(message.incident)
    key = _short(f"{message.incident} {message.key(CHAT)}")
    known_as = _posted(own, key)
    if own is not None and known_as:
        return own, known_as
    text = f"{slack.mention(message.audience)} {slack.escape(message.text)}"
    thread = summary_message(journal.read(message.incident)) if own and message.aside else None
    channel = own or _GENERAL
    return channel, slack.post(chat, channel, text, key=key, thread=thread or "")


def _posted(channel: str | None, key: str) -> str | None:
    """What a killed attempt has posted; None where that cannot be seen, which hinders nobody."""
    if channel is None or channel.startswith("#"):
        return None
    try:
        return slack.find(settings().chat, channel, key)
    except Transient:
        raise
    except ClientError:  # no permission to read: then told twice after a kill, not at all never
        return None


def _beside(message: _Message, url: SecretStr) -> tuple[str, str]:
    title = f"{message.incident}: {message.moment}"
    reach.send(url, title, message.text, timeout_seconds=settings().reach.timeout_seconds)
    return reach.kind_of(url), ""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def _failed(message: _Message, via: str, error: ClientError) -> None:
    said = {"channel": via, "via": via, "error": str(error)[:500]}
    data = {**message.data, **said, TRANSIENT: isinstance(error, Transient)}
    beside = "" if via == CHAT else f":{via}"
    key = f"not-told:{message.moment}:{message.audience}{beside}"
    journal.append(message.incident, FactKind.NOTIFY_FAILED, data, key=key)
