"""The audit API of the system under care: what the runbook calls, computed from the real table.

    python -m deployments.lab.audit_api

Environment: LAB_API_DSN (role audit_api), LAB_API_TOKEN, LAB_API_PORT, LAB_ORIGIN,
LAB_API_CHECKED_PER_SECOND (records of the rolling check; 0 switches it off), LAB_API_EFFECT (file
that says what ails its answers), LAB_API_ENGINE (file of the privacy engine's state) and
LAB_API_CONTROL_TOKEN (its brakes), LAB_API_ACCESS_LOG (1: a line about each request).
"""

import asyncio
import os
import re
import secrets
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import psycopg
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from deployments.lab import audit_checks
from deployments.lab.audit_appender import Appender, Unavailable
from deployments.lab.audit_checks import RollingCheck
from deployments.lab.effects import Strain
from deployments.lab.environment import LOOPBACK
from deployments.lab.privacy_api import (
    RELEASE,
    PrivacyEngine,
    add_brakes,
    add_privacy_routes,
    controlling,
)
from deployments.lab.privacy_engine_state import Engine

_MOST_RECORDS = 500
_MOST_SAMPLED = 20_000
_MOST_EVENTS = 1000
_SUSPICIOUS_DENIALS = 5
_RECENT = 1000
_ACCOUNT = re.compile(r"[A-Za-z0-9._@-]{1,64}")

_RECORDS = (
    "SELECT seq, event_id, event_type, session_id, timestamp, event_data, integrity_hash"
    " FROM audit_events WHERE seq IN (SELECT seq FROM audit_records"
    " WHERE %(type)s::text IS NULL OR event_type = %(type)s ORDER BY seq DESC LIMIT %(limit)s)"
    " ORDER BY seq DESC"
)
_DENIALS = (
    "SELECT event_data ->> 'user' AS user, count(*) AS denied, min(timestamp) AS first,"
    " max(timestamp) AS last, array_agg(DISTINCT event_data ->> 'address') AS addresses"
    " FROM audit_events WHERE seq IN (SELECT seq FROM audit_records"
    " WHERE event_type = 'access_attempt') AND event_data ->> 'outcome' = 'denied'"
    " GROUP BY 1 HAVING count(*) >= %s ORDER BY denied DESC LIMIT 100"
)
_GRANTS = (
    "SELECT has_table_privilege('audit_records', 'UPDATE')"
    " OR has_table_privilege('audit_records', 'DELETE')"
    " OR has_table_privilege('audit_records', 'TRUNCATE') AS too_much"
)


class Event(BaseModel):
    """One event as a component reports it; the API adds its place in the log."""

    event_id: str = Field(min_length=1, max_length=64)
    event_type: str = Field(pattern="^[a-z_]{1,64}$")
    session_id: str = Field(min_length=1, max_length=128)
    timestamp: str = Field(max_length=40)
    data: dict[str, Any]


class Batch(BaseModel):
    """Events that are written together or not at all."""

    events: list[Event] = Field(min_length=1, max_length=_MOST_EVENTS)


