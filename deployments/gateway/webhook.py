"""`/alerts`, before everything else that FastAPI does for a request.

Its layers, its router, its way of wrapping a handler took more of the intake's time than reading
and understanding a notification. A webhook that guards itself needs none of them.
"""

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.gateway.answers import refusal
from deployments.gateway.intake import take_alerts

PATH = "/alerts"


class Webhook:
    """ASGI middleware: it answers for one path, whatever the method, and passes on the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take alerts that are posted; 405 for any other method."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        is_post = scope["method"] == "POST"
        answer = await take_alerts(Request(scope, receive)) if is_post else _refused(scope)
        await answer(scope, receive, send)


def _refused(scope: Scope) -> JSONResponse:
    answer = refusal(HTTPStatus.METHOD_NOT_ALLOWED, "not allowed", "POST", scope["method"])
    answer.headers["Allow"] = "POST"
    return answer
