"""`POST /alerts`: authenticate, bound, understand, store, and only then say 2xx.

Alertmanager tries 5xx again and drops what gets 429 or another 4xx until its next flush; it takes a
redirect for success. So what is our fault is 503, what is the sender's is 401, 413 or 422, and
nothing else is ever answered. What cannot be put into quarantine, since PostgreSQL is away, is 503
too: it comes again.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import SecretStr
from starlette.requests import ClientDisconnect

from deployments.gateway import metrics
from deployments.gateway.accounting import account_for
from deployments.gateway.answers import bearer, refusal
from deployments.gateway.group_commit import GroupCommit, Overloaded, Spooled
from deployments.gateway.people import address_of
from deployments.gateway.rate_limit import RateLimit
from deployments.gateway.spool import SpoolFull
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import Notification, parse
from tasks.domain.errors import BadInput
from tasks.settings import settings
from tasks.work import quarantine
from tasks.work.intake import Received, Taken
from tasks.work.quarantine import PREFIX_BYTES

log = logging.getLogger("gateway.intake")

_DIGITS = 19  # of a Content-Length that is worth parsing
_BODY_SECONDS = 15  # a sender that drips its body must not hold us for ever
_INLINE_BYTES = 64 * 1024  # a larger body is parsed beside the event loop: it takes milliseconds


@dataclass(frozen=True, slots=True)
class _Body:
    """What was read. `whole` is False when it is longer than the limit: then only its prefix."""

    data: bytes
    size: int
    whole: bool


async def take_alerts(request: Request) -> JSONResponse:
    """Alertmanager's webhook, version 4."""
    began = time.monotonic()
    token = _fitting_token(request)
    if token is None:
        expected = "a bearer token of an alert sender"
        answer = refusal(401, "unauthorised", expected, "none that fits")
    else:
        metrics.RECEIVED.inc()
        answer = await _answer_sender(request, token)
        metrics.INTAKE_SECONDS.observe(time.monotonic() - began)
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        metrics.REFUSED.labels(str(answer.status_code)).inc()
    return answer


async def _answer_sender(request: Request, token: bytes) -> JSONResponse:
    """For a sender whose token has this digest."""
    source = f"{address_of(request)}#{token.hex()[:8]}"
    rate: RateLimit = request.app.state.rate_limit
    if rate.seconds_until_free(source):
        expected = f"at most {settings().gateway.alerts_per_second:g} notifications per second"
        return refusal(503, "too many", expected, "more of one source", "send it again")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read(request, settings().gateway.body_limit_bytes)
    except TimeoutError:
        return refusal(503, "slow body", f"the body within {_BODY_SECONDS} s", "a part of it")
    except ClientDisconnect:
        return refusal(503, "broken body", "the whole body", "a closed connection")
    return await _guarded_take(request.app.state.group_commit, body, source)


async def _guarded_take(group: GroupCommit, body: _Body, source: str) -> JSONResponse:
    try:
        return await _take(group, body, source)
    except (Overloaded, SpoolFull) as error:
        return refusal(503, "overloaded", "room for a notification", str(error), "send it again")
    except Transient as error:
        log.warning("intake unavailable", extra={"reason": str(error)})
    except Exception:  # whatever it is, it is our fault, and the sender shall try again
        log.exception("a notification could not be stored")
    return refusal(503, "unavailable", "our database", "none", "send it again")


async def _take(group: GroupCommit, body: _Body, source: str) -> JSONResponse:
    if not body.whole:
        limit = settings().gateway.body_limit_bytes
        await _quarantine(f"expected at most {limit} bytes, found {body.size} or more", body)
        return refusal(413, "too large", f"at most {limit} bytes", f"{body.size} or more")
    try:
        notification = await _understood(body.data)
    except BadInput as error:
        await _quarantine(str(error), body)
        field, _, complaint = str(error).partition(": ")
        return JSONResponse(
            {"error": "not understood", "field": field, "complaint": complaint}, status_code=422
        )
    taken = await group.commit(Received(body.data, notification, source))
    if isinstance(taken, Spooled):
        metrics.STORED.labels("spool").inc()
        return JSONResponse({"spooled": taken.digest}, status_code=202)
    return _answer(taken)


async def _understood(body: bytes) -> Notification:
    if len(body) <= _INLINE_BYTES:
        return parse(body)
    return await run_in_threadpool(parse, body)


async def _quarantine(reason: str, body: _Body) -> None:
    await run_in_threadpool(quarantine.keep, reason, body.size, body.data)
    metrics.QUARANTINED.inc()
    log.warning("quarantined", extra={"reason": reason})


def _answer(taken: Taken) -> JSONResponse:
    account_for(taken)
    return JSONResponse(
        {
            "stored": taken.digest,
            "duplicate": taken.duplicate,
            "new_alerts": taken.new_alerts,
            "opened": taken.opened,
            "joined": taken.joined,
            "not_admitted": taken.not_admitted,
        }
    )


def _fitting_token(request: Request) -> bytes | None:
    """The digest of the token that was given, if it is one of ours.

    Compares digests, all of them every time: the time it takes tells nothing.
    """
    given = hashlib.sha256(bearer(request).encode()).digest()
    fits = False
    for digest in _digests(settings().gateway.alert_tokens):
        fits = hmac.compare_digest(given, digest) or fits
    return given if fits else None


@lru_cache(maxsize=4)
def _digests(tokens: tuple[SecretStr, ...]) -> tuple[bytes, ...]:
    """Of the tokens that are not empty: nobody comes in with nothing."""
    secrets = [token.get_secret_value() for token in tokens]
    return tuple(hashlib.sha256(secret.encode()).digest() for secret in secrets if secret)


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
