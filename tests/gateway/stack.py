"""The parts of a gateway's surroundings, real ones: PostgreSQL, HTTP server, Prefect server."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from deployments.gateway.server import Server, configuration
from deployments.lab.postgres import (
    RESPONDER,
    SUPERUSER,
    PostgresServer,
    init_cluster,
    new_password,
)
from deployments.lab.processes import Child, Processes
from tasks.settings import settings
from tasks.work import responder

ALERT_TOKEN = "sender-token-1"
SECOND_ALERT_TOKEN = "sender-token-2"


def new_server(processes: Processes, name: str, *, fsync: bool = True) -> PostgresServer:
    """As in production; without fsync a dropped database costs no second, and a kill is no outage.

    Processes are killed in tests, never the power: what is acknowledged survives either way.
    """
    password = new_password()
    data = processes.state / name
    init_cluster(processes, data, password)
    options = RESPONDER if fsync else {**RESPONDER, "fsync": "off"}
    return PostgresServer(name, data, processes, options, {SUPERUSER: password})


@contextmanager
def pointed_at(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in [each for each in os.environ if each.startswith("RUNBOOK_")]:
        monkeypatch.delenv(name)  # a lab that another test of this process keeps running
    monkeypatch.setenv("RUNBOOK_RESPONDER__DSN", dsn)
    monkeypatch.setenv(
        "RUNBOOK_GATEWAY__ALERT_TOKENS", f'["{ALERT_TOKEN}", "{SECOND_ALERT_TOKEN}"]'
    )
    settings.cache_clear()
    responder.close()
    try:
        responder.migrate()
        yield dsn
    finally:
        responder.close()
        settings.cache_clear()


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The application behind a real server on loopback; on any free port for 0."""
    config = configuration(app, "127.0.0.1", 0)
    live = getattr(getattr(app, "state", None), "live", None)  # of the whole gateway only
    server = uvicorn.Server(config) if live is None else Server(config, live)
    listening = socket.create_server(("127.0.0.1", port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def own_database(
    server: PostgresServer, template: str, environment: pytest.MonkeyPatch
) -> Iterator[str]:
    """A copy of a database for the responder; every setting points to it."""
    name = f"responder_{time.monotonic_ns()}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    with pointed_at(server.dsn(SUPERUSER, name), environment) as dsn:
        yield dsn
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def start_prefect(
    server: PostgresServer, processes: Processes, entrypoints: Mapping[str, str]
) -> str:
    """A Prefect server with these flows deployed under their own names; the URL of its API."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE prefect")
    port = free_port()
    launch_prefect(server, processes, port)
    url = f"http://127.0.0.1:{port}/api"
    deploy(url, entrypoints)
    return url


def launch_prefect(server: PostgresServer, processes: Processes, port: int) -> Child:
    """The process of a Prefect server, when it answers; its database must be there."""
    url = f"http://127.0.0.1:{port}/api"
    dsn = server.dsn(SUPERUSER, "prefect").replace("postgresql://", "postgresql+asyncpg://")
    environment = os.environ | {
        "PREFECT_HOME": str(processes.state / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": dsn,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "DO_NOT_TRACK": "1",
    }
    started = processes.start(
        "prefect",
        [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", "127.0.0.1", "--port", str(port), "--no-ui"),
        ],
        environment=environment,
        grace_seconds=20,
    )
    started.wait_ready(lambda: answers(f"{url}/health"), 120)
    return started


def answers(url: str) -> bool:
    """Whether something good is said at a URL."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def deploy(url: str, entrypoints: Mapping[str, str]) -> None:
    with httpx.Client(base_url=url, timeout=30) as client:
        pool = {"name": "responder", "type": "process"}
        client.post("/work_pools/", json=pool).raise_for_status()
        for name, entrypoint in entrypoints.items():
            flow = client.post("/flows/", json={"name": name}).raise_for_status().json()["id"]
            deployment = {
                "name": name,
                "flow_id": flow,
                "entrypoint": entrypoint,
                "work_pool_name": "responder",
            }
            client.post("/deployments/", json=deployment).raise_for_status()


def until_true(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition; fail with its source line when it does not come true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not true within {seconds} s"
        time.sleep(0.02)


def spoil(incident: str) -> None:
    """Make the incident's facts unreadable, as a disk or a careless hand may."""
    with responder.connection() as connection:
        connection.execute("UPDATE journal SET line = '{' WHERE incident = %s", (incident,))
