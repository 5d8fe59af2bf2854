"""The responder scaled out: every part is a process of its own, and the parts hear each other."""

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from deployments import dead_runs
from deployments.lab.scaled_out import API, GATEWAYS, SERVICES, WORKERS, ScaledOut
from deployments.lab.stack import Options
from tests.gateway.stack import until_true

pytestmark = [pytest.mark.slow, pytest.mark.flows, pytest.mark.timeout(600)]

_HEARD_SECONDS = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[ScaledOut]:
    with ScaledOut(Options(records=2000, writer=False)) as lab:
        yield lab


def test_both_gateways_are_complete_and_both_workers_online(lab: ScaledOut) -> None:
    assert set(lab.replicas) == {API, SERVICES, *GATEWAYS, *WORKERS}
    for gateway in GATEWAYS:
        assert httpx.get(f"{lab.address_of(gateway)}/readyz").json()["complete"]

    def online() -> set[str]:
        url = f"{lab.prefect_url}/api/work_pools/responder/workers/filter"
        return {
            each["name"] for each in httpx.post(url, json={}).json() if each["status"] == "ONLINE"
        }

    until_true(lambda: online() == set(WORKERS), _HEARD_SECONDS)


def test_event_that_the_api_takes_is_recorded_by_the_services(lab: ScaledOut) -> None:
    url = f"{lab.prefect_url}/api/events/filter"

    def recorded() -> set[str]:
        events = httpx.post(url, json={"filter": {}, "limit": 50}).json()["events"]
        return {each["event"] for each in events}

    until_true(lambda: "prefect.flow-run.Claimed" in recorded(), _HEARD_SECONDS)


def test_automation_for_dead_runs_is_there_once_however_often_it_is_made(lab: ScaledOut) -> None:
    environment = {**os.environ, "PREFECT_API_URL": f"{lab.prefect_url}/api"}
    command = [sys.executable, "-m", "deployments.dead_runs"]
    subprocess.run(command, env=environment, check=True, timeout=120)
    found = httpx.post(f"{lab.prefect_url}/api/automations/filter", json={}).json()
    assert [(each["name"], each["enabled"]) for each in found] == [(dead_runs.NAME, True)]
    assert found[0]["actions"][0]["state"] == "CRASHED"


def test_killed_gateway_is_passed_over_and_its_replacement_becomes_complete(
    lab: ScaledOut,
) -> None:
    first, second = GATEWAYS
    lab.replicas[first].kill()
    assert lab.replicas[first].pids == set()
    assert lab.gateway_url == lab.address_of(second)
    lab.replicas[first].restart()
    assert lab.gateway_url == lab.address_of(first)
    assert httpx.get(f"{lab.gateway_url}/readyz").json()["complete"]
