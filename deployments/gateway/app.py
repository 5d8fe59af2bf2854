"""The gateway as one ASGI application: intake, decisions, reading, and what runs beside them."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from deployments.gateway import (
    decisions,
    live,
    login,
    measuring,
    reading,
    reviews,
    statements,
    status_page,
)
from deployments.gateway.answers import Turned, refusal
from deployments.gateway.body_guard import BodyGuard
from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.pages import figures_page, say, show, static_files, write_review
from deployments.gateway.pages.known import VERIFY
from deployments.gateway.pages.look import wants_page
from deployments.gateway.pages.page_route import turned_page
from deployments.gateway.rate_limit import RateLimit
from deployments.gateway.reconciler import Reconciler
from deployments.gateway.safe_headers import SafeHeaders
from deployments.gateway.storing import open_storing
from deployments.gateway.ticker import Ticker
from deployments.gateway.webhook import Webhook
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput
from tasks.settings import settings
from tasks.work import responder

log = logging.getLogger("gateway")


def build_app(
    dispatcher: Dispatcher | None = None,
    ticker: Ticker | None = None,
    reconciler: Reconciler | None = None,
) -> FastAPI:
    """The application. Without a dispatcher and a ticker it takes and shows, and starts nothing.

    Without a reconciler nobody asks Alertmanager: then nothing tells of what never arrived.
    """

    @asynccontextmanager
    async def lifespan(served: FastAPI) -> AsyncIterator[None]:
        storing = await run_in_threadpool(open_storing)
        storing.start()
        served.state.group_commit = storing
        parts = [part for part in (dispatcher, ticker, reconciler) if part is not None]
        for part in parts:
            part.start()
        if reconciler is None:
            log.warning(
                "no Alertmanager is asked: an alert whose notification is lost is never found;"
                " set RUNBOOK_ALERTMANAGER__URLS"
            )
        yield
        for part in reversed(parts):
            await run_in_threadpool(part.stop)
        await run_in_threadpool(storing.stop)
        responder.close()

    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # Alertmanager takes a redirect for success, and the alert is lost
        lifespan=lifespan,
    )
    app.state.dispatcher = dispatcher
    app.state.ticker = ticker
    app.state.reconciler = reconciler
    app.state.live = live.Live()
    app.state.registry = measuring.new_registry(app.state)
    limits = settings().gateway
    app.state.rate_limit = RateLimit(limits.alerts_per_second, limits.alerts_burst)
    app.add_middleware(BodyGuard)
    app.add_middleware(Webhook)
    app.add_middleware(SafeHeaders)  # the last one is the outermost: what the guard refuses, too
    app.include_router(decisions.router)
    app.include_router(statements.router)
    app.include_router(reviews.router)
    app.include_router(figures_page.router)
    app.include_router(figures_page.pages)
    app.include_router(status_page.router)
    app.include_router(reading.router)
    app.include_router(measuring.router)
    app.include_router(login.build_router())
    for pages in (show, say, write_review, static_files, live):
        app.include_router(pages.router)
    app.add_exception_handler(Turned, _turned)
    app.add_exception_handler(Transient, _unavailable)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(BadInput, _unreadable)
    return app


async def _turned(request: Request, error: Exception) -> Response:
    if not isinstance(error, Turned):
        raise error
    return await turned_page(request, error) if wants_page(request) else error.answer()


def _unavailable(request: Request, error: Exception) -> JSONResponse:
    log.warning("unavailable at %s: %s", request.url.path, type(error).__name__)
    return refusal(503, "unavailable", "our database", "none that answers", "try again")


def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """What a route did not foresee: most of all a line of the journal that is no fact."""
    log.warning("cannot be read at %s: %s", request.url.path, error)
    return refusal(422, "cannot be read", "what can be read", clean(str(error)), VERIFY)


def _not_understood(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    if first["loc"][0] == "path":  # an id that cannot exist is an id that does not exist
        return refusal(404, "not found", f"a well-formed {field}", "another text")
    return refusal(
        422, "not understood", f"{field}: {first['msg']}", clean(str(first["input"]), 80)
    )
