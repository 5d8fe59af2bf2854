"""Scaling and the emergency as flows: what helps stays, what does not is taken back."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import API, HEALTHY, WORKERS
from tasks.domain.change_wish import Wanted
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.scale_plan import PROCEDURE, RETURN_SCALE, SCALE_WORKERS
from tasks.work import approvals, incidents, journal
from tasks.work.people import Person
from tests.flows.responding import Responding
from tests.tasks.proposals import BEA, CARL
from tests.tasks.scaling.conftest import Queue

pytestmark = [pytest.mark.flows, pytest.mark.slow]


class Run:
    """Runs of an incident as plain processes that know the cluster; the gateway's do not."""

    def __init__(self, responding: Responding, cluster: Cluster, incident: str, queue: str) -> None:
        self._responding = responding
        self.incident = incident
        self.variables: Mapping[str, str] = {
            "RUNBOOK_KUBERNETES__CONFIG_FILE": str(cluster.config_file),
            "RUNBOOK_KUBERNETES__CONTEXT": "diagnose",
            "RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT": "remediate",
            "RUNBOOK_SCALING__QUEUES": f'["{queue}"]',
            "RUNBOOK_SCALING__VERIFY_SECONDS": "4",
            "RUNBOOK_SCALING__DRAIN_SECONDS": "30",
            "RUNBOOK_EMERGENCY__PART_SECONDS": "30",
        }

    def go(self) -> Incident:
        call = f"flows.incident:incident({self.incident!r})"
        ended = self._responding.flow(call, **self.variables)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return journal.read(self.incident)

    def approve(self, *people: Person) -> None:
        plan = journal.read(self.incident).plan_hash
        for person in people or (BEA,):
            approvals.decide(self.incident, plan, "approved", person, "go on")
        self._take_from_the_gateway()

    def wish(self, wanted: Wanted, **more: Any) -> None:
        """As `ask_for_change` records it, without its order of a run."""
        data = {"wanted": wanted.value, "reason": "a test", **more}
        journal.append(self.incident, FactKind.CHANGE_ASKED, data, actor="rosa")

    def _take_from_the_gateway(self) -> None:
        """Its ticker would have one of its own processes go on, which knows no cluster."""
        facts = journal.read(self.incident).facts
        decided = [fact.seq for fact in facts if fact.kind is FactKind.PLAN_DECIDED]
        with incidents.durably() as connection:
            for seq in decided:
                key = f"resume:{self.incident}:{seq}"
                incidents.enqueue_in(connection, self.incident, incidents.RESUME, key)
            connection.execute(
                "UPDATE dispatches SET done_at = clock_timestamp() WHERE incident = %s",
                (self.incident,),
            )

    def steps(self) -> list[str]:
        facts = journal.read(self.incident).facts
        return [fact.data["step"] for fact in facts if fact.kind is FactKind.STEP_DONE]


def opened(procedure: str = PROCEDURE) -> str:
    with incidents.durably() as connection:
        terms = {"cooldown_minutes": 0.0}
        return incidents.open_in(
            connection, "A test", "workers", procedure, "person", "anna", terms=terms
        )


def replicas(cluster: Cluster, name: str = WORKERS) -> int:
    return int(cluster.get("deployments", name)["spec"]["replicas"])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(releases=HEALTHY[:1], live=True) as running:
        yield running


@pytest.fixture
def queue(responding: Responding) -> Iterator[Queue]:
    with redis.Redis.from_url(responding.lab.cache.url) as client:
        made = Queue(client, f"queue-{uuid.uuid4().hex}")
        yield made
        client.delete(made.name)