@dataclass(slots=True)
class Metrics:
    """What /metrics shows. `up` is Prometheus's own series about the scrape."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    records: Gauge
    passed: Gauge
    refused_logins: Counter
    write_errors: Counter

    @classmethod
    def new(cls) -> "Metrics":
        """Fresh series in a registry of their own."""
        registry = CollectorRegistry()
        names = ["method", "endpoint", "status"]
        return cls(
            registry,
            Counter("http_requests", "Requests answered.", names, registry=registry),
            Histogram(
                "http_request_duration_seconds", "Time to answer.", ["endpoint"], registry=registry
            ),
            Gauge("audit_records_total", "Records acknowledged or found.", registry=registry),
            Gauge("audit_log_integrity_check_passed", "1 or 0: last check.", registry=registry),
            Counter("authentication_failures", "Wrong or missing tokens.", registry=registry),
            Counter("audit_log_write_errors", "Batches that cannot be written.", registry=registry),
        )


@dataclass(slots=True)
class Service:
    """What the endpoints share."""

    dsn: str
    token: str
    appender: Appender
    check: RollingCheck
    metrics: Metrics
    strain: Strain

    def acknowledged(self) -> int:
        """Records that were acknowledged or found at the start; 0 when nothing is known."""
        try:
            return self.appender.head().size
        except Unavailable:
            return 0

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """A read-only connection for one request; a database that is away is a 503."""
        try:
            with psycopg.connect(
                self.dsn,
                autocommit=True,
                connect_timeout=3,
                options="-c default_transaction_read_only=on -c statement_timeout=60000",
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise HTTPException(503, f"the database does not answer: {str(error)[:200]}") from error


def create_app(
    dsn: str,
    token: str,
    origin: str,
    *,
    checked_per_second: int = 0,
    hold_seconds: float = 30.0,
    effect: Path | None = None,
    access_log: bool = False,
    engine: Path | None = None,
    control_token: str = "",
) -> FastAPI:
    """The application over one database; `effect`: a file that says what ails its answers.

    `engine`: the file of the privacy engine's state; `control_token` halts it.
    """
    metrics = Metrics.new()
    appender = Appender(dsn, origin, hold_seconds, metrics.write_errors.inc)
    service = Service(
        dsn, token, appender, RollingCheck(dsn, checked_per_second), metrics, Strain(effect)
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.check.start()
        yield
        service.check.stop()
        service.appender.close()

    app = FastAPI(title="RLHF Audit Trail", docs_url=None, redoc_url=None, lifespan=lifespan)
    _measure(app, service.metrics)
    if access_log:
        _log_requests(app)
    _add_open_routes(app, service)
    api = APIRouter(
        prefix="/api/v1", dependencies=[Depends(_strained(service)), Depends(_bearer(service))]
    )
    privacy = PrivacyEngine.new(service, Engine(engine), control_token, metrics.registry)
    _add_log_routes(api, service, privacy)
    _add_check_routes(api, service)
    add_privacy_routes(api, privacy)
    app.include_router(api)
    brakes = APIRouter(prefix="/api/v1", dependencies=[controlling(privacy)])
    add_brakes(brakes, privacy)
    app.include_router(brakes)
    return app


def _bearer(service: Service) -> Callable[..., None]:
    def check(authorization: Annotated[str, Header()] = "") -> None:
        expected = f"Bearer {service.token}".encode()
        if not secrets.compare_digest(authorization.encode(errors="replace"), expected):
            service.metrics.refused_logins.inc()
            raise HTTPException(401, "a bearer token is required", {"WWW-Authenticate": "Bearer"})

    return check


def _strained(service: Service) -> Callable[..., Awaitable[None]]:
    """Each request waits, or fails, as the file of effects wants it; in the lab's cluster alone."""

    async def strained() -> None:
        await asyncio.sleep(service.strain.delay())
        failure = service.strain.failure()
        if failure is not None:
            raise HTTPException(failure.status, failure.detail)

    return strained


