"""The gateway as a process: it starts, serves, logs, and ends with all that it has started."""

import json
import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.lab.processes import Processes
from tasks.domain.incident import Stage
from tasks.work import journal
from tests.gateway.conftest import Prefect
from tests.gateway.stack import ALERT_TOKEN, answers, free_port, until_true

pytestmark = pytest.mark.flows

PROJECT = Path(__file__).parents[2]
ALERT = {
    "status": "firing",
    "labels": {"alertname": "AuditTrailIntegrityFailure", "category": "audit"},
    "startsAt": "2026-11-23T12:05:46.114Z",
    "fingerprint": "c57877249ee74c33",
}


@pytest.mark.usefixtures("database")
def test_gateway_process_responds_to_an_alert_and_sigterm_ends_it_with_its_children(
    prefect: Prefect, lab_processes: Processes
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    process = lab_processes.start(
        "gateway",
        [sys.executable, "-m", "deployments.gateway"],
        environment=os.environ
        | {
            "PREFECT_API_URL": prefect.url,
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "RUNBOOK_GATEWAY__URL": url,
        },
        directory=PROJECT,
    )
    process.wait_ready(lambda: answers(f"{url}/readyz"), 60)
    headers = {"Authorization": f"Bearer {ALERT_TOKEN}"}
    body = {"version": "4", "alerts": [ALERT]}
    sent = httpx.post(f"{url}/alerts", json=body, headers=headers).raise_for_status()
    (incident,) = sent.json()["opened"]
    until_true(lambda: journal.read(incident).stage is Stage.CLOSED, 30)
    until_true(lambda: "dispatch done" in process.log.read_text(), 10)
    children = psutil.Process(process.popen.pid).children(recursive=True)
    assert len(children) == 2
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(30) in {0, -signal.SIGTERM}
    assert [child for child in children if child.is_running()] == []
    lines = [json.loads(line) for line in process.log.read_text().splitlines() if line[0] == "{"]
    opened = [line for line in lines if line["message"] == "incident opened"]
    assert [line["incident"] for line in opened] == [incident]
    assert ALERT_TOKEN not in process.log.read_text()


@pytest.mark.usefixtures("database")
@pytest.mark.slow
def test_killed_gateway_takes_its_children_with_it(
    prefect: Prefect, lab_processes: Processes
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    process = lab_processes.start(
        "killed-gateway",
        [sys.executable, "-m", "deployments.gateway"],
        environment=os.environ | {"PREFECT_API_URL": prefect.url, "RUNBOOK_GATEWAY__URL": url},
        directory=PROJECT,
    )
    process.wait_ready(lambda: answers(f"{url}/healthz"), 60)
    until_true(lambda: len(psutil.Process(process.popen.pid).children()) == 2)
    children = psutil.Process(process.popen.pid).children()
    os.kill(process.popen.pid, signal.SIGKILL)
    process.popen.wait(10)
    # A child that still imports looks for its parent afterwards: on a busy machine that takes time.
    until_true(lambda: not any(child.is_running() for child in children), 30)
