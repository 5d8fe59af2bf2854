"""A loopback Slack that answers as the Web API does.

    python -m deployments.lab.chat

Environment: LAB_CHAT_TOKEN, LAB_CHAT_PORT, LAB_CHAT_PER_MINUTE (calls of one method; 429 beyond).
Like the real one it answers errors as HTTP 200 with `"ok": false`. `GET /_messages` is ours: what
was posted, for tests and the demo.
"""

import os
import re
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from deployments.lab.environment import LOOPBACK

_NAME = re.compile(r"[a-z0-9_-]+")
_MEMBER = re.compile(r"[UW][A-Z0-9]{2,20}")
_NAME_LIMIT = 80
_TEXT_LIMIT = 40_000
_WINDOW_SECONDS = 60.0


class _Wrong(Exception):
    """An error by Slack's code."""


@dataclass(slots=True)
class Workspace:
    """Channels by id, messages in order, pins, and the calls of the last minute."""

    token: str
    per_minute: int
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    pins: list[dict[str, str]] = field(default_factory=list)
    calls: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _last_ts: float = 0.0

    def wait_seconds(self, method: str) -> int:
        """0 when the call is within the rate, else whole seconds for Retry-After."""
        now, calls = time.monotonic(), self.calls[method]
        while calls and now - calls[0] > _WINDOW_SECONDS:
            calls.popleft()
        if len(calls) >= self.per_minute:
            return max(1, round(_WINDOW_SECONDS - (now - calls[0])))
        calls.append(now)
        return 0

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The channel of conversations.create, new."""
        name = body.get("name", "")
        if not isinstance(name, str) or not name:
            raise _Wrong("invalid_name_required")
        if len(name) > _NAME_LIMIT:
            raise _Wrong("invalid_name_maxlength")
        if not _NAME.fullmatch(name):
            raise _Wrong("invalid_name_specials")
        if not name.strip("-_"):
            raise _Wrong("invalid_name_punctuation")
        if any(channel["name"] == name for channel in self.channels.values()):
            raise _Wrong("name_taken")
        identity = f"C{secrets.token_hex(5).upper()}"
        channel: dict[str, Any] = {
            "id": identity,
            "name": name,
            "is_channel": True,
            "is_private": bool(body.get("is_private", False)),
            "created": int(time.time()),
            "members": [],
        }
        self.channels[identity] = channel
        return {"channel": channel}

    def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """chat.postMessage; `channel` is an id or a name."""
        channel = self._channel(body)
        text = body.get("text", "")
        if not text and not body.get("blocks"):
            raise _Wrong("no_text")
        if len(str(text)) > _TEXT_LIMIT:
            raise _Wrong("msg_too_long")
        self._last_ts = max(time.time(), self._last_ts + 0.000001)  # unique within a channel
        message = {"type": "message", "text": text, "ts": f"{self._last_ts:.6f}"}
        for kept in ("metadata", "thread_ts"):
            if body.get(kept):
                message[kept] = body[kept]
        self.messages.append({**message, "channel": channel["id"], "name": channel["name"]})
        return {"channel": channel["id"], "ts": message["ts"], "message": message}

    def update(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """chat.update: another text of a message of ours."""
        channel, wanted = self._channel(body), str(body.get("ts", ""))
        text = body.get("text", "")
        if not text:
            raise _Wrong("no_text")
        for message in self.messages:
            if (message["channel"], message["ts"]) == (channel["id"], wanted):
                message["text"], message["edited"] = text, True
                return {"channel": channel["id"], "ts": wanted, "text": text}
        raise _Wrong("message_not_found")

    def history(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """conversations.history: the newest first, by the channel's id alone, without replies."""
        channel = self._channel(body, by_id_only=True)
        found = [
            {name: value for name, value in message.items() if name not in {"channel", "name"}}
            for message in reversed(self.messages)
            if message["channel"] == channel["id"] and "thread_ts" not in message
        ][: int(body.get("limit", 100))]
        if not body.get("include_all_metadata"):
            for message in found:
                message.pop("metadata", None)
        return {"messages": found, "has_more": False}

    def invite(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """conversations.invite; `users` is a list with commas."""
        channel = self._channel(body)
        users = [user for user in str(body.get("users", "")).split(",") if user]
        if not users:
            raise _Wrong("no_user")
        if not all(_MEMBER.fullmatch(user) for user in users):
            raise _Wrong("user_not_found")
        if set(users) & set(channel["members"]):
            raise _Wrong("already_in_channel")
        channel["members"].extend(users)
        return {"channel": channel}

    def pin(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The empty answer of pins.add."""
        channel = self._channel(body)
        pin = {"channel": channel["id"], "timestamp": str(body.get("timestamp", ""))}
        known = {(message["channel"], message["ts"]) for message in self.messages}
        if (pin["channel"], pin["timestamp"]) not in known:
            raise _Wrong("message_not_found")
        if pin in self.pins:
            raise _Wrong("already_pinned")
        self.pins.append(pin)
        return {}

    def _channel(self, body: Mapping[str, Any], *, by_id_only: bool = False) -> dict[str, Any]:
        wanted = str(body.get("channel", ""))
        for channel in self.channels.values():
            names = () if by_id_only else (channel["name"], f"#{channel['name']}")
            if wanted in (channel["id"], *names):
                return channel
        raise _Wrong("channel_not_found")


def create_app(token: str, per_minute: int = 100) -> FastAPI:
    """One workspace with one bot token and one public channel, `incidents`."""
    space = Workspace(token, per_minute)
    space.create({"name": "incidents"})
    methods = {
        "auth.test": lambda _: {"user": "runbook"},
        "conversations.create": space.create,
        "chat.postMessage": space.post,
        "chat.update": space.update,
        "conversations.history": space.history,
        "conversations.invite": space.invite,
        "pins.add": space.pin,
    }
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/api/{method}")
    async def call(method: str, request: Request) -> JSONResponse:
        body = await _body(request)
        header = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        given = header or str(body.get("token", ""))
        if not given:
            return _error("not_authed")
        if not secrets.compare_digest(given.encode(), space.token.encode()):
            return _error("invalid_auth")
        if method not in methods:
            return _error("unknown_method")
        wait = space.wait_seconds(method)
        if wait:
            answer = {"ok": False, "error": "ratelimited"}
            return JSONResponse(answer, 429, {"Retry-After": str(wait)})
        try:
            return JSONResponse({"ok": True, **methods[method](body)})
        except _Wrong as error:
            return _error(str(error))

    @app.get("/_messages")
    def messages() -> dict[str, Any]:
        return {
            "channels": list(space.channels.values()),
            "messages": space.messages,
            "pins": space.pins,
        }

    return app


async def _body(request: Request) -> dict[str, Any]:
    """JSON or a form, as Slack takes both; what is neither counts as empty."""
    if "json" in request.headers.get("content-type", ""):
        try:
            value = await request.json()
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


def _error(code: str) -> JSONResponse:
    return JSONResponse({"ok": False, "error": code})


def main() -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        create_app(os.environ["LAB_CHAT_TOKEN"], int(os.environ.get("LAB_CHAT_PER_MINUTE", "100"))),
        host=LOOPBACK,
        port=int(os.environ["LAB_CHAT_PORT"]),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
