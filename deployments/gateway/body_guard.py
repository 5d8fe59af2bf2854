"""Nothing of a stranger's body is taken, little of anybody's, and nobody may drip it for ever.

FastAPI reads a body whole before it looks at who is asking. This stands in front of it for every
route but `/alerts`, which guards itself with limits of its own.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.gateway.answers import refusal
from deployments.gateway.people import Turned, reader
from tasks.clients.errors import Transient

_ELSEWHERE = "/alerts"
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_LIMIT = 16 * 1024
_BODY_SECONDS = 10.0
_DRAIN_SECONDS = 2.0  # a sender that is cut off while it sends would never read our answer


class BodyGuard:
    """ASGI middleware: 401 without a person's token, 413 over the limit, 408 after the time."""

    def __init__(self, app: ASGIApp, body_seconds: float = _BODY_SECONDS) -> None:
        self._app = app
        self._seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        if (
            scope["type"] != "http"
            or scope["path"] == _ELSEWHERE
            or scope["method"] in _WITHOUT_BODY
        ):
            await self._app(scope, receive, send)
            return
        try:
            taken = await self._take(Request(scope, receive))
        except ClientDisconnect:
            return  # nobody is there to be told
        if isinstance(taken, JSONResponse):
            await _refuse(taken, receive, send)
        else:
            await self._app(scope, _replay(taken, receive), send)

    async def _take(self, request: Request) -> bytes | JSONResponse:
        try:
            await run_in_threadpool(reader, request)
        except Turned as turned:
            return refusal(turned.status, turned.error, turned.expected, turned.found)
        except Transient:
            return refusal(503, "unavailable", "our database", "none that answers", "try again")
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > BODY_LIMIT:
            return _too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > BODY_LIMIT:
                        return _too_large()
        except TimeoutError:
            expected = f"the body within {self._seconds:g} s"
            return refusal(HTTPStatus.REQUEST_TIMEOUT, "slow body", expected, "a part of it")
        return bytes(body)


def _too_large() -> JSONResponse:
    return refusal(413, "too large", f"a body of at most {BODY_LIMIT} bytes", "a longer one")


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body, then what else comes, which is the disconnect."""
    messages: Iterable[Message] = iter(({"type": "http.request", "body": body},))

    async def replayed() -> Message:
        for message in messages:
            return message
        return await receive()

    return replayed


async def _refuse(answer: JSONResponse, receive: Receive, send: Send) -> None:
    """Answer at once, throw away for a moment what still comes, then close the connection.

    Closed with unread data, the kernel would reset it, and the answer could be lost on the way.
    """
    headers = [*answer.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": True})
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
