"""What the tests of alert states share: alerts as they arrive, and Alertmanagers to be asked.

`Peer` answers on loopback in the shape of Alertmanager 0.25; `real_alertmanager` is the real one.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from deployments.lab import alertmanager as labs
from deployments.lab.alertmanager import AlertmanagerServer
from deployments.lab.processes import Processes
from tasks.domain.alert_state import State
from tasks.domain.alertmanager import parse
from tasks.domain.facts import Fact, FactKind
from tasks.settings import settings
from tasks.work import alert_states, journal, responder
from tasks.work.intake import Taken, take_notification

BEGAN = "2026-03-14T03:00:00.500Z"
LATER = "2026-03-14T05:00:00.500Z"


def alert(
    name: str = "ApplicationDown",
    fingerprint: str = "f1",
    status: str = "firing",
    starts_at: str = BEGAN,
    **labels: str,
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": starts_at,
        "fingerprint": fingerprint,
    }


def deliver(*alerts: dict[str, Any], truncated: int = 0) -> Taken:
    body = json.dumps({"version": "4", "truncatedAlerts": truncated, "alerts": alerts}).encode()
    return take_notification(body, parse(body))


def states(incident: str, now: datetime | None = None) -> dict[str, State]:
    with responder.connection() as connection:
        found = alert_states.states_of_in(connection, incident, now)
    return {one.fingerprint: one.state for one in found}


def facts(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def heard(incident: str) -> list[tuple[Any, ...]]:
    """Status and fingerprint of each alert's fact, in order."""
    found = facts(incident, FactKind.ALERT_RECEIVED)
    return [(fact.data["status"], fact.data["fingerprint"]) for fact in found]


def set_gateway(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"RUNBOOK_GATEWAY__{name.upper()}", str(value))
    settings.cache_clear()


def ask(monkeypatch: pytest.MonkeyPatch, *urls: str, receiver: str = "") -> None:
    monkeypatch.setenv("RUNBOOK_ALERTMANAGER__URLS", json.dumps(urls))
    monkeypatch.setenv("RUNBOOK_ALERTMANAGER__RECEIVER", receiver)
    monkeypatch.setenv("RUNBOOK_ALERTMANAGER__TIMEOUT_SECONDS", "5")
    settings.cache_clear()


class Peer:
    """One Alertmanager, as far as it is asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.up_since = datetime.now(UTC) - timedelta(days=1)
        self.alerts: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[str] = []

    def fires(
        self,
        name: str = "ApplicationDown",
        fingerprint: str = "f1",
        starts_at: str = BEGAN,
        state: str = "active",
        receiver: str = "runbook",
        **labels: str,
    ) -> None:
        self.alerts.append(
            {
                "annotations": {},
                "endsAt": "2099-01-01T00:00:00.000Z",
                "fingerprint": fingerprint,
                "receivers": [{"name": receiver}],
                "startsAt": starts_at,
                "status": {"inhibitedBy": [], "silencedBy": [], "state": state},
                "updatedAt": starts_at,
                "labels": {"alertname": name, **labels},
            }
        )

    def answer(self, path: str) -> object:
        self.asked.append(path)
        if path == "/api/v2/status":
            return {"cluster": {"status": "disabled"}, "uptime": self.up_since.isoformat()}
        return self.alerts


@contextmanager
def peer() -> Iterator[Peer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(mine.answer(self.path.partition("?")[0])).encode()
            self.send_response(mine.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mine = Peer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mine
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def real_alertmanager(processes: Processes, name: str, receiver: str, token: str) -> Iterator[str]:
    """The URL of a real Alertmanager that sends to `receiver`."""
    program = labs.installed()
    assert program is not None
    started = AlertmanagerServer(processes.state / name, processes, program, receiver, token)
    started.start()
    try:
        yield started.url
    finally:
        assert started.child is not None
        started.child.stop()


def post_alert(url: str, ends_at: datetime | None = None, **labels: str) -> None:
    """As Prometheus does."""
    said: dict[str, Any] = {"labels": labels, "startsAt": BEGAN}
    if ends_at is not None:
        said["endsAt"] = ends_at.isoformat()
    httpx.post(f"{url}/api/v2/alerts", json=[said], timeout=10).raise_for_status()
