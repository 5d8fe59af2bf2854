"""The privacy engine's part of the audit API: budget, releases, probes of its noise, brakes.

A release is noise on an answer, and an event of the log in the same breath. Halted, the engine
refuses every release, and the API every record of one: what is not released is not recorded.
"""

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import psycopg
from fastapi import APIRouter, Depends, Header, HTTPException, Query
from prometheus_client import CollectorRegistry, Gauge
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from deployments.lab.audit_appender import Appender, Unavailable
from deployments.lab.privacy_engine_state import Engine, EngineState
from tasks.domain.privacy_spends import digest

RELEASE = "privacy_budget_update"
LOCKED = 423
"""HTTP's Locked: what a refused release is answered with."""

_CHANCE = random.SystemRandom()
_MOST_SAMPLES = 20_000
_MOST_PUBLISHED = 20_000
_LAST = (
    "SELECT event_data FROM audit_events WHERE seq = (SELECT max(seq) FROM audit_records"
    " WHERE event_type = 'privacy_budget_update')"
)
_CONSUMED = "SELECT annotator, sum(epsilon_used) FROM privacy_budgets GROUP BY 1"
# Published as the anonymisation makes it: in bands, and no group below five or of one reward alone.
_PUBLISHED = """
WITH banded AS (
    SELECT s.model, to_char(a.created_at, 'YYYY-MM-DD') AS day,
           CASE WHEN a.seconds < 60 THEN 'short' WHEN a.seconds < 120 THEN 'middle' ELSE 'long' END
               AS seconds_band,
           CASE WHEN a.reward < 0.3 THEN 'low' WHEN a.reward < 0.7 THEN 'middle' ELSE 'high' END
               AS reward_band
      FROM annotations a JOIN audit_sessions s USING (session_id)
), kept AS (
    SELECT model, day, seconds_band FROM banded GROUP BY 1, 2, 3
    HAVING count(*) >= 5 AND count(DISTINCT reward_band) >= 2
)
SELECT model, day, seconds_band, reward_band, count(*) OVER () AS total
  FROM banded JOIN kept USING (model, day, seconds_band) ORDER BY 1, 2, 3, 4 LIMIT %s
"""


class Serves(Protocol):
    """What of the audit API the engine needs."""

    appender: Appender

    def database(self) -> AbstractContextManager[psycopg.Connection]:
        """A read-only connection."""
        ...


class Probe(BaseModel):
    """How many samples of noise on the synthetic data are wanted."""

    samples: int = Field(ge=1, le=_MOST_SAMPLES)


class Release(BaseModel):
    """A question to be answered with noise. `event_id` names it: asked again, it is the same."""

    event_id: str = Field(pattern="^[0-9a-f]{32}$")
    session_id: str = Field(min_length=1, max_length=128)
    annotator: str = Field(min_length=1, max_length=128)
    epsilon: float = Field(gt=0, le=100)


class Halt(BaseModel):
    """Who wants every release refused, and why."""

    incident: str = Field(min_length=1, max_length=100)
    reason: str = Field(min_length=1, max_length=2000)


class Epoch(BaseModel):
    """The next epoch, and the blocks about which nothing is released any more."""

    epoch: int = Field(ge=2, le=1_000_000)
    retire: list[str] = Field(max_length=100_000)
    plan: str = Field(min_length=1, max_length=100)


