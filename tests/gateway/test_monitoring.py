"""Alerts as they really come: a rule of Prometheus fires, Alertmanager tells the gateway."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.gateway.app import build_app
from deployments.lab import alertmanager, prometheus
from deployments.lab.alertmanager import AlertmanagerServer
from deployments.lab.processes import Processes
from deployments.lab.prometheus import PrometheusServer
from deployments.lab.state import private_file
from tasks.domain.facts import Fact, FactKind
from tasks.work import journal
from tests.gateway.stack import ALERT_TOKEN, free_port, served, until_true

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif(
        alertmanager.installed() is None, reason="no alertmanager is installed on PATH"
    ),
]

needs_prometheus = pytest.mark.skipif(
    prometheus.installed() is None, reason="no prometheus is installed on PATH"
)

StartAlertmanager = Callable[[str, str], AlertmanagerServer]


@dataclass
class Patient:
    """Something with metrics: whether its last integrity check passed."""

    passed: bool = True
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        patient = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"audit_log_integrity_check_passed {int(patient.passed)}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """The test's output is no access log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def patient() -> Iterator[Patient]:
    made = Patient()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


@pytest.fixture
def start_alertmanager(lab_processes: Processes, tmp_path: Path) -> Iterator[StartAlertmanager]:
    """Starts one that sends to this gateway with this token."""
    started: list[AlertmanagerServer] = []

    def start(gateway: str, token: str) -> AlertmanagerServer:
        program = alertmanager.installed()
        assert program is not None
        directory = tmp_path / f"alertmanager-{len(started)}"
        server = AlertmanagerServer(directory, lab_processes, program, f"{gateway}/alerts", token)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        assert server.child is not None
        server.child.kill()
        lab_processes.forget(server.child)


@pytest.fixture
def start_prometheus(
    lab_processes: Processes, tmp_path: Path
) -> Iterator[Callable[..., PrometheusServer]]:
    """Starts one that scrapes this target and tells this Alertmanager."""
    started: list[PrometheusServer] = []

    def start(**addresses: str) -> PrometheusServer:
        program = prometheus.installed()
        assert program is not None
        server = PrometheusServer(tmp_path / "prometheus", lab_processes, program, **addresses)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        assert server.child is not None
        server.child.kill()
        lab_processes.forget(server.child)


def _received(name: str) -> list[Fact]:
    return [
        fact
        for fact in journal.facts_after(-1)
        if fact.kind is FactKind.ALERT_RECEIVED and fact.data["name"] == name
    ]


def _statuses(name: str) -> list[str]:
    return [fact.data["status"] for fact in _received(name)]


def _requests(server: AlertmanagerServer, *, failed: bool) -> float:
    """How many requests to the gateway it has made, or how many of them failed."""
    name = f"alertmanager_notification_requests_{'failed_' if failed else ''}total"
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    prefix = f'{name}{{integration="webhook"}} '
    return sum(float(line[len(prefix) :]) for line in text.splitlines() if line.startswith(prefix))


def _tell(server: AlertmanagerServer, **more: Any) -> None:
    """An alert as Prometheus hands it to Alertmanager."""
    alert = {"labels": {"alertname": "DatabaseDown", "severity": "critical"}, **more}
    httpx.post(f"{server.url}/api/v2/alerts", json=[alert], timeout=10).raise_for_status()


@needs_prometheus
def test_a_rule_that_fires_opens_an_incident_and_its_end_is_journaled_there(
    gateway: str,
    start_alertmanager: StartAlertmanager,
    start_prometheus: Callable[..., PrometheusServer],
) -> None:
    name = "AuditTrailIntegrityFailure"
    sending = start_alertmanager(gateway, ALERT_TOKEN)
    with patient() as ill:
        start_prometheus(target=ill.address, alertmanager=sending.address)
        ill.passed = False
        until_true(lambda: _statuses(name) == ["firing"], 30)
        ill.passed = True
        until_true(lambda: len(_statuses(name)) > 1, 30)
    fired, resolved = _received(name)
    assert resolved.data["status"] == "resolved"
    assert fired.incident == resolved.incident
    assert fired.data["fingerprint"] == resolved.data["fingerprint"]
    assert fired.data["starts_at"] == resolved.data["starts_at"]
    assert fired.data["labels"] == {
        "alertname": name,
        "severity": "critical",
        "category": "audit",
        "instance": ill.address,
        "job": "rlhf-audit-trail-app",
    }
    incident = journal.read(fired.incident)
    assert incident.component == "audit-trail"
    assert {fact.incident for fact in journal.facts_after(-1)} == {fired.incident}


@pytest.mark.slow
@needs_prometheus
def test_the_gateway_is_scraped_and_productions_rules_run_on_what_it_shows(
    gateway: str,
    start_alertmanager: StartAlertmanager,
    start_prometheus: Callable[..., PrometheusServer],
) -> None:
    sending = start_alertmanager(gateway, ALERT_TOKEN)
    with patient() as well:
        watching = start_prometheus(
            target=well.address,
            gateway=gateway.removeprefix("http://"),
            alertmanager=sending.address,
        )
        with httpx.Client(base_url=f"{watching.url}/api/v1", timeout=10) as client:

            def value_of(query: str) -> list[str]:
                found = client.get("/query", params={"query": query}).json()["data"]["result"]
                return [each["value"][1] for each in found]

            until_true(lambda: value_of('up{job="runbook-gateway"}') == ["1"], 30)
            until_true(lambda: value_of("min(runbook_heartbeat_age_seconds) < 30") != [], 30)
            rules = client.get("/rules").json()["data"]["groups"]
    evaluated = {rule["name"]: rule for group in rules for rule in group["rules"]}
    assert {"Watchdog", "RunbookGatewayDown", "RunbookQueueOld"} <= evaluated.keys()
    assert {rule["health"] for rule in evaluated.values()} == {"ok"}
    assert journal.open_incidents() == []


def test_what_fires_while_the_gateway_is_away_arrives_when_it_is_back(
    database: str, start_alertmanager: StartAlertmanager
) -> None:
    assert database
    port = free_port()
    sending = start_alertmanager(f"http://127.0.0.1:{port}", ALERT_TOKEN)
    _tell(sending)
    until_true(lambda: _requests(sending, failed=True) > 0, 30)
    with served(build_app(), port):
        until_true(lambda: _statuses("DatabaseDown") == ["firing"], 30)


def test_a_token_is_exchanged_without_a_restart_of_alertmanager(
    gateway: str, start_alertmanager: StartAlertmanager
) -> None:
    sending = start_alertmanager(gateway, "a token of yesterday")
    assert sending.token_file.stat().st_mode & 0o777 == 0o600
    _tell(sending, startsAt=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())
    until_true(lambda: _requests(sending, failed=True) > 0, 30)
    assert _statuses("DatabaseDown") == []
    private_file(sending.token_file, ALERT_TOKEN)
    until_true(lambda: _statuses("DatabaseDown") == ["firing"], 30)


def test_the_same_alert_of_two_alertmanagers_is_one(
    gateway: str, start_alertmanager: StartAlertmanager
) -> None:
    pair = [start_alertmanager(gateway, ALERT_TOKEN) for _ in range(2)]
    started = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    for each in pair:
        _tell(each, startsAt=started)
    until_true(lambda: all(_requests(each, failed=False) > 0 for each in pair), 30)
    until_true(lambda: _statuses("DatabaseDown") != [], 30)
    assert [_requests(each, failed=True) for each in pair] == [0, 0]
    assert _statuses("DatabaseDown") == ["firing"]
    assert len(journal.open_incidents()) == 1
