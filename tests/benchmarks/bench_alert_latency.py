"""From `POST /alerts` to the first check in the journal, on a warm gateway with the real flows.

Run it: python -m pytest tests/benchmarks/bench_alert_latency.py -rP. The system under care is
absent: its checks find closed ports, which is an observation like any other.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deployments.lab.postgres import SUPERUSER
from deployments.lab.processes import Processes
from deployments.lab.state import StateDirectory
from tasks.domain.facts import FactKind
from tasks.work import journal, responder
from tests.benchmarks.figures import Row, show
from tests.gateway.stack import (
    ALERT_TOKEN,
    answers,
    free_port,
    new_server,
    pointed_at,
    start_prefect,
    until_true,
)

pytestmark = pytest.mark.slow

ALERTS = 20
WARM_UPS = 2
MEDIAN_LIMIT_SECONDS = 0.4
P95_LIMIT_SECONDS = 1.0
INTAKE_LIMIT_SECONDS = 0.02
_SETTLED_SECONDS = 2.0
"""After a run: an alert that comes alone finds Prefect's server idle. A storm has its own bench."""


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway process as in production, with PostgreSQL and Prefect beside it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        processes = Processes(StateDirectory.take(Path(directory)))
        try:
            server = new_server(processes, "responder")
            server.start()
            flows = {"incident": "flows.incident.incident"}
            prefect = start_prefect(server, processes, flows)
            with pointed_at(server.dsn(SUPERUSER, "postgres"), monkeypatch):
                url = f"http://127.0.0.1:{free_port()}"
                environment = os.environ | {
                    "PREFECT_API_URL": prefect,
                    "PREFECT_LOGGING_LEVEL": "WARNING",
                    "RUNBOOK_GATEWAY__URL": url,
                    "RUNBOOK_API__URL": "http://127.0.0.1:9",
                    "RUNBOOK_DATABASE__READER_DSN": "postgresql://127.0.0.1:9/rlhf_audit",
                    "RUNBOOK_CACHE__URL": "redis://127.0.0.1:9/0",
                    "RUNBOOK_RESPONDER__REPORTS": directory,
                }
                child = processes.start(
                    "gateway",
                    [sys.executable, "-m", "deployments.gateway"],
                    environment=environment,
                    directory=Path(__file__).parents[2],
                    grace_seconds=20,
                )
                child.wait_ready(lambda: answers(f"{url}/readyz"), 60)
                until_true(lambda: httpx.get(f"{url}/readyz").json()["warm_children"] == 2, 60)
                yield url
        finally:
            processes.stop_all()


def test_first_check_is_observed_within_the_limit(gateway: str) -> None:
    headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    intakes, latencies = [], []
    with httpx.Client(base_url=gateway, headers=headers, timeout=30) as sender:
        for number in range(WARM_UPS + ALERTS):
            intake, latency = one_alert(sender, number)
            intakes.append(intake)
            latencies.append(latency)
    spread("first runs of the children", latencies[:WARM_UPS])
    spread("POST to 2xx", intakes[WARM_UPS:])
    spread("POST to first check", latencies[WARM_UPS:])
    intake, latency = statistics.median(intakes[WARM_UPS:]), statistics.median(latencies[WARM_UPS:])
    p95 = statistics.quantiles(latencies[WARM_UPS:], n=20)[-1]
    show(
        [
            Row("POST to 2xx, median", intake, INTAKE_LIMIT_SECONDS),
            Row("POST to first observation, median", latency, MEDIAN_LIMIT_SECONDS),
            Row("POST to first observation, p95", p95, P95_LIMIT_SECONDS),
        ]
    )


def one_alert(sender: httpx.Client, number: int) -> tuple[float, float]:
    """Seconds from POST to its answer, and to the first check; waits until the run has ended."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "ApplicationDown", "category": "operational"},
        "annotations": {},
        "startsAt": "2026-11-23T12:05:46.114Z",
        "fingerprint": f"{number:016x}",
    }
    began, clock = time.time(), time.perf_counter()
    answer = sender.post("/alerts", json={"version": "4", "alerts": [alert]})
    intake = time.perf_counter() - clock
    (incident,) = answer.raise_for_status().json()["opened"]
    time.sleep(1.5)  # looking while it runs would take the processor that it runs on
    until_true(lambda: has_ended(incident), 60)
    time.sleep(_SETTLED_SECONDS)
    first = min(checks(incident)) - began
    journal.append(incident, FactKind.CLOSED, {"outcome": "benchmark"})
    return intake, first


def checks(incident: str) -> list[float]:
    """When checks were observed, in seconds of the epoch."""
    facts = journal.read(incident).facts
    return [fact.at.timestamp() for fact in facts if fact.kind is FactKind.CHECK_OBSERVED]


def has_ended(incident: str) -> bool:
    """Whether nothing is left to do for the incident: its child is free again."""
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT bool_and(done_at IS NOT NULL) FROM dispatches WHERE incident = %s", (incident,)
        ).fetchone()
    return bool(row and row[0])


def spread(what: str, seconds: list[float]) -> None:
    """One line of the benchmark's table."""
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    print(
        f"{what}: median {statistics.median(ordered) * 1000:.0f} ms,"
        f" p95 {p95 * 1000:.0f} ms, worst {ordered[-1] * 1000:.0f} ms, n={len(ordered)}"
    )
