"""The gateway as one ASGI application: intake, decisions, reading, and what runs beside them."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from deployments.gateway import decisions, intake, reading
from deployments.gateway.answers import refusal
from deployments.gateway.body_guard import BodyGuard
from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.people import Turned
from deployments.gateway.ticker import Ticker
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import clean
from tasks.work import responder

log = logging.getLogger("gateway")


def build_app(dispatcher: Dispatcher | None = None, ticker: Ticker | None = None) -> FastAPI:
    """The application. Without a dispatcher and a ticker it takes and shows, and starts nothing."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(responder.migrate)
        parts = [part for part in (dispatcher, ticker) if part is not None]
        for part in parts:
            part.start()
        yield
        for part in reversed(parts):
            await run_in_threadpool(part.stop)
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
    app.add_middleware(BodyGuard)
    app.include_router(intake.router)
    app.include_router(decisions.router)
    app.include_router(reading.router)
    app.add_exception_handler(Turned, _turned)
    app.add_exception_handler(Transient, _unavailable)
    app.add_exception_handler(RequestValidationError, _not_understood)
    return app


def _turned(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Turned):
        raise error
    return refusal(error.status, error.error, error.expected, error.found)


def _unavailable(request: Request, error: Exception) -> JSONResponse:
    log.warning("unavailable at %s: %s", request.url.path, type(error).__name__)
    return refusal(503, "unavailable", "our database", "none that answers", "try again")


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
