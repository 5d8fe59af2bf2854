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

from deployments.lab.postgres import (
    RESPONDER,
    SUPERUSER,
    PostgresServer,
    init_cluster,
    new_password,
)
from deployments.lab.processes import Processes
from tasks.settings import settings
from tasks.work import responder

ALERT_TOKEN = "sender-token-1"
SECOND_ALERT_TOKEN = "sender-token-2"


def new_server(processes: Processes, name: str) -> PostgresServer:
    password = new_password()
    data = processes.state / name
    init_cluster(processes, data, password)
    return PostgresServer(name, data, processes, RESPONDER, {SUPERUSER: password})


@contextmanager
def pointed_at(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
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
def served(app: FastAPI) -> Iterator[str]:
    """The application behind a real server on loopback."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
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
    _deploy(url, entrypoints)
    return url


def answers(url: str) -> bool:
    """Whether something good is said at a URL."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def _deploy(url: str, entrypoints: Mapping[str, str]) -> None:
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