@contextmanager
def at_work(queue: Queue, arriving: int, taken: Callable[[], int]) -> Iterator[None]:
    """So many tasks come, and are taken, in each tenth of a second, also where a beat is late."""
    stop = threading.Event()

    def beat() -> None:
        began, beats = time.monotonic(), 0
        while not stop.wait(0.1):
            due = int((time.monotonic() - began) / 0.1) - beats
            beats += due
            queue.put(due * arriving)
            queue.take(due * taken())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_backlog_is_found_and_its_workers_are_scaled_until_it_shrinks(
    responding: Responding, cluster: Cluster, queue: Queue
) -> None:
    run = Run(responding, cluster, opened(), queue.name)
    queue.put(300)
    with at_work(queue, 3, lambda: 2 + 10 * (replicas(cluster) - 1)):
        waiting = run.go()
        assert waiting.stage is Stage.AWAITING_APPROVAL
        assert replicas(cluster) == 1
        (found,) = [fact for fact in waiting.facts if fact.kind is FactKind.CAUSES_FOUND]
        assert found.data["causes"][0]["code"] == "queue.too-few-workers"
        assert {"recovery.scale.usage", "recovery.scale.queue"} <= set(waiting.checks)
        run.approve()
        ended = run.go()
    assert (ended.stage, ended.outcome) == (Stage.CLOSED, "resolved")
    assert run.steps() == [SCALE_WORKERS]
    assert 2 <= replicas(cluster) <= 3  # the figures of a busy machine are rough


def test_workers_that_do_not_help_are_taken_away_again_and_a_person_is_asked(
    responding: Responding, cluster: Cluster, queue: Queue
) -> None:
    run = Run(responding, cluster, opened(), queue.name)
    queue.put(300)
    with at_work(queue, 4, lambda: 2):
        run.go()
        run.approve()
        ended = run.go()
    assert ended.stage is not Stage.CLOSED
    assert ended.proof is not None
    assert ended.proof["holds"] is False
    assert run.steps() == [SCALE_WORKERS, RETURN_SCALE]
    assert replicas(cluster) == 1


def test_workers_that_help_and_are_not_enough_stay_and_a_person_is_asked(
    responding: Responding, cluster: Cluster, queue: Queue
) -> None:
    run = Run(responding, cluster, opened(), queue.name)
    queue.put(300)
    with at_work(queue, 12, lambda: 3 * replicas(cluster)):
        run.go()
        run.approve()
        ended = run.go()
    assert ended.stage is not Stage.CLOSED
    assert ended.proof is not None
    assert ended.proof["holds"] is False
    assert "it helps and is not enough" in ended.proof["summary"]
    assert run.steps() == [SCALE_WORKERS]
    assert replicas(cluster) == 3  # one and its share of two


def test_without_a_backlog_nothing_is_scaled(
    responding: Responding, cluster: Cluster, queue: Queue
) -> None:
    ended = Run(responding, cluster, opened(), queue.name).go()
    assert (ended.stage, ended.outcome) == (Stage.CLOSED, "no action needed")
    assert ended.plan is None
    assert replicas(cluster) == 1


def test_what_a_person_asks_for_is_scaled_as_far_as_the_bounds_allow(
    responding: Responding, cluster: Cluster, queue: Queue
) -> None:
    run = Run(responding, cluster, opened(), queue.name)
    run.wish(Wanted.SCALE, part="api", replicas=50)
    run.go()
    run.approve()
    ended = run.go()
    assert (ended.stage, ended.outcome) == (Stage.CLOSED, "resolved")
    assert replicas(cluster, API) == 7  # three and the step of four
    assert run.steps() == ["recovery.scale.api"]


def test_a_shutdown_needs_two_stays_open_and_is_started_from_the_same_incident(
    responding: Responding, cluster: Cluster, queue: Queue
) -> None:
    run = Run(responding, cluster, opened("emergency"), queue.name)
    run.wish(Wanted.SHUT_DOWN)
    run.variables = {**run.variables, "RUNBOOK_DATABASE__WRITERS": '["nobody_at_all"]'}
    run.go()
    run.approve(BEA)
    assert run.go().stage is Stage.AWAITING_APPROVAL
    run.approve(CARL)
    stopped = run.go()
    assert stopped.stage is not Stage.CLOSED
    assert (replicas(cluster, API), replicas(cluster)) == (0, 0)
    names = ["workers", "api", "privacy-engine"]
    assert run.steps() == [f"emergency.stop.{name}" for name in names]
    run.wish(Wanted.START)
    run.go()
    run.approve(BEA, CARL)
    ended = run.go()
    assert (ended.stage, ended.outcome) == (Stage.CLOSED, "resolved")
    assert (replicas(cluster, API), replicas(cluster)) == (3, 1)
    assert run.steps()[3:] == [f"emergency.start.{name}" for name in reversed(names)]
