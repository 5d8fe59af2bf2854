"""`POST /alerts`: authenticate, bound, understand, store, and only then say 2xx.

Alertmanager tries 5xx again and drops what gets 429 or another 4xx until its next flush; it takes a
redirect for success. So what is our fault is 503, what is the sender's is 401, 413 or 422, and
nothing else is ever answered.
"""

import asyncio
import hashlib
import hmac
import logging
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from deployments.gateway.answers import bearer, refusal
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import parse
from tasks.domain.errors import BadInput
from tasks.settings import settings
from tasks.work import quarantine
from tasks.work.intake import take_notification
from tasks.work.quarantine import PREFIX_BYTES

router = APIRouter()
log = logging.getLogger("gateway.intake")

_DIGITS = 19  # of a Content-Length that is worth parsing
_BODY_SECONDS = 15  # a sender that drips its body must not hold us for ever


@dataclass(frozen=True, slots=True)
class _Body:
    """What was read. `whole` is False when it is longer than the limit: then only its prefix."""

    data: bytes
    size: int
    whole: bool


@router.post("/alerts")
async def take_alerts(request: Request) -> JSONResponse:
    """Alertmanager's webhook, version 4."""
    if not _is_alert_sender(request):
        return refusal(401, "unauthorised", "a bearer token of an alert sender", "none that fits")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read(request, settings().gateway.body_limit_bytes)
    except TimeoutError:
        return refusal(503, "slow body", f"the body within {_BODY_SECONDS} s", "a part of it")
    except ClientDisconnect:
        return refusal(503, "broken body", "the whole body", "a closed connection")
    try:
        return await run_in_threadpool(_take, body)
    except Transient as error:
        log.warning("intake unavailable", extra={"reason": str(error)})
        return refusal(503, "unavailable", "our database", "none", "send it again")


def _take(body: _Body) -> JSONResponse:
    limit = settings().gateway.body_limit_bytes
    if not body.whole:
        reason = f"expected at most {limit} bytes, found {body.size} or more"
        quarantine.keep(reason, body.size, body.data)
        log.warning("quarantined", extra={"reason": reason})
        return refusal(413, "too large", f"at most {limit} bytes", f"{body.size} or more")
    try:
        notification = parse(body.data)
    except BadInput as error:
        quarantine.keep(str(error), body.size, body.data)
        log.warning("quarantined", extra={"reason": str(error)})
        field, _, complaint = str(error).partition(": ")
        return JSONResponse(
            {"error": "not understood", "field": field, "complaint": complaint}, status_code=422
        )
    taken = take_notification(body.data, notification)
    for incident in taken.opened:
        log.info("incident opened", extra={"incident": incident})
    return JSONResponse(
        {
            "stored": taken.digest,
            "duplicate": taken.duplicate,
            "new_alerts": taken.new_alerts,
            "opened": list(taken.opened),
            "joined": list(taken.joined),
        }
    )


def _is_alert_sender(request: Request) -> bool:
    """Compares digests, all of them every time: the time it takes tells nothing."""
    given = hashlib.sha256(bearer(request).encode()).digest()
    fits = False
    for token in settings().gateway.alert_tokens:
        secret = token.get_secret_value()
        same = hmac.compare_digest(given, hashlib.sha256(secret.encode()).digest())
        fits = (same and bool(secret)) or fits
    return fits


async def _read(request: Request, limit: int) -> _Body:
    """The body, or its prefix as soon as it is known or announced to be longer than `limit`."""
    announced = request.headers.get("content-length", "")
    too_long = announced.isdecimal() and len(announced) <= _DIGITS and int(announced) > limit
    enough = min(PREFIX_BYTES, limit) if too_long else limit
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > enough:
            size = max(len(read), int(announced)) if too_long else len(read)
            return _Body(bytes(read[:PREFIX_BYTES]), size, whole=False)
    if too_long:  # it announced more than it sent
        return _Body(bytes(read[:PREFIX_BYTES]), len(read), whole=len(read) <= limit)
    return _Body(bytes(read), len(read), whole=True)
