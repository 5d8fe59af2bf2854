"""What a page's route answers when it cannot do what was asked: a page that says what to do next.

Programs get the same as JSON from their own addresses; people must never be left with that, and
what they had typed is shown to them again.
"""

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from deployments.gateway.answers import Turned
from deployments.gateway.forms import texts
from deployments.gateway.local_paths import local_path
from deployments.gateway.pages.look import HEADERS, page
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput, NotPermitted, Refused, RunbookError
from tasks.work.floor import NoSuchIncident

_TYPED = ("reason", "text", "title")
_TYPED_LIMIT = 4000
_FORM_OF_INCIDENT = re.compile(r"(/i/[A-Za-z0-9_-]{1,64})/[a-z-]+")
_FORMS_OF_THEIR_OWN = frozenset({"/declare", "/hold", "/login"})
_TITLES = {400: "Not understood", 429: "Not so fast"}
_GO_BACK = "Nothing was recorded. Go back in your browser"


class PageRoute(APIRoute):
    """A route whose refusals are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler, with its errors told in pages."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except Turned as turned:
                return await turned_page(request, turned)
            except (RunbookError, Transient, RequestValidationError, HTTPException) as error:
                return await refused_page(request, error)

        return told


async def turned_page(request: Request, turned: Turned) -> Response:
    """What a browser is shown in place of `Turned.answer`: where to log in, or why it may not."""
    if turned.status != HTTPStatus.UNAUTHORIZED:
        said = f"Expected {turned.expected}, found {turned.found}. {turned.next_step}"
        title = _TITLES.get(turned.status, "You may not do that")
        answer = await _message(request, turned.status, title, said)
        answer.headers.update(turned.headers())
        return answer
    if request.method != "GET":
        said = "You are not logged in (any more). Log in, then send it again."
        return await _message(request, turned.status, "Nothing was recorded", said)
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A link from chat: the browser keeps its strict cookie to itself until we send it on.
        return page("bounce.html.j2", address=local_path(_address(request)))
    return RedirectResponse(login_address(_address(request)), 303, headers=dict(HEADERS))


def strangers_page(request: Request) -> Response:
    """The same for a form whose words are not read, because nobody known has sent it."""
    said = (
        "You are not logged in (any more). What you wrote is still in the form when you go back in"
        " your browser: log in in another tab, then load the page anew."
    )
    return _shown(request, HTTPStatus.UNAUTHORIZED, "Nothing was recorded", said)


def too_large_page(request: Request, limit: int) -> Response:
    """For a form that is not read, because it is too long."""
    said = f"{_GO_BACK} and say it in fewer words: a form takes {limit // 1024} KiB."
    return _shown(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too long", said)


def too_slow_page(request: Request, seconds: float) -> Response:
    """For a form that did not arrive."""
    said = f"{_GO_BACK} and send it again: it did not arrive whole within {seconds:g} s."
    return _shown(request, HTTPStatus.REQUEST_TIMEOUT, "That took too long", said)


async def refused_page(request: Request, error: Exception) -> Response:
    """Why it was not done, and the words of the form. Raises again what is no error of ours."""
    status, title, said = _told(error)
    if request.method == "GET" and status == HTTPStatus.UNPROCESSABLE_ENTITY:
        title = "This cannot be shown"
    return await _message(request, status, title, said)


def _told(error: Exception) -> tuple[int, str, str]:
    """Status, heading and sentence for an error of ours."""
    unknown = (404, "No such incident", "No fact in the journal names it. Look it up in the list.")
    away = (
        "Our database does not answer. Nothing was recorded: try again in a moment. Alerts go on"
        " being taken."
    )
    told: tuple[int, str, str] = (422, "Nothing was recorded", str(error))
    match error:
        case NoSuchIncident():
            told = unknown
        case RequestValidationError():
            first = error.errors()[0]
            complaint = f"{first['loc'][-1]}: {first['msg']}"
            told = unknown if first["loc"][0] == "path" else (*told[:2], complaint)
        case NotPermitted():
            told = (403, "You may not do that", str(error))
        case Refused():
            told = (409, "Not possible as things stand", str(error))
        case HTTPException():
            told = (error.status_code, "Not understood", f"Expected a form, found: {error.detail}")
        case Transient():
            told = (503, "Nothing could be read or recorded", away)
        case BadInput():
            pass
        case _:
            raise error
    return told


async def _message(request: Request, status: int, title: str, said: str) -> Response:
    return _shown(request, status, title, clean(said), await _typed(request))


def _shown(request: Request, status: int, title: str, said: str, typed: str = "") -> Response:
    return page(
        "message.html.j2",
        status,
        title=title,
        why=said,
        typed=typed,
        login=login_address(_back(request)) if status == HTTPStatus.UNAUTHORIZED else "",
        back=_back(request),
    )


async def _typed(request: Request) -> str:
    """The words of a form that was not taken: nobody should have to write them twice."""
    if request.method != "POST":
        return ""
    return clean("\n".join(await texts(request, _TYPED)), _TYPED_LIMIT)


def _address(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def _back(request: Request) -> str:
    """The page that the form stands on, by its address: no route may have been found yet."""
    path = request.url.path
    of_incident = _FORM_OF_INCIDENT.fullmatch(path)
    if of_incident is not None:
        return of_incident[1]
    return path if path in _FORMS_OF_THEIR_OWN else "/"


def login_address(after: str) -> str:
    """Where to log in, and to come back to `after` from."""
    return f"/login?next={quote(after, safe='')}"
