"""`POST /login`: a token for a session, so that a browser need not keep the token. `POST /logout`.

The page with the form is among the other pages, and a wrong token leads back to it. Every login,
right or wrong, is an attempt of its source: so many per minute, then 429 (Alertmanager, which does
not understand that, has no business here).
"""

import math
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from deployments.gateway import cookie, csrf
from deployments.gateway.answers import Turned
from deployments.gateway.forms import field
from deployments.gateway.local_paths import local_path
from deployments.gateway.pages.page_route import PageRoute
from deployments.gateway.people import Caller, address_of
from deployments.gateway.rate_limit import RateLimit
from tasks.domain.errors import BadInput
from tasks.work import people, sessions

LOGIN = "/login"
_PER_SECOND = 1 / 6
_BURST = 10
_SEE_OTHER = 303


def build_router() -> APIRouter:
    """The two endpoints, with a table of attempts of their own."""
    router = APIRouter(route_class=PageRoute)
    attempts = RateLimit(_PER_SECOND, _BURST)

    @router.post(LOGIN)
    async def log_in(request: Request) -> RedirectResponse:
        """Begin a session with a new secret; the one that the browser had before ends."""
        csrf.check_origin(request)  # else another site could log its victim in as somebody else
        wait = attempts.seconds_until_free(address_of(request))
        if wait:
            raise Turned(
                429,
                "too many logins",
                f"at most {_BURST} at once from one address",
                "more",
                f"wait {math.ceil(wait)} s",
                retry_after=math.ceil(wait),
            )
        token = (await field(request, "token")).strip()
        secret = await run_in_threadpool(_begin, token, before=cookie.secret_of(request))
        after = local_path(await field(request, "next"))
        if not secret:
            return RedirectResponse(f"{LOGIN}?failed=1&next={quote(after, safe='')}", _SEE_OTHER)
        answer = RedirectResponse(after, _SEE_OTHER)
        cookie.give(answer, secret)
        return answer

    @router.post("/logout")
    def log_out(request: Request, _: Caller) -> RedirectResponse:
        """End the session, here and in the browser."""
        sessions.end(cookie.secret_of(request))
        answer = RedirectResponse(LOGIN, _SEE_OTHER)
        cookie.take(answer)
        return answer

    return router


def _begin(token: str, *, before: str) -> str:
    """The new session's secret; empty when the token is nobody's."""
    person = people.authenticate(token)
    if person is None:
        return ""
    try:
        secret = sessions.begin(person).secret
    except BadInput:  # revoked between the two looks
        return ""
    sessions.end(before)
    return secret
