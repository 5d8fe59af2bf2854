"""What tests of dispatch share: incidents whose title says what their run shall do."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.prefect_api import PrefectApi
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Stage
from tasks.work import incidents, journal, responder
from tests.gateway.stack import until_true

Dispatching = tuple[Dispatcher, PrefectApi]


@contextmanager
def running_dispatcher(url: str, environment: pytest.MonkeyPatch) -> Iterator[Dispatching]:
    """A dispatcher with two warm children over the sample flows; second client for tests."""
    environment.setenv("PREFECT_API_URL", url)
    environment.setenv("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    environment.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
    with PrefectApi(url) as api, PrefectApi(url) as eyes:
        dispatcher = Dispatcher(
            api, children=2, modules=["tests.gateway.sample_flows"], stop_grace_seconds=0.5
        )
        dispatcher.start()
        try:
            until_true(lambda: dispatcher.warm_children == 2, 60)
            yield dispatcher, eyes
        finally:
            dispatcher.stop()


def declare(title: str) -> str:
    return incidents.declare(title, "audit-trail", "audit_trail", by="anna")


def declare_urgent(title: str) -> str:
    """An incident whose run is ordered as P0."""
    incident = incidents.declare(title, "api", "api_service", by="anna", starts_run=False)
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:1", priority=0)
    return incident


def facts(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def is_closed(incident: str) -> bool:
    return journal.read(incident).stage is Stage.CLOSED


def results(incident: str) -> list[str | None]:
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT result FROM dispatches WHERE incident = %s ORDER BY id", (incident,)
        ).fetchall()
    return [row[0] for row in rows]


def runs_of(url: str, incident: str) -> list[dict[str, str]]:
    wanted = {"flow_runs": {"tags": {"all_": [incident]}}}
    found = httpx.post(f"{url}/flow_runs/filter", json=wanted, timeout=10)
    return [
        {"id": run["id"], "name": run["name"], "state": run["state_name"]} for run in found.json()
    ]
