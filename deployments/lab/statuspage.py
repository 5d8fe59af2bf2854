"""A loopback Statuspage that answers as its REST API does, errors and rate limit included.

One page with one key. Beyond the rate it answers 420, as the real one may; a wrong key is 401, an
incident without a name 422.
"""

import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

_STATES = {"investigating", "identified", "monitoring", "resolved"}
_WINDOW_SECONDS = 60.0
_ENHANCE_YOUR_CALM = 420


@dataclass(slots=True)
class Page:
    """Incidents by id, each with its updates, the newest first."""

    name: str
    api_key: str
    per_minute: int = 60
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)
    _calls: deque[float] = field(default_factory=deque)

    def is_too_many(self) -> bool:
        """Whether the key has made its calls of this minute."""
        now = time.monotonic()
        while self._calls and now - self._calls[0] > _WINDOW_SECONDS:
            self._calls.popleft()
        if len(self._calls) >= self.per_minute:
            return True
        self._calls.append(now)
        return False

    def write(self, incident: dict[str, Any], wanted: Mapping[str, Any]) -> list[str]:
        """Take in what was sent; what is wrong with it, and then nothing was taken."""
        if not wanted.get("name", incident.get("name")):
            return ["Name can't be blank"]
        if wanted.get("status", "investigating") not in _STATES:
            return ["Status is not included in the list"]
        incident |= {
            name: wanted[name] for name in ("name", "status", "metadata") if name in wanted
        }
        if wanted.get("body"):
            update = {"status": incident["status"], "body": wanted["body"]}
            incident["incident_updates"].insert(0, update)
        return []


def _refusal(page: Page, request: Request, name: str) -> JSONResponse | None:
    if request.headers.get("authorization") != f"OAuth {page.api_key}":
        return JSONResponse({"error": "Could not authenticate"}, 401)
    if page.is_too_many():
        return JSONResponse({"error": "Rate limit exceeded"}, _ENHANCE_YOUR_CALM)
    return None if name == page.name else JSONResponse({"error": "not found"}, 404)


def create_app(page: Page) -> FastAPI:
    """The API of that page."""
    app = FastAPI(docs_url=None, redoc_url=None)
    root = "/v1/pages/{name}/incidents"

    @app.get(f"{root}/unresolved")
    def unresolved(request: Request, name: str) -> JSONResponse:
        found = [one for one in page.incidents.values() if one["status"] != "resolved"]
        return _refusal(page, request, name) or JSONResponse(found)

    @app.get(f"{root}/{{identity}}")
    def show(request: Request, name: str, identity: str) -> JSONResponse:
        found = page.incidents.get(identity)
        absent = JSONResponse({"error": "not found"}, 404)
        return _refusal(page, request, name) or (JSONResponse(found) if found else absent)

    @app.post(root)
    async def create(request: Request, name: str) -> JSONResponse:
        made: dict[str, Any] = {
            "id": secrets.token_hex(6),
            "status": "investigating",
            "created_at": datetime.now(UTC).isoformat(),
            "metadata": {},
            "incident_updates": [],
        }
        no = _refusal(page, request, name)
        if no is not None:
            return no
        wrong = page.write(made, (await request.json()).get("incident", {}))
        if wrong:
            return JSONResponse({"error": wrong}, 422)
        page.incidents[made["id"]] = made
        return JSONResponse(made, 201)

    @app.patch(f"{root}/{{identity}}")
    async def change(request: Request, name: str, identity: str) -> JSONResponse:
        no = _refusal(page, request, name)
        if no is not None:
            return no
        if identity not in page.incidents:
            return JSONResponse({"error": "not found"}, 404)
        wrong = page.write(page.incidents[identity], (await request.json()).get("incident", {}))
        return (
            JSONResponse({"error": wrong}, 422) if wrong else JSONResponse(page.incidents[identity])
        )

    return app
