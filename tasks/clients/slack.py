"""Slack's Web API: what an incident needs of it.

Slack answers errors as HTTP 200 with `"ok": false` and a code; throttling is HTTP 429.
"""

import re
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Transient
from tasks.settings import ChatSettings

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
_MISSING = {"channel_not_found", "user_not_found"}
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


def post(chat: ChatSettings, channel: str, text: str) -> str:
    """`chat.postMessage`; the message's `ts`, its receipt. The caller has escaped the text."""
    body = {"channel": channel, "text": text[:_TEXT_LIMIT], "unfurl_links": False}
    return str(_call(chat, "chat.postMessage", body).get("ts", ""))


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
    if code == "name_taken":
        raise Conflict(f"expected {method} to make a new channel, found the name taken")
    if code in _TRANSIENT:
        raise Transient(f"expected Slack to carry out {method}, found {code}")
    if code in _DENIED:
        raise Denied(f"expected Slack to accept our token for {method}, found {code}")
    if code in _MISSING:
        raise NotFound(f"expected {method} to find its channel or user, found {code}")
    raise Malformed(f"expected {method} to succeed, found {code!r}")
