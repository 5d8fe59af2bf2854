"""Who is asking, looked up on every request: a bearer token, a session, or a proxy's word.

In this order, and the first that is there decides: who sends a bearer token is judged by it alone.
Session and proxy are ambient: a browser sends them along whoever made it ask. So what they ask for
is done only with the CSRF token of their own pages (`deployments/gateway/csrf.py`).
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from deployments.gateway import cookie, csrf
from deployments.gateway.answers import Turned, bearer
from tasks.domain.alertmanager import clean
from tasks.domain.roles import ACTS, Act, allowed
from tasks.settings import settings
from tasks.work import sessions
from tasks.work.people import Person, authenticate, find_proxied

__all__ = [
    "Approver",
    "Caller",
    "Person",
    "Reader",
    "Responder",
    "Turned",
    "Who",
    "address_of",
    "caller",
    "identify",
    "permitted",
]

PROXY_SECRET = "X-Runbook-Proxy-Secret"  # noqa: S105 - the name of a header
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SHOWN = 80
_ADDRESS_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Who:
    """A person, and what their forms must send as `csrf`; empty with a bearer token: nothing."""

    person: Person
    csrf: str = ""


def identify(request: Request) -> Who:
    """The person behind a request, found once per request. Raises Turned: 401, or 403 by proxy."""
    known = getattr(request.state, "who", None)
    if isinstance(known, Who):
        return known
    who = _by_token(request) if _has_bearer(request) else _by_session(request) or _by_proxy(request)
    if who is None:
        raise Turned(
            401, "unauthorised", "a person's valid token or login", "none that fits", "log in"
        )
    request.state.who = who
    return who


async def caller(request: Request, who: Annotated[Who, Depends(identify)]) -> Who:
    """The person, who has asked for this themselves."""
    if who.csrf and request.method not in _SAFE:
        csrf.check_origin(request)
        await csrf.check_token(request, who.csrf)
    return who


Caller = Annotated[Who, Depends(caller)]


def permitted(act: Act) -> Callable[[Who], Person]:
    """A dependency: the person, whose role allows the act. Raises Turned 403."""

    def check(who: Caller) -> Person:
        if act not in ACTS[who.person.role]:
            roles = ", ".join(allowed(act))
            raise Turned(
                403, "forbidden", f"a role that may {act}: {roles}", f"a {who.person.role}"
            )
        return who.person

    return check


Reader = Annotated[Person, Depends(permitted(Act.READ))]
Responder = Annotated[Person, Depends(permitted(Act.ACKNOWLEDGE))]
Approver = Annotated[Person, Depends(permitted(Act.DECIDE))]


def _is_from_proxy(request: Request) -> bool:
    """Whether the trusted proxy has passed this request on: it alone knows the secret."""
    gateway = settings().gateway
    if not gateway.proxy_user_header:
        return False
    given = request.headers.getlist(PROXY_SECRET)
    if len(given) != 1:
        return False
    expected = hashlib.sha256(gateway.proxy_secret.get_secret_value().encode()).digest()
    return hmac.compare_digest(hashlib.sha256(_text(given[0]).encode()).digest(), expected)


def address_of(request: Request) -> str:
    """Whence it comes: behind the trusted proxy, the last address that the proxy has seen."""
    if _is_from_proxy(request):
        forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if forwarded:
            return forwarded[:_ADDRESS_LENGTH]
    return request.client.host if request.client else ""


def _has_bearer(request: Request) -> bool:
    return request.headers.get("authorization", "").split(" ", 1)[0].lower() == "bearer"


def _by_token(request: Request) -> Who | None:
    token = bearer(request)
    person = authenticate(token) if token else None
    return None if person is None else Who(person)


def _by_session(request: Request) -> Who | None:
    secret = cookie.secret_of(request)
    found = sessions.find(secret) if secret else None
    return None if found is None else Who(*found)


def _by_proxy(request: Request) -> Who | None:
    if not _is_from_proxy(request):
        return None
    named = request.headers.getlist(settings().gateway.proxy_user_header)
    if not any(named):  # the proxy lets some paths through without a login
        return None
    person = find_proxied(_text(named[0])) if len(named) == 1 else None
    if person is None:
        raise Turned(
            403,
            "unknown person",
            "one name, of a person who has been added",
            clean(", ".join(map(_text, named)), _SHOWN),
            "ask the gateway's administrator: runbook token new NAME --role ROLE --no-token",
        )
    secret = settings().gateway.proxy_secret.get_secret_value()
    return Who(
        person, hmac.new(secret.encode(), b"csrf " + person.name.encode(), "sha256").hexdigest()
    )


def _text(header: str) -> str:
    """A header as the proxy meant it: UTF-8, which arrives here as Latin-1."""
    return header.encode("latin-1").decode(errors="replace")
