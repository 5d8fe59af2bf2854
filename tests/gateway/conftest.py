"""A real PostgreSQL, a real gateway over HTTP, and, where dispatch is tested, a real Prefect."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from deployments.gateway.app import build_app
from deployments.lab.postgres import SUPERUSER, PostgresServer
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from tasks.work import people
from tests.gateway.browsers import Browser
from tests.gateway.dispatching import Dispatching, running_dispatcher
from tests.gateway.stack import (
    ALERT_TOKEN,
    new_server,
    own_database,
    pointed_at,
    served,
    start_prefect,
)
from tests.room import open_place


@pytest.fixture(scope="session")
def lab_processes() -> Iterator[Processes]:
    with tempfile.TemporaryDirectory(dir=open_place()) as directory:
        processes = Processes(StateDirectory.take(Path(directory)))
        try:
            yield processes
        finally:
            processes.stop_all()


@pytest.fixture(scope="session")
def server(lab_processes: Processes) -> PostgresServer:
    started = new_server(lab_processes, "gateway-tests", fsync=False)
    started.start()
    return started


@pytest.fixture(scope="session")
def migrated(server: PostgresServer) -> str:
    """Name of a database with our tables, of which each test gets a copy."""
    name = "migrated"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with pytest.MonkeyPatch.context() as patch, pointed_at(server.dsn(SUPERUSER, name), patch):
        return name


@pytest.fixture
def database(
    server: PostgresServer, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database of its own for the responder; every setting points to it."""
    with own_database(server, migrated, monkeypatch) as dsn:
        yield dsn


@pytest.fixture
def gateway(database: str) -> Iterator[str]:
    """Base URL of a gateway that takes and shows, and starts nothing."""
    assert database
    with served(build_app()) as url:
        yield url


@pytest.fixture
def sender(gateway: str) -> Iterator[httpx.Client]:
    """Alertmanager, as far as we see it."""
    headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    with httpx.Client(base_url=gateway, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def person(gateway: str) -> Iterator[Callable[[str, str], httpx.Client]]:
    """Makes a person with a role and returns their client."""
    clients: list[httpx.Client] = []

    def make(name: str, role: str) -> httpx.Client:
        token = people.add_person(name, role, timedelta(hours=1))
        headers = {"Authorization": f"Bearer {token}"}
        clients.append(httpx.Client(base_url=gateway, headers=headers, timeout=30))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def log_in(gateway: str) -> Iterator[Callable[[str, str], Browser]]:
    """Makes a person with a role and returns their browser, logged in."""
    browsers: list[Browser] = []

    def make(name: str, role: str) -> Browser:
        token = people.add_person(name, role, timedelta(hours=1))
        browsers.append(Browser(gateway, token))
        return browsers[-1]

    yield make
    for browser in browsers:
        browser.client.close()


@dataclass(frozen=True)
class Prefect:
    """A running server with the sample flows deployed."""

    url: str


@pytest.fixture(scope="session")
def prefect(server: PostgresServer, lab_processes: Processes) -> Prefect:
    samples = {name: f"tests.gateway.sample_flows.{name}" for name in ("incident", "escalation")}
    return Prefect(start_prefect(server, lab_processes, samples))


@pytest.fixture
def dispatching(
    database: str, prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dispatching]:
    """A dispatcher with two warm children over the sample flows; second client for tests."""
    assert database
    with running_dispatcher(prefect.url, monkeypatch) as running:
        yield running
