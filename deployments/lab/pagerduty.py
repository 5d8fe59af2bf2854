"""A loopback PagerDuty that answers as the Events API v2 and the list of on-calls do.

An event is 202 with its dedup_key; a malformed one 400 with what is wrong; too many 429. The same
key is the same alert: a trigger of an open one is appended to it, one that is resolved is new.
"""

import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

_ACTIONS = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}
_SEVERITIES = {"critical", "error", "warning", "info"}
_WINDOW_SECONDS = 60.0
_LIMITS = {"summary": 1024, "dedup_key": 255}


@dataclass(slots=True)
class Account:
    """Alerts by dedup_key with their states in order, and who is on call by schedule."""

    routing_key: str
    api_token: str
    per_minute: int
    alerts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    on_calls: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    _events: deque[float] = field(default_factory=deque)

    def is_too_many(self) -> bool:
        """Whether the integration has sent its events of this minute."""
        now = time.monotonic()
        while self._events and now - self._events[0] > _WINDOW_SECONDS:
            self._events.popleft()
        if len(self._events) >= self.per_minute:
            return True
        self._events.append(now)
        return False

    def errors(self, event: Mapping[str, Any]) -> list[str]:
        """What is wrong with an event; empty when nothing is."""
        found = []
        if event.get("routing_key") != self.routing_key:
            found.append("'routing_key' is invalid")
        action, key = event.get("event_action"), event.get("dedup_key")
        if action not in _ACTIONS:
            found.append("'event_action' must be one of trigger, acknowledge, resolve")
        if key is None and action != "trigger":
            found.append("'dedup_key' is missing or blank")
        if key is not None and len(str(key)) > _LIMITS["dedup_key"]:
            found.append("'dedup_key' is too long")
        return found if action != "trigger" else found + _errors_of(event.get("payload"))

    def take(self, event: Mapping[str, Any]) -> str:
        """Record an event that is right; its key."""
        key = str(event.get("dedup_key") or secrets.token_hex(16))
        state = _ACTIONS[event["event_action"]]
        past = self.alerts.setdefault(key, [])
        is_open = bool(past) and past[-1]["state"] != "resolved"
        if state == "triggered" or is_open:  # others of an unknown or closed alert are dropped
            past.append({"state": state, "payload": event.get("payload")})
        return key


def _errors_of(payload: object) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    blank = [
        f"'payload.{name}' is missing or blank"
        for name in ("summary", "source", "severity")
        if not payload.get(name)
    ]
    if len(str(payload.get("summary", ""))) > _LIMITS["summary"]:
        blank.append("'payload.summary' is too long")
    if payload.get("severity") and payload["severity"] not in _SEVERITIES:
        blank.append("'payload.severity' is invalid (must be critical, error, warning or info)")
    return blank


def create_app(account: Account) -> FastAPI:
    """One account with one integration."""
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/v2/enqueue")
    async def enqueue(request: Request) -> JSONResponse:
        if account.is_too_many():
            return JSONResponse({"status": "throttle exceeded", "message": "Too many events"}, 429)
        try:
            event = await request.json()
        except ValueError:
            event = None
        wrong = account.errors(event) if isinstance(event, dict) else ["the body is no JSON object"]
        if wrong:
            refusal = {"status": "invalid event", "message": "Event object is invalid"}
            return JSONResponse({**refusal, "errors": wrong}, 400)
        key = account.take(event)
        taken = {"status": "success", "message": "Event processed", "dedup_key": key}
        return JSONResponse(taken, 202)

    @app.get("/oncalls")
    def list_on_calls(request: Request) -> JSONResponse:
        if request.headers.get("authorization") != f"Token token={account.api_token}":
            return JSONResponse({"error": {"message": "Unauthorized", "code": 2006}}, 401)
        found = [
            {
                "user": {"id": one["id"], "type": "user_reference", "summary": one["name"]},
                "schedule": {"id": schedule, "type": "schedule_reference"},
                "escalation_policy": {"id": "PPOLICY", "type": "escalation_policy_reference"},
                "escalation_level": level,
                "start": None,
                "end": None,
            }
            for schedule in request.query_params.getlist("schedule_ids[]")
            for level, one in enumerate(account.on_calls.get(schedule, ()), start=1)
        ]
        return JSONResponse({"oncalls": found, "limit": 100, "offset": 0, "more": False})

    return app