def _log_requests(app: FastAPI) -> None:
    """A line for each answer, with the reason of those that are errors."""

    @app.exception_handler(HTTPException)
    async def noted(request: Request, error: HTTPException) -> Response:
        request.state.why = str(error.detail)
        return await http_exception_handler(request, error)

    @app.middleware("http")
    async def log(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        began = time.perf_counter()
        response = await call_next(request)
        if request.url.path != "/metrics":
            spent = round((time.perf_counter() - began) * 1000)
            level = "ERROR" if response.status_code >= 500 else "INFO"  # noqa: PLR2004
            why = " ".join(getattr(request.state, "why", "").split())[:300]
            asked = f"{request.method} {request.url.path}"
            who = _caller(request)
            asked = f'{who} "{asked} HTTP/1.1"' if who else asked
            said = f"{level} {asked} {response.status_code} {spent} ms"
            print(f"{said} {why}".rstrip(), flush=True)
        return response


def _caller(request: Request) -> str:
    """`address - account` of whoever came through the ingress; empty for a neighbour."""
    forwarded = request.headers.get("x-forwarded-for", "")
    try:
        address = str(ip_address(forwarded.partition(",")[0].strip()))
    except ValueError:
        return ""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    account = ""
    if scheme == "Basic":
        with suppress(ValueError):
            account = b64decode(given, validate=True).decode().partition(":")[0]
    return f"{address} - {account if _ACCOUNT.fullmatch(account) else '-'}"


def _measure(app: FastAPI, metrics: Metrics) -> None:
    @app.middleware("http")
    async def measure(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        began = time.perf_counter()
        response = await call_next(request)
        route = request.scope.get("route")
        endpoint = getattr(route, "path", "unmatched")  # never the raw path: that is unbounded
        metrics.requests.labels(request.method, endpoint, str(response.status_code)).inc()
        metrics.seconds.labels(endpoint).observe(time.perf_counter() - began)
        return response


def _add_open_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    @app.get("/health/ready")
    async def health() -> JSONResponse:
        await asyncio.sleep(service.strain.delay())
        return await run_in_threadpool(looked)

    def looked() -> JSONResponse:
        now = datetime.now(UTC).isoformat()
        try:
            with service.database() as connection:
                connection.execute("SELECT 1 FROM audit_records LIMIT 1")
        except HTTPException as error:
            return JSONResponse(
                {"status": "unhealthy", "timestamp": now, "reason": error.detail}, 503
            )
        return JSONResponse({"status": "healthy", "timestamp": now})

    @app.get("/metrics")
    def metrics() -> Response:
        service.metrics.records.set(service.acknowledged())
        service.metrics.passed.set(int(service.check.passed))
        return Response(generate_latest(service.metrics.registry), media_type="text/plain")


def _add_log_routes(api: APIRouter, service: Service, privacy: PrivacyEngine) -> None:
    @api.post("/audit/records")
    def append(batch: Batch) -> list[dict[str, Any]]:
        events = [event.model_dump() for event in batch.events]
        privacy.check_releases(events)
        try:
            receipts = service.appender.append(events)
        except Unavailable as error:
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from error
        if any(event["event_type"] == RELEASE for event in events):
            privacy.count()
        return [asdict(receipt) for receipt in receipts]

    @api.get("/audit/head")
    def head() -> dict[str, Any]:
        try:
            known = service.appender.head()
        except Unavailable as error:
            raise HTTPException(503, str(error)) from error
        return {"size": known.size, "leaf": known.leaf.hex()}

    @api.get("/audit/records")
    def records(
        limit: Annotated[int, Query(ge=1, le=_MOST_RECORDS)] = 100,
        event_type: Annotated[str | None, Query(pattern="^[a-z_]{1,64}$")] = None,
    ) -> dict[str, Any]:
        with service.database() as connection, connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(_RECORDS, {"type": event_type, "limit": limit}).fetchall()
        return {"records": found, "count": len(found)}

    @api.get("/users/activity/suspicious")
    def suspicious() -> dict[str, Any]:
        with service.database() as connection, connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(_DENIALS, (_SUSPICIOUS_DENIALS,)).fetchall()
        return {"users": found, "count": len(found), "denials_at_least": _SUSPICIOUS_DENIALS}


def _add_check_routes(api: APIRouter, service: Service) -> None:
    @api.get("/audit/integrity/verify")
    def verify(
        sample_size: Annotated[int, Query(ge=1, le=_MOST_SAMPLED)] = 1000,
        full: bool = False,  # noqa: FBT001, FBT002  a query parameter
    ) -> dict[str, Any]:
        acknowledged = service.acknowledged()  # first: the table only grows meanwhile
        with service.database() as connection:
            size = max(audit_checks.size_of(connection), acknowledged)
            if full:
                tally = audit_checks.check_range(connection, 0, size)
            else:
                tally = audit_checks.check_sample(connection, size, sample_size)
        service.check.conclude(tally, whole=full)
        looked = max(tally.records + tally.found, 1)
        return {
            "status": "failed" if tally.found else "verified",
            "records_verified": tally.records,
            "integrity_score": round(1 - tally.found / looked, 6),
            "anomalies_detected": tally.found,
            "anomalies": tally.anomalies,
        }

    @api.get("/audit/merkle/verify")
    def merkle() -> dict[str, Any]:
        with service.database() as connection:
            size, stored, computed = audit_checks.roots(connection)
        return {
            "status": "valid" if stored == computed else "invalid",
            "tree_size": size,
            "root_hash": stored.hex(),
            "recomputed_root": computed.hex(),
        }

    @api.get("/system/integrity/check")
    def system() -> dict[str, Any]:
        acknowledged = service.acknowledged()
        with service.database() as connection:
            size = audit_checks.size_of(connection)
            tally = audit_checks.check_range(connection, max(size - _RECENT, 0), size)
            row = connection.execute(_GRANTS).fetchone()
        checks = {
            "recent_records": tally.found == 0,
            "no_acknowledged_record_missing": acknowledged <= size,
            "append_only_role": row is not None and not row[0],
            "last_integrity_check": service.check.passed,
        }
        return {"status": "ok" if all(checks.values()) else "failed", "checks": checks}


def main() -> None:
    """Serve until SIGTERM."""
    app = create_app(
        os.environ["LAB_API_DSN"],
        os.environ["LAB_API_TOKEN"],
        os.environ["LAB_ORIGIN"],
        checked_per_second=int(os.environ.get("LAB_API_CHECKED_PER_SECOND", "2000")),
        effect=Path(os.environ["LAB_API_EFFECT"]) if "LAB_API_EFFECT" in os.environ else None,
        access_log=os.environ.get("LAB_API_ACCESS_LOG") == "1",
        engine=Path(os.environ["LAB_API_ENGINE"]) if "LAB_API_ENGINE" in os.environ else None,
        control_token=os.environ.get("LAB_API_CONTROL_TOKEN", ""),
    )
    uvicorn.run(
        app,
        host=LOOPBACK,
        port=int(os.environ["LAB_API_PORT"]),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
