"""What watches for suspensions by hand, over a line to a real Prefect server that can be cut."""

import threading
import time
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
from prefect._flow_run_suspension import (
    FlowRunSuspensionRequest,
    register_flow_run_suspension_request,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.gateway.suspensions import Suspensions
from tests.gateway.conftest import Prefect
from tests.gateway.relay import Relay, relay
from tests.gateway.stack import until_true

pytestmark = [pytest.mark.flows]

SOON = 4.0
"""Seconds; Prefect asks only every ten where it does not listen."""


@pytest.fixture
def line(prefect: Prefect) -> Iterator[Relay]:
    port = httpx.URL(prefect.url).port
    assert port is not None
    with relay(port) as opened:
        url = f"http://127.0.0.1:{opened.port}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            yield opened


def new_run(prefect: Prefect) -> FlowRun:
    """A run of a deployment, with the state that a warm child's has."""
    found = httpx.get(f"{prefect.url}/deployments/name/incident/incident").json()["id"]
    order = {"name": "watched", "state": {"type": "PENDING", "name": "Claimed"}}
    made = httpx.post(f"{prefect.url}/deployments/{found}/create_flow_run", json=order)
    with temporary_settings({PREFECT_API_URL: prefect.url}), get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(made.raise_for_status().json()["id"]))


def suspend(prefect: Prefect, run: FlowRun) -> None:
    for state in ({"type": "RUNNING"}, {"type": "PAUSED", "name": "Suspended"}):
        details = {"pause_reschedule": True, "pause_timeout": "2100-01-01T00:00:00Z"}
        asked = {"state": {**state, "state_details": details}}
        httpx.post(f"{prefect.url}/flow_runs/{run.id}/set_state", json=asked).raise_for_status()


def watching() -> int:
    return sum(thread.name == "suspensions" for thread in threading.enumerate())


def assert_heard(prefect: Prefect, suspensions: Suspensions, run: FlowRun) -> None:
    asked = FlowRunSuspensionRequest()
    with register_flow_run_suspension_request(run.id, asked), suspensions.watched(run) as given:
        assert (given.id, given.deployment_id) == (run.id, None)
        suspend(prefect, run)
        until_true(asked.is_requested, SOON)


def test_suspension_is_heard_in_one_run_after_the_other(prefect: Prefect, line: Relay) -> None:
    before = watching()
    suspensions = Suspensions()
    until_true(lambda: line.lines != [], 10)
    for _ in range(3):
        assert_heard(prefect, suspensions, new_run(prefect))
    until_true(lambda: watching() == before + 1, 20)  # the one that waits for the next run


def test_line_that_was_cut_while_no_run_was_there_is_mended_before_the_next(
    prefect: Prefect, line: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    suspensions = Suspensions()
    until_true(lambda: line.lines != [], 10)
    line.cut()
    time.sleep(1)
    line.mend()
    until_true(lambda: line.lines != [], 30)
    time.sleep(1)  # until it is subscribed
    assert_heard(prefect, suspensions, new_run(prefect))
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_run_that_was_deleted_keeps_no_watch(prefect: Prefect, line: Relay) -> None:
    before = watching()
    suspensions = Suspensions()
    until_true(lambda: line.lines != [], 10)
    run = new_run(prefect)
    httpx.delete(f"{prefect.url}/flow_runs/{run.id}").raise_for_status()
    with suspensions.watched(run):
        time.sleep(1)
    until_true(lambda: watching() == before + 1, 20)


def test_suspension_that_is_confirmed_after_the_run_stops_no_later_run_of_it(
    prefect: Prefect, line: Relay
) -> None:
    """As by a run that suspends itself, and is resumed in the same process at once."""
    suspensions = Suspensions()
    until_true(lambda: line.lines != [], 10)
    run = new_run(prefect)
    with suspensions.watched(run):  # nobody is registered: the request must be tried again
        time.sleep(1)
        suspend(prefect, run)
        time.sleep(1)
        line.hold()  # so that the watch cannot end at once
    resumed = FlowRunSuspensionRequest()
    with register_flow_run_suspension_request(run.id, resumed):
        time.sleep(2)
        assert not resumed.is_requested()
