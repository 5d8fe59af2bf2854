"""The responder scaled out, when one of each of its parts is killed in the middle of a response."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from deployments.lab import demo
from deployments.lab.alarm import Alarm, Way
from deployments.lab.faults import notification
from deployments.lab.gameday.watching import Course, until_over
from deployments.lab.on_call import OnCall
from deployments.lab.scaled_out import API, GATEWAYS, SERVICES, WORKERS, ScaledOut
from deployments.lab.scenarios import SCENARIOS, Scenario
from deployments.lab.stack import Options
from tasks.domain.facts import Fact, FactKind
from tasks.work import journal, responder
from tests.gateway.stack import until_true

pytestmark = [pytest.mark.slow, pytest.mark.flows, pytest.mark.timeout(900)]

_RESPONSE_SECONDS = 300.0
_DEAD_RUN_SECONDS = 200.0
_UNFINISHED = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]


class Prefect:
    """The server's API, as its UI uses it."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def start(self, deployment: str) -> str:
        """Quick Run: a worker takes it."""
        found = self._http.get(f"/deployments/name/{deployment}/{deployment}").json()
        made = self._http.post(f"/deployments/{found['id']}/create_flow_run", json={})
        return str(made.raise_for_status().json()["id"])

    def state(self, run: str) -> str:
        return str(self._http.get(f"/flow_runs/{run}").json()["state_type"])

    def is_at_work(self, run: str) -> bool:
        wanted: dict[str, Any] = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
        found = self._http.post("/events/filter", json={"filter": wanted, "limit": 50}).json()
        beating = {each["resource"]["prefect.resource.id"] for each in found["events"]}
        return f"prefect.flow-run.{run}" in beating

    def unfinished(self) -> list[str]:
        wanted = {"flow_runs": {"state": {"type": {"any_": _UNFINISHED}}}}
        found = self._http.post("/flow_runs/filter", json=wanted).raise_for_status().json()
        return [f"{run['name']}: {run['state_name']}" for run in found]


def holder_of(run: str) -> int:
    """The process id of the gateway that has the order of this run."""
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT holder FROM dispatches WHERE flow_run = %s AND done_at IS NULL", (run,)
        ).fetchone()
    assert row is not None
    return int(str(row[0]).split(":")[1])


class Killer:
    """Kills one of each while a response goes on, and restarts it as Kubernetes would."""

    def __init__(self, lab: ScaledOut) -> None:
        self._lab = lab
        self._restarts: list[Future[None]] = []
        self._threads = ThreadPoolExecutor(4)
        self.killed: list[str] = []

    def kill(self, name: str) -> None:
        self._lab.replicas[name].kill()
        self.killed.append(name)
        self._restarts.append(self._threads.submit(self._lab.replicas[name].restart))

    def see(self, fact: Fact) -> None:
        """The gateway whose child runs it, once; Prefect's two halves when a plan is proposed."""
        if fact.kind is FactKind.RUN_STARTED and not self.killed:
            pid = holder_of(str(fact.data["flow_run"]))
            (at_work,) = (each for each in GATEWAYS if pid in self._lab.replicas[each].pids)
            self.kill(at_work)
        elif fact.kind is FactKind.PLAN_PROPOSED and API not in self.killed:
            self.kill(API)
            self.kill(SERVICES)

    def wait(self) -> None:
        for restart in self._restarts:
            restart.result()
        self._threads.shutdown()


@pytest.fixture(scope="module")
def lab() -> Iterator[ScaledOut]:
    with ScaledOut(Options(records=2000)) as lab:
        yield lab


@pytest.fixture
def prefect(lab: ScaledOut) -> Iterator[Prefect]:
    with httpx.Client(base_url=f"{lab.prefect_url}/api", timeout=30) as http:
        yield Prefect(http)


def raise_alarm_at_both(lab: ScaledOut, scenario: Scenario) -> None:
    """As an HA pair of Alertmanagers: the same notification to each gateway."""
    for gateway in GATEWAYS:
        answer = httpx.post(
            f"{lab.address_of(gateway)}/alerts",
            json=notification(scenario.fault),
            headers={"authorization": f"Bearer {lab.alert_token}"},
        )
        answer.raise_for_status()


def play(lab: ScaledOut, scenario: Scenario, killer: Killer) -> tuple[OnCall, Course]:
    on_call = OnCall(lab, scenario.fault.inject(lab))
    raise_alarm_at_both(lab, scenario)

    def approve(fact: Fact) -> None:
        on_call.approve(fact.incident, fact.data["hash"])

    alert = scenario.fault.labels["alertname"]
    return on_call, until_over({alert}, _RESPONSE_SECONDS, {}, approve, killer.see)


def kill_worker_of(lab: ScaledOut, prefect: Prefect, run: str) -> None:
    """In the middle of its run, and its run with it: a node that is lost."""
    until_true(lambda: prefect.is_at_work(run), 90)
    (busy,) = (name for name in WORKERS if len(lab.replicas[name].pids) > 1)
    lab.replicas[busy].kill()


def test_response_in_which_one_of_each_part_is_killed_ends_as_if_none_had_been(
    lab: ScaledOut, prefect: Prefect
) -> None:
    scenario, killer = SCENARIOS["lock-storm"], Killer(lab)
    lost = prefect.start("restore-drill")
    kill_worker_of(lab, prefect, lost)
    next_one = prefect.start("restore-drill")
    began = time.monotonic()

    on_call, course = play(lab, scenario, killer)
    killer.wait()

    assert killer.killed[0] in GATEWAYS
    assert killer.killed[1:] == [API, SERVICES]
    incident = journal.read(course.first[scenario.fault.labels["alertname"]])
    judged = demo.judge(scenario, on_call, incident, Alarm(Way.DEMO, 0), began)
    assert judged.proof_holds, judged.checks
    # what the dead worker ran is known to be dead, and what waited for it is done by the other one
    until_true(lambda: prefect.state(lost) == "CRASHED", _DEAD_RUN_SECONDS)
    until_true(lambda: prefect.state(next_one) == "COMPLETED", _DEAD_RUN_SECONDS)
    until_true(lambda: prefect.unfinished() == [], 60)
    with responder.connection() as connection:
        orders = connection.execute("SELECT count(*) FROM dispatches WHERE done_at IS NULL")
        assert orders.fetchone() == (0,)
        opened = connection.execute("SELECT count(*) FROM journal WHERE kind = 'opened'")
        assert opened.fetchone() == (1,), "each gateway's notification opened an incident"
