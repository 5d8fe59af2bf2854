"""The API's procedure as a flow: restart, scale and back, and the way to what the API needs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import API, HEALTHY
from deployments.lab.session_faults import lock_storm
from tasks.domain.api_plan import PROCEDURE
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.restart_plan import RESTART
from tasks.domain.scale_plan import RETURN_SCALE, SCALE_API
from tasks.domain.session_remedies import CANCEL, TERMINATE
from tasks.work import approvals, incidents, journal
from tests.clients.loopback import answering, sending
from tests.flows.responding import Responding
from tests.tasks.api.restarts import Restarts, configure
from tests.tasks.proposals import BEA

pytestmark = pytest.mark.flows


class Run:
    """Runs of one incident as plain processes, which know the cluster; the gateway's do not."""

    def __init__(self, responding: Responding, cluster: Cluster, **variables: str) -> None:
        self._responding = responding
        self.variables = {
            **configure(cluster),
            "RUNBOOK_API_CARE__VERIFY_SECONDS": "30",
            "RUNBOOK_API_CARE__VERIFY_WINDOW_SECONDS": "5",
            **variables,
        }
        with incidents.durably() as connection:
            self.incident = incidents.open_in(
                connection, "API: many errors", "api", PROCEDURE, "person", "anna"
            )

    def go(self) -> Incident:
        call = f"flows.incident:incident({self.incident!r})"
        ended = self._responding.flow(call, **self.variables)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return journal.read(self.incident)

    def approve(self) -> None:
        plan = journal.read(self.incident).plan_hash
        approvals.decide(self.incident, plan, "approved", BEA, "go on")

    def steps(self) -> list[str]:
        facts = journal.read(self.incident).facts
        return [fact.data["step"] for fact in facts if fact.kind is FactKind.STEP_DONE]

    def causes(self) -> list[tuple[str, str]]:
        """(component, the surest cause's code) of each diagnosis, in order."""
        said = [
            fact.data
            for fact in journal.read(self.incident).facts
            if fact.kind is FactKind.CAUSES_FOUND
        ]
        return [(each["component"], _first(each["causes"])) for each in said]


def _first(causes: list[dict[str, Any]]) -> str:
    return str(causes[0]["code"]) if causes else ""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY, live=True) as running:
        yield running


@pytest.mark.slow
def test_a_pod_that_crashes_at_each_start_is_found_approved_restarted_and_proven_well(
    responding: Responding, cluster: Cluster
) -> None:
    pods = Restarts(cluster)
    bad, *others = pods.names
    cluster.crash_loop(bad, after=0.2)
    pods.until(lambda: _is_waiting(cluster.get("pods", bad)))
    run = Run(responding, cluster)
    state = run.go()
    assert state.stage is Stage.AWAITING_APPROVAL
    assert run.causes() == [("api", "api.crash-looping")]
    assert pods.evicted == []
    run.approve()
    state = run.go()
    assert (state.stage, state.outcome) == (Stage.CLOSED, "resolved")
    assert run.steps() == [RESTART]
    assert (pods.evicted, pods.ready) == ([bad], 3)
    assert set(others) < set(pods.names)
    observed = set(state.checks)
    assert observed >= {
        "api.symptom.errors",
        "api.symptom.slow",
        "api.symptom.authentication",
        "api.diagnosis.resources",
        "api.resolution.connections",
        "api.resolution.configuration",
    }


@pytest.mark.slow
def test_a_lock_storm_that_makes_the_api_slow_is_mended_by_the_databases_procedure(
    responding: Responding, cluster: Cluster
) -> None:
    lock_storm(responding.lab)
    run = Run(
        responding,
        cluster,
        RUNBOOK_DATABASE_CARE__LOCK_WAIT_SECONDS="2",
    )
    state = run.go()
    assert state.stage is Stage.AWAITING_APPROVAL
    assert run.causes() == [("api", "db.lock-storm"), ("database", "db.lock-storm")]
    assert state.plan is not None
    assert state.plan.procedure == "database"
    run.approve()
    state = run.go()
    assert (state.stage, state.outcome) == (Stage.CLOSED, "resolved")
    assert run.steps() == [CANCEL, TERMINATE]
    assert state.proof is not None
    assert state.proof["holds"] is True
    assert Restarts(cluster).evicted == []


@pytest.mark.slow
def test_replicas_that_do_not_help_are_taken_back_and_a_person_is_told(
    responding: Responding, cluster: Cluster
) -> None:
    cluster.uses(API, cpu="5m", memory="62Mi")
    with answering(sending(_slow_prometheus())) as port:
        run = Run(
            responding,
            cluster,
            RUNBOOK_METRICS__PROMETHEUS_URL=f"http://127.0.0.1:{port}",
            RUNBOOK_API_CARE__VERIFY_SECONDS="3",
        )
        run.go()
        assert run.causes() == [("api", "api.resource-constrained")]
        assert _replicas(cluster) == 3
        run.approve()
        state = run.go()
    assert run.steps() == [SCALE_API, RETURN_SCALE]
    assert _replicas(cluster) == 3
    assert state.stage is not Stage.CLOSED
    notes = [fact.data["text"] for fact in state.facts if fact.kind is FactKind.NOTE]
    assert any("what was done was undone" in each for each in notes)


@pytest.mark.slow
def test_an_api_without_a_fault_is_left_as_it_is(responding: Responding, cluster: Cluster) -> None:
    pods = Restarts(cluster)
    before = (pods.names, _replicas(cluster), responding.production())
    run = Run(responding, cluster)
    state = run.go()
    assert (state.stage, state.outcome) == (Stage.CLOSED, "no action needed")
    assert run.causes()[0] == ("api", "")
    assert run.steps() == []
    assert (pods.names, _replicas(cluster), responding.production()) == before


def _is_waiting(pod: dict[str, Any]) -> bool:
    (status,) = pod["status"]["containerStatuses"]
    return int(status["restartCount"]) > 0 and "waiting" in status["state"]


def _replicas(cluster: Cluster) -> int:
    return int(cluster.get("deployments", API)["spec"]["replicas"])


def _slow_prometheus() -> bytes:
    """Ten requests a second that take three times as long as before, whatever is asked."""
    readings = {
        "requests": "10",
        "baseline_requests": "10",
        "p50_seconds": "0.5",
        "p95_seconds": "0.9",
        "p99_seconds": "1.2",
        "baseline_p95_seconds": "0.3",
        "refused_logins": "0",
    }
    result = [
        {"metric": {"reading": name}, "value": [1.0, value]} for name, value in readings.items()
    ]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\nconnection: close\r\n\r\n{body}".encode()
