"""Nothing of a stranger's body is taken, little of anybody's, and nobody may drip it for ever.

FastAPI reads a body whole before it looks at who is asking. This stands in front of it. Only to log
in may a stranger say something: a token's length. While our database is away nobody is known; then
a form is read within the same limits, only to show its words again: nobody should have to write
them twice.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.gateway.answers import Turned, refusal
from deployments.gateway.login import LOGIN
from deployments.gateway.pages.look import wants_page
from deployments.gateway.pages.page_route import (
    refused_page,
    strangers_page,
    too_large_page,
    too_slow_page,
)
from deployments.gateway.people import identify
from tasks.clients.errors import Transient

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_LIMIT = 32 * 1024  # 2,000 characters of four bytes are 24,000 when a form sends them
LOGIN_LIMIT = 2 * 1024
_BODY_SECONDS = 10.0
_DRAIN_SECONDS = 2.0  # a sender that is cut off while it sends would never read our answer


class BodyGuard:
    """ASGI middleware: 401 from a stranger, 413 over the limit, 408 after the time."""

    def __init__(self, app: ASGIApp, body_seconds: float = _BODY_SECONDS) -> None:
        self._app = app
        self._seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        try:
            taken = await self._take(Request(scope, receive), receive)
        except ClientDisconnect:
            return  # nobody is there to be told
        if isinstance(taken, Response):
            await _refuse(taken, receive, send)
        else:
            await self._app(scope, _replay(taken, receive), send)

    async def _take(self, request: Request, receive: Receive) -> bytes | Response:
        is_stranger = request.scope["path"] == LOGIN
        limit = LOGIN_LIMIT if is_stranger else BODY_LIMIT
        try:
            if not is_stranger:
                await run_in_threadpool(identify, request)
        except Turned as turned:
            is_unknown = turned.status == HTTPStatus.UNAUTHORIZED
            return (
                strangers_page(request) if is_unknown and wants_page(request) else turned.answer()
            )
        except Transient as error:
            if not wants_page(request):
                return refusal(503, "unavailable", "our database", "none that answers", "try again")
            body = await self._read(request, limit)
            if isinstance(body, Response):
                return body
            return await refused_page(Request(request.scope, _replay(body, receive)), error)
        return await self._read(request, limit)

    async def _read(self, request: Request, limit: int) -> bytes | Response:
        """The whole body, or why it is not read."""
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > limit:
            return _too_large(request, limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        return _too_large(request, limit)
        except TimeoutError:
            if wants_page(request):
                return too_slow_page(request, self._seconds)
            expected = f"the body within {self._seconds:g} s"
            return refusal(HTTPStatus.REQUEST_TIMEOUT, "slow body", expected, "a part of it")
        return bytes(body)


def _too_large(request: Request, limit: int) -> Response:
    if wants_page(request):
        return too_large_page(request, limit)
    return refusal(413, "too large", f"a body of at most {limit} bytes", "a longer one")


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body, then what else comes, which is the disconnect."""
    messages: Iterable[Message] = iter(({"type": "http.request", "body": body},))

    async def replayed() -> Message:
        for message in messages:
            return message
        return await receive()

    return replayed


async def _refuse(answer: Response, receive: Receive, send: Send) -> None:
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
