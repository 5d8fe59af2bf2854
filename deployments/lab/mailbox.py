"""Loopback mailboxes of the contacts: what Apprise's JSON plugin delivers, one box for each role.

    python -m deployments.lab.mailbox

Environment: LAB_MAILBOX_TOKEN (everybody's password), LAB_MAILBOX_PORT. `POST /_full/<role>` makes
a box refuse what comes, `GET /_letters` says what has come; both are ours.
"""

import json
import os
import secrets
from base64 import b64encode
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from deployments.lab.environment import LOOPBACK
from deployments.lab.errors import LabError
from deployments.lab.services import Service

ROLES = ("on_call", "security_team", "dpo", "dpo_deputy", "compliance_officer")

_USER = "lab"
_ANSWER_SECONDS = 10.0


def environment(service: Service) -> dict[str, str]:
    """The product's settings: beside chat, each role has its box."""
    place = f"json://{_USER}:{service.token}@{LOOPBACK}:{service.port}/boxes"
    return {"RUNBOOK_REACH__URLS": json.dumps({role: [f"{place}/{role}"] for role in ROLES})}


def fill(service: Service | None, role: str) -> None:
    """From now on the role's box refuses what comes."""
    if service is None:
        raise LabError("expected a lab with mailboxes, found one without: Options.mail")
    answer = httpx.post(f"{service.url}/_full/{role}", timeout=_ANSWER_SECONDS, trust_env=False)
    answer.raise_for_status()


def letters(service: Service | None) -> list[dict[str, str]]:
    """What has come, in order: role, title and text of each."""
    if service is None:
        return []
    answer = httpx.get(f"{service.url}/_letters", timeout=_ANSWER_SECONDS, trust_env=False)
    found: list[dict[str, str]] = answer.raise_for_status().json()
    return found


def create_app(token: str) -> FastAPI:
    """Boxes of all roles; a full one answers 503."""
    taken: list[dict[str, str]] = []
    full: set[str] = set()
    app = FastAPI(docs_url=None, redoc_url=None)
    expected = f"Basic {b64encode(f'{_USER}:{token}'.encode()).decode()}"

    def check(authorization: Annotated[str, Header()] = "") -> None:
        if not secrets.compare_digest(authorization.encode(), expected.encode()):
            raise HTTPException(401, "expected the password of the boxes")

    @app.post("/boxes/{role}", dependencies=[Depends(check)])
    async def deliver(role: str, request: Request) -> dict[str, Any]:
        if role in full:
            raise HTTPException(503, "mailbox full")
        body = await request.json()
        taken.append({"role": role, "title": str(body["title"]), "text": str(body["message"])})
        return {}

    @app.post("/_full/{role}")
    def refuse(role: str) -> None:
        full.add(role)

    @app.get("/_letters")
    def said() -> list[dict[str, str]]:
        return taken

    return app


def main() -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        create_app(os.environ["LAB_MAILBOX_TOKEN"]),
        host=LOOPBACK,
        port=int(os.environ["LAB_MAILBOX_PORT"]),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