@dataclass(slots=True)
class PrivacyEngine:
    """The engine behind its endpoints, and the metric of what is left."""

    service: Serves
    state: Engine
    control_token: str
    remaining: Gauge
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def new(
        cls, service: Serves, state: Engine, control_token: str, registry: CollectorRegistry
    ) -> "PrivacyEngine":
        """With a gauge of its own in the API's registry; it is no number until it was counted."""
        gauge = Gauge("privacy_budget_remaining", "Epsilon that is left.", registry=registry)
        gauge.set(float("nan"))
        return cls(service, state, control_token, gauge)

    def check_releases(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Refuse a batch that records a release which must not be made."""
        blocks = [
            str(event["data"].get("annotator", ""))
            for event in events
            if event["event_type"] == RELEASE
        ]
        if blocks:
            self.require_open(self.state.now(), blocks)

    def require_open(self, state: EngineState, blocks: Iterable[str]) -> None:
        """Raises 423 while releases are halted, and for a block that was retired."""
        if state.halted:
            raise HTTPException(LOCKED, f"releases are halted by {state.halted_by}: {state.reason}")
        retired = set(state.retired)
        if any(digest(block) in retired for block in blocks):
            raise HTTPException(LOCKED, "the block of data is retired: nothing is released of it")

    def parameters(self) -> dict[str, Any]:
        """What the last release was made with; 404 before the first."""
        with self.service.database() as connection:
            row = connection.execute(_LAST).fetchone()
        if row is None or not isinstance(row[0], dict):
            raise HTTPException(404, "no privacy budget was recorded yet")
        return dict(row[0])

    def budget(self) -> dict[str, float]:
        """The ledger's own sums, of what is not retired."""
        total, retired = float(self.parameters()["total_epsilon"]), set(self.state.now().retired)
        with self.service.database() as connection:
            rows = connection.execute(_CONSUMED).fetchall()
        consumed = float(sum(spent for name, spent in rows if digest(name) not in retired))
        self.remaining.set(total - consumed)
        return {
            "total_epsilon": total,
            "consumed_epsilon": round(consumed, 9),
            "remaining_epsilon": round(total - consumed, 9),
        }

    def count(self) -> None:
        """Bring the metric up to date soon, once a second at most; nobody waits for it."""
        if self._counting.acquire(blocking=False):
            threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        try:
            with suppress(HTTPException, psycopg.Error):
                self.budget()
            time.sleep(1)
        finally:
            self._counting.release()

    def samples(self, number: int) -> dict[str, Any]:
        """Noise of the code that releases use, on an answer that is known: zero."""
        said, factor = self.parameters(), self.state.now().noise_factor
        scale = float(said["noise_multiplier"]) * float(said["clip_norm"])
        samples = [_CHANCE.gauss(0, scale) * factor for _ in range(number)]
        return {"mechanism": "gaussian", "scale": scale, "samples": samples}

    def release(self, asked: Release) -> dict[str, Any]:
        """An answer with Laplace noise, charged and recorded before it is given."""
        state = self.state.now()
        self.require_open(state, [asked.annotator])
        noise = _CHANCE.expovariate(asked.epsilon) - _CHANCE.expovariate(asked.epsilon)
        data = self.parameters() | {
            "annotator": asked.annotator,
            "epsilon_spent": asked.epsilon,
            "delta_spent": 0.0,
            "mechanism": "laplace",
        }
        event = {
            "event_id": asked.event_id,
            "event_type": RELEASE,
            "session_id": asked.session_id,
            "timestamp": datetime.now(UTC).isoformat(),
            "data": data,
        }
        try:
            (receipt,) = self.service.appender.append([event])
        except Unavailable as error:
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from error
        self.count()
        return {"seq": receipt.seq, "answer": noise * state.noise_factor}


def add_privacy_routes(api: APIRouter, engine: PrivacyEngine) -> None:
    """What everybody with the API's token may ask."""

    @api.get("/privacy/config")
    def config() -> dict[str, Any]:
        state = engine.state.now()
        return {
            **engine.parameters(),
            **engine.budget(),
            "halted": state.halted,
            "epoch": state.epoch,
            "retired": list(state.retired),
        }

    @api.get("/privacy/budget")
    def budget() -> dict[str, Any]:
        return {**engine.budget(), "days_until_reset": None}

    @api.post("/privacy/probe")
    def probe(asked: Probe) -> dict[str, Any]:
        return engine.samples(asked.samples)

    @api.get("/privacy/published")
    def published(
        limit: Annotated[int, Query(ge=1, le=_MOST_PUBLISHED)] = 1000,
    ) -> dict[str, Any]:
        with (
            engine.service.database() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            found = cursor.execute(_PUBLISHED, (limit,)).fetchall()
        total = found[0]["total"] if found else 0
        return {"records": [_without_total(each) for each in found], "total": total}

    @api.post("/privacy/releases")
    def release(asked: Release) -> dict[str, Any]:
        return engine.release(asked)


def add_brakes(controlled: APIRouter, engine: PrivacyEngine) -> None:
    """What only the control token may do."""

    @controlled.post("/privacy/releases/halt")
    def halt(asked: Halt) -> dict[str, Any]:
        return _said(engine.state.halt(asked.incident, asked.reason))

    @controlled.post("/privacy/releases/resume")
    def resume() -> dict[str, Any]:
        return _said(engine.state.resume())

    @controlled.post("/privacy/epochs")
    def epochs(asked: Epoch) -> dict[str, Any]:
        found = engine.state.open_epoch(asked.epoch, map(digest, asked.retire))
        if found is None:
            raise HTTPException(409, f"the engine is in epoch {engine.state.now().epoch}")
        return _said(found)


def controlling(engine: PrivacyEngine) -> Any:  # noqa: ANN401  FastAPI's own kind of dependency
    """A dependency: the control token, which no other one replaces."""
    return Depends(_control(engine))


def _control(engine: PrivacyEngine) -> Callable[..., None]:
    def check(authorization: Annotated[str, Header()] = "") -> None:
        expected = f"Bearer {engine.control_token}".encode()
        given = authorization.encode(errors="replace")
        if not engine.control_token or not secrets.compare_digest(given, expected):
            raise HTTPException(
                401, "the control token is required", {"WWW-Authenticate": "Bearer"}
            )

    return check


def _said(state: EngineState) -> dict[str, Any]:
    return {"halted": state.halted, "epoch": state.epoch, "retired": list(state.retired)}


def _without_total(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "total"}
