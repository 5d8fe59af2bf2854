"""Slack's Web API: what an incident needs of it.

Slack answers errors as HTTP 200 with `"ok": false` and a code; throttling is HTTP 429.
"""

import re
from contextlib import suppress
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Transient
from tasks.sections.house import ChatSettings

_DENIED = {
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "missing_scope",
    "token_expired",
    "access_denied",
}
_TRANSIENT = {"internal_error", "service_unavailable", "fatal_error", "ratelimited"}
_MISSING = {"channel_not_found", "user_not_found", "message_not_found"}
_THERE_ALREADY = {"name_taken", "already_pinned", "already_in_channel", "cant_invite_self"}
_EVENT = "runbook_message"
_NEWEST = 100
_MEMBER = re.compile(r"[UW][A-Z0-9]{6,20}")
_GROUP = re.compile(r"S[A-Z0-9]{6,20}")
_TEXT_LIMIT = 4000  # chat.postMessage truncates beyond; better to cut where we choose


def escape(text: str) -> str:
    """Slack's control characters, as its documentation says: &, < and > only."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mention(contact: str) -> str:
    """A contact as Slack notifies it: a member id (U, W) or group id (S); else only its name."""
    if _MEMBER.fullmatch(contact):
        return f"<@{contact}>"
    if _GROUP.fullmatch(contact):
        return f"<!subteam^{contact}>"
    return f"@{escape(contact)}"


def check(chat: ChatSettings) -> None:
    """`auth.test`: whether the token is accepted."""
    _call(chat, "auth.test", {})


def create_channel(chat: ChatSettings, name: str) -> str:
    """`conversations.create`; the channel's id. Raises Conflict when the name is taken."""
    answer = _call(chat, "conversations.create", {"name": name})
    try:
        return str(answer["channel"]["id"])
    except (KeyError, TypeError) as error:
        raise Malformed("expected a channel id of conversations.create, found none") from error


def post(chat: ChatSettings, channel: str, text: str, *, key: str = "", thread: str = "") -> str:
    """`chat.postMessage`; the message's `ts`, its receipt. The caller has escaped the text.

    `key` is kept beside the message, for `find`; `thread` is the `ts` of the message to answer.
    """
    body: dict[str, Any] = {"channel": channel, "text": text[:_TEXT_LIMIT], "unfurl_links": False}
    if key:
        body["metadata"] = {"event_type": _EVENT, "event_payload": {"key": key}}
    if thread:
        body["thread_ts"] = thread
    return str(_call(chat, "chat.postMessage", body).get("ts", ""))


def find(chat: ChatSettings, channel: str, key: str) -> str | None:
    """The `ts` of our message with that key among the newest of a channel; None: there is none.

    Slack has no idempotency key: whoever posts again after a kill looks first. The channel is an
    id: `conversations.history` knows no names.
    """
    body = {"channel": channel, "limit": _NEWEST, "include_all_metadata": True}
    answer = _call(chat, "conversations.history", body)
    for message in answer.get("messages", ()):
        metadata = message.get("metadata") or {}
        if metadata.get("event_type") == _EVENT and metadata.get("event_payload") == {"key": key}:
            return str(message.get("ts", ""))
    return None


def update(chat: ChatSettings, channel: str, message: str, text: str) -> None:
    """`chat.update`: the message's new text, which the caller has escaped."""
    body = {"channel": channel, "ts": message, "text": text[:_TEXT_LIMIT]}
    _call(chat, "chat.update", body)


def pin(chat: ChatSettings, channel: str, message: str) -> None:
    """`pins.add`; a message that is pinned already stays so."""
    with suppress(Conflict):
        _call(chat, "pins.add", {"channel": channel, "timestamp": message})


def invite(chat: ChatSettings, channel: str, member: str) -> None:
    """`conversations.invite` of one member; one who is there already stays so."""
    with suppress(Conflict):
        _call(chat, "conversations.invite", {"channel": channel, "users": member})


def is_member(contact: str) -> bool:
    """Whether a contact is the id of one person, who can be invited; groups and names cannot."""
    return _MEMBER.fullmatch(contact) is not None


def _call(chat: ChatSettings, method: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.call(
        "POST",
        f"{chat.url}/{method}",
        timeout_seconds=chat.timeout_seconds,
        token=chat.token,
        json_body=body,
    )
    value = answer.value
    if not isinstance(value, dict) or "ok" not in value:
        raise Malformed(f"expected an answer of Slack to {method}, found something else")
    if value["ok"] is True:
        return value
    code = str(value.get("error", ""))[:80]
    if code in _THERE_ALREADY:
        raise Conflict(f"expected {method} to make something new, found {code}")
    if code in _TRANSIENT:
        raise Transient(f"expected Slack to carry out {method}, found {code}")
    if code in _DENIED:
        raise Denied(f"expected Slack to accept our token for {method}, found {code}")
    if code in _MISSING:
        raise NotFound(f"expected {method} to find its channel or user, found {code}")
    raise Malformed(f"expected {method} to succeed, found {code!r}")
