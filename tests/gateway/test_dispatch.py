"""Dispatch against a real Prefect server and real warm children, which all tests share."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from deployments.gateway.advance import Advance, Wait
from deployments.gateway.children import Child
from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.outbox import Outbox, Row
from deployments.gateway.prefect_api import PrefectApi
from deployments.gateway.ticker import LOCK as TICKER_LOCK
from deployments.gateway.ticker import Ticker
from deployments.lab.postgres import PostgresServer
from tasks.domain.facts import FactKind
from tasks.work import approvals, incidents, journal, responder, statements
from tasks.work.people import Person, Role
from tests.gateway.conftest import Prefect
from tests.gateway.dispatching import (
    Dispatching,
    declare,
    declare_urgent,
    facts,
    is_closed,
    results,
    running_dispatcher,
    runs_of,
)
from tests.gateway.sample_flows import FAILS, MEETS_NOBODY, NAPS, NESTS, SLEEPS, STEPS, WAITS
from tests.gateway.stack import own_database, spoil, until_true

pytestmark = [pytest.mark.flows, pytest.mark.usefixtures("dispatching")]


@pytest.fixture(scope="module")
def dispatching(server: PostgresServer, migrated: str, prefect: Prefect) -> Iterator[Dispatching]:
    """One dispatcher and one database for all tests of this file: to warm children takes long."""
    with (
        pytest.MonkeyPatch.context() as environment,
        own_database(server, migrated, environment),
        running_dispatcher(prefect.url, environment) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def closed_afterwards(dispatching: Dispatching) -> Iterator[None]:
    """No incident is left for the clocks of the next test, and both children are there for it."""
    dispatcher, _ = dispatching
    until_true(lambda: dispatcher.warm_children == 2, 60)
    yield
    for incident in journal.open_incidents():
        journal.append(incident, FactKind.CLOSED, {"outcome": "end of test"}, key="closed")


def test_declared_incident_runs_once_in_a_warm_child_under_its_own_name(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    dispatcher, _ = dispatching
    incident = declare("quick")
    until_true(lambda: results(incident) == ["Completed"])
    assert [run["name"] for run in runs_of(prefect.url, incident)] == [incident]
    started = facts(incident, FactKind.RUN_STARTED)
    assert len(started) == 1
    assert started[0].data["pid"] in dispatcher.child_pids


def test_cancel_in_prefect_stops_the_process_and_is_recorded(prefect: Prefect) -> None:
    incident = declare(SLEEPS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    pid = facts(incident, FactKind.RUN_STARTED)[0].data["pid"]
    run = runs_of(prefect.url, incident)[0]["id"]
    httpx.post(
        f"{prefect.url}/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}}
    ).raise_for_status()
    until_true(lambda: results(incident) == ["Cancelled"])
    assert [found["state"] for found in runs_of(prefect.url, incident)] == ["Cancelled"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert any("cancelled" in note.data["text"] for note in facts(incident, FactKind.NOTE))
    assert not is_closed(incident)


def test_run_that_a_person_suspends_stops_before_its_next_step_and_goes_on_later(
    prefect: Prefect,
) -> None:
    incident = declare(STEPS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    run = runs_of(prefect.url, incident)[0]["id"]
    details = {"pause_reschedule": True, "pause_timeout": "2100-01-01T00:00:00Z"}
    state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    httpx.post(f"{prefect.url}/flow_runs/{run}/set_state", json={"state": state}).raise_for_status()
    until_true(lambda: results(incident) == ["Suspended"], 5)
    assert not is_closed(incident)
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:alert:f1:2026-11-23")
    until_true(lambda: is_closed(incident))
    until_true(lambda: [run["state"] for run in runs_of(prefect.url, incident)] == ["Completed"])


def test_approval_resumes_the_suspended_run_and_closes_the_incident(prefect: Prefect) -> None:
    incident = declare(WAITS)
    until_true(lambda: results(incident) == ["Suspended"])
    decide(incident, "approved")
    Ticker().tick(datetime.now(UTC))
    until_true(lambda: is_closed(incident))
    until_true(lambda: results(incident) == ["Suspended", "Completed"])
    assert [run["state"] for run in runs_of(prefect.url, incident)] == ["Completed"]


def test_approval_that_arrives_before_the_run_has_suspended_is_not_lost() -> None:
    incident = declare(WAITS)
    until_true(lambda: journal.read(incident).plan is not None)
    decide(incident, "approved")
    Ticker().tick(datetime.now(UTC))
    until_true(lambda: is_closed(incident))


def test_expired_plan_is_decided_and_the_run_resumed() -> None:
    incident = declare(WAITS)
    until_true(lambda: results(incident) == ["Suspended"])
    ticker = Ticker()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ticker.tick(tomorrow)
    ticker.tick(tomorrow)
    decided = facts(incident, FactKind.PLAN_DECIDED)
    assert [(fact.data["decision"], fact.actor) for fact in decided] == [("expired", "runbook")]


def test_suspended_run_that_was_deleted_is_replaced_on_approval(prefect: Prefect) -> None:
    incident = declare(WAITS)
    until_true(lambda: results(incident) == ["Suspended"])
    run = runs_of(prefect.url, incident)[0]["id"]
    httpx.delete(f"{prefect.url}/flow_runs/{run}").raise_for_status()
    decide(incident, "approved")
    Ticker().tick(datetime.now(UTC))
    until_true(lambda: is_closed(incident))


def test_failed_run_leaves_the_incident_open_with_a_note() -> None:
    incident = declare(FAILS)
    until_true(lambda: results(incident) == ["Failed"])
    assert not is_closed(incident)
    assert any("failed" in note.data["text"] for note in facts(incident, FactKind.NOTE))


def test_run_that_failed_since_our_own_database_was_away_is_begun_again(prefect: Prefect) -> None:
    incident = declare(MEETS_NOBODY)
    until_true(lambda: results(incident) == ["Completed"])
    assert sorted(run["state"] for run in runs_of(prefect.url, incident)) == ["Completed", "Failed"]
    assert len(facts(incident, FactKind.CHECK_OBSERVED)) == 1
    assert is_closed(incident)


def test_failure_that_nobody_heard_of_is_begun_again_and_one_that_is_noted_is_not(
    dispatching: Dispatching,
) -> None:
    _, eyes = dispatching
    incident = declare(FAILS)
    until_true(lambda: results(incident) == ["Failed"])
    with responder.connection() as connection:
        connection.execute(
            "UPDATE dispatches SET done_at = NULL, result = NULL, lease_until = NULL"
            " WHERE incident = %s",
            (incident,),
        )
    until_true(lambda: results(incident) == ["Failed"])
    assert len(facts(incident, FactKind.RUN_STARTED)) == 1
    unheard = incidents.declare(FAILS, "api", "api_service", by="anna", starts_run=False)
    run = failed_in_a_child(eyes, unheard)
    with responder.connection() as connection:
        connection.execute(
            "INSERT INTO dispatches (incident, deployment, key, flow_run, attempts)"
            " VALUES (%s, 'incident/incident', %s, %s, 1)",
            (unheard, f"{unheard}:1", run),
        )
    until_true(lambda: results(unheard) == ["Failed"])
    (note,) = facts(unheard, FactKind.NOTE)
    assert run not in note.data["text"]
    assert len(facts(unheard, FactKind.RUN_STARTED)) == 1


def failed_in_a_child(eyes: PrefectApi, incident: str) -> str:
    """A run of the incident that a child has claimed, and that failed."""
    run = eyes.create_run(
        "incident/incident",
        key=f"{incident}:1",
        name=incident,
        tags=[incident],
        parameters={"incident_id": incident},
    )
    for state, name in (("PENDING", "Claimed"), ("FAILED", "Failed")):
        eyes.force_state(run.id, state, name, "")
    return run.id


def test_due_escalation_is_carried_out_once() -> None:
    incident = declare(FAILS)
    until_true(lambda: results(incident) == ["Failed"])
    ticker = Ticker()
    for _ in range(3):
        ticker.tick(datetime.now(UTC) + timedelta(minutes=16))
    assert [row for row in results(incident) if row != "Failed"] in ([None], ["Completed"])
    until_true(lambda: results(incident) == ["Failed", "Completed"])


def test_run_left_by_a_dead_gateway_is_taken_over_after_its_lease(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    _, eyes = dispatching
    with responder.connection() as connection:
        incident = incidents.declare("quick", "api", "api_service", by="anna", starts_run=False)
        run = eyes.create_run(
            "incident/incident",
            key=f"{incident}:1",
            name=incident,
            tags=[incident],
            parameters={"incident_id": incident},
        )
        for state in ({"type": "PENDING", "name": "Claimed"}, {"type": "RUNNING"}):
            httpx.post(
                f"{prefect.url}/flow_runs/{run.id}/set_state", json={"state": state}
            ).raise_for_status()
        connection.execute(
            "INSERT INTO dispatches (incident, deployment, key, flow_run, holder, lease_until,"
            " attempts) VALUES (%s, 'incident/incident', %s, %s, 'dead', now() + '2 s', 1)",
            (incident, f"{incident}:1", run.id),
        )
    time.sleep(1)
    assert results(incident) == [None]
    until_true(lambda: results(incident) == ["Completed"])
    assert sorted(run["state"] for run in runs_of(prefect.url, incident)) == [
        "Completed",
        "Crashed",
    ]


def test_run_that_was_created_claimed_and_never_handed_over_is_replaced(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    """As by a gateway that was killed between creating the run and binding its order to it."""
    _, eyes = dispatching
    incident = incidents.declare("quick", "api", "api_service", by="anna", starts_run=False)
    key = f"{incident}:1"
    left = eyes.create_run(
        "incident/incident",
        key=key,
        name=incident,
        tags=[incident],
        parameters={"incident_id": incident},
        is_claimed=True,
    )
    assert (left.state, left.created is not None) == ("PENDING", True)
    incidents.enqueue(incident, incidents.INCIDENT, key)
    until_true(lambda: results(incident) == ["Completed"], 30)
    assert sorted(run["state"] for run in runs_of(prefect.url, incident)) == [
        "Completed",
        "Crashed",
    ]
    assert len(facts(incident, FactKind.RUN_STARTED)) == 1


def test_run_that_a_worker_carries_out_is_left_alone(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    _, eyes = dispatching
    incident = incidents.declare("quick", "api", "api_service", by="anna", starts_run=False)
    run = eyes.create_run(
        "incident/incident",
        key=f"{incident}:1",
        name=incident,
        tags=[incident],
        parameters={"incident_id": incident},
    )
    for state in ({"type": "PENDING"}, {"type": "RUNNING"}):
        httpx.post(f"{prefect.url}/flow_runs/{run.id}/set_state", json={"state": state})
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:1")
    time.sleep(3)
    assert results(incident) == [None]
    assert facts(incident, FactKind.RUN_STARTED) == []
    done = {"state": {"type": "COMPLETED", "name": "Completed"}}
    httpx.post(f"{prefect.url}/flow_runs/{run.id}/set_state", json=done)
    until_true(lambda: results(incident) == ["Completed"])


def running_with_a_worker(eyes: PrefectApi, prefect: Prefect) -> tuple[str, str]:
    """An incident and its run, which a worker has claimed."""
    incident = incidents.declare("quick", "api", "api_service", by="anna", starts_run=False)
    run = eyes.create_run(
        "incident/incident",
        key=f"{incident}:ui",
        name=incident,
        tags=[incident],
        parameters={"incident_id": incident},
    )
    for state in ({"type": "PENDING"}, {"type": "RUNNING"}):
        httpx.post(f"{prefect.url}/flow_runs/{run.id}/set_state", json={"state": state})
    journal.append(incident, FactKind.RUN_STARTED, {"flow_run": run.id})
    return incident, run.id


@pytest.mark.parametrize("bound", [True, False])
def test_silent_run_of_a_worker_is_noted_once_with_what_to_do(
    dispatching: Dispatching, prefect: Prefect, *, bound: bool
) -> None:
    _, eyes = dispatching
    incident, run = running_with_a_worker(eyes, prefect)
    row = Row(0, incident, incidents.RESUME, f"resume:{incident}:1", run if bound else None, 0)
    assert Advance(eyes, Outbox("tests")).next_for(row) == Wait(2.0)
    assert facts(incident, FactKind.NOTE) == []
    impatient = Advance(eyes, Outbox("tests"), stuck_after=timedelta(0))
    for _ in range(2):
        assert impatient.next_for(row) == Wait(2.0)
    (note,) = facts(incident, FactKind.NOTE)
    assert run in note.data["text"]
    assert "cancel the run in Prefect" in note.data["text"]


def test_alerts_that_go_on_joining_do_not_hide_a_silent_run(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    _, eyes = dispatching
    incident, run = running_with_a_worker(eyes, prefect)
    time.sleep(0.5)
    journal.append(incident, FactKind.ALERT_RECEIVED, {"status": "firing"})
    row = Row(0, incident, incidents.RESUME, f"resume:{incident}:1", run, 0)
    Advance(eyes, Outbox("tests"), stuck_after=timedelta(seconds=0.5)).next_for(row)
    assert len(facts(incident, FactKind.NOTE)) == 1


def test_second_order_while_a_run_is_suspended_goes_on_with_that_run(prefect: Prefect) -> None:
    incident = declare(WAITS)
    until_true(lambda: results(incident) == ["Suspended"])
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:alert:f1:2026-11-23")
    until_true(lambda: results(incident) == ["Suspended", "Suspended"])
    assert [run["state"] for run in runs_of(prefect.url, incident)] == ["Suspended"]
    decide(incident, "approved")
    Ticker().tick(datetime.now(UTC))
    until_true(lambda: is_closed(incident))
    until_true(lambda: [run["state"] for run in runs_of(prefect.url, incident)] == ["Completed"])


def test_second_order_after_a_failed_run_starts_another_run(prefect: Prefect) -> None:
    incident = declare(FAILS)
    until_true(lambda: results(incident) == ["Failed"])
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:alert:f1:2026-11-23")
    until_true(lambda: results(incident) == ["Failed", "Failed"])
    assert len(runs_of(prefect.url, incident)) == 2


def test_order_of_an_incident_that_cannot_be_read_does_not_stop_the_others(
    dispatching: Dispatching,
) -> None:
    dispatcher, _ = dispatching
    broken = incidents.declare("t", "api", "api_service", by="anna", starts_run=False)
    spoil(broken)
    incidents.enqueue(broken, incidents.RESUME, f"resume:{broken}:1")
    incident = declare("quick")
    until_true(lambda: results(incident) == ["Completed"])
    assert results(broken) == [None]
    assert dispatcher.is_alive


def test_dispatch_goes_on_after_an_error_that_nobody_foresaw() -> None:
    with responder.connection() as connection:
        connection.execute("ALTER TABLE dispatches RENAME TO away")
        time.sleep(1.5)
        connection.execute("ALTER TABLE away RENAME TO dispatches")
    incident = declare("quick")
    until_true(lambda: results(incident) == ["Completed"])


def test_dead_child_is_not_counted_before_anybody_has_heard_of_it(
    dispatching: Dispatching,
) -> None:
    _, eyes = dispatching
    child = Child.start([])
    resting = Dispatcher(eyes, children=1)
    try:
        child.warm = True
        resting._children.add(child)
        assert resting.warm_children == 1
        child.process.kill()
        until_true(lambda: resting.warm_children == 0)
    finally:
        resting._children.bury(child)
        resting._wakeups.close()
        resting._selector.close()


def test_incident_that_cannot_be_read_does_not_stop_the_clocks_of_the_others() -> None:
    broken = incidents.declare("t", "api", "api_service", by="anna", starts_run=False)
    spoil(broken)
    incident = incidents.declare("t", "api", "api_service", by="anna", starts_run=False)
    Ticker().tick(datetime.now(UTC) + timedelta(minutes=16))
    assert len(results(incident)) == 1
    assert results(broken) == []


def test_ticker_goes_on_after_an_error_that_nobody_foresaw() -> None:
    ticker = Ticker()
    ticker.start()
    try:
        with responder.connection() as connection:
            connection.execute("ALTER TABLE journal RENAME TO away")
            time.sleep(1.5)
            connection.execute("ALTER TABLE away RENAME TO journal")
        assert ticker.is_alive
    finally:
        ticker.stop()


def decide(incident: str, decision: str) -> None:
    state = journal.read(incident)
    approvals.decide(
        incident, state.plan_hash, decision, Person("bea", Role.APPROVER), "looks right"
    )


def test_two_gateways_share_the_work_and_start_nothing_twice(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    first, _ = dispatching
    with PrefectApi(prefect.url) as api:
        second = Dispatcher(
            api, children=1, modules=["tests.gateway.sample_flows"], stop_grace_seconds=0.5
        )
        second.start()
        try:
            until_true(lambda: second.warm_children == 1, 60)
            all_pids = {*first.child_pids, *second.child_pids}
            declared = [declare("quick") for _ in range(8)]
            for incident in declared:
                until_true(lambda incident=incident: results(incident) == ["Completed"], 60)
            started = [facts(incident, FactKind.RUN_STARTED) for incident in declared]
            assert [len(runs) for runs in started] == [1] * 8
            pids = {runs[0].data["pid"] for runs in started}
            assert pids <= all_pids
            assert pids & set(second.child_pids)
        finally:
            second.stop()


def test_dispatch_waits_while_prefect_is_away_and_says_so_and_goes_on_when_it_is_back(
    dispatching: Dispatching, prefect: Prefect, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, _ = dispatching
    assert dispatcher.prefect_answers
    api = dispatcher._api
    api._http.base_url = "http://127.0.0.1:9/api"
    incident = declare("quick")
    until_true(lambda: not dispatcher.prefect_answers)
    assert results(incident) == [None]
    assert dispatcher.is_alive
    until_true(lambda: "dispatch waits, the intake goes on" in caplog.text)
    api._http.base_url = prefect.url
    until_true(lambda: results(incident) == ["Completed"])
    assert dispatcher.prefect_answers


def test_idle_dispatcher_notices_that_prefect_is_away_and_that_it_is_back(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    dispatcher, _ = dispatching
    api = dispatcher._api
    api._http.base_url = "http://127.0.0.1:9/api"
    until_true(lambda: not dispatcher.prefect_answers, 30)
    api._http.base_url = prefect.url
    until_true(lambda: dispatcher.prefect_answers, 30)


def test_subflow_of_a_killed_child_is_not_left_running_in_prefect(prefect: Prefect) -> None:
    incident = declare(NESTS)
    until_true(lambda: len(facts(incident, FactKind.CHECK_OBSERVED)) == 1)
    os.kill(facts(incident, FactKind.RUN_STARTED)[0].data["pid"], signal.SIGKILL)
    until_true(lambda: results(incident) == ["Completed"], 40)
    runs = httpx.post(f"{prefect.url}/flow_runs/filter", json={}, timeout=10).json()
    below = [run for run in runs if run["parameters"] == {"incident": incident}]
    assert [run["state_name"] for run in below] == ["Crashed"]


def test_deployment_limit_holds_and_what_waits_for_a_slot_gets_it(
    dispatching: Dispatching, prefect: Prefect
) -> None:
    _, eyes = dispatching
    limited(eyes, prefect, 1)
    try:
        declared = [declare_urgent(NAPS), declare_urgent(NAPS)]
        for incident in declared:
            until_true(lambda incident=incident: results(incident) == ["Completed"], 60)
    finally:
        limited(eyes, prefect, None)
    first, second = sorted(
        (facts(incident, FactKind.RUN_STARTED)[0].at, facts(incident, FactKind.CLOSED)[0].at)
        for incident in declared
    )
    assert timedelta(0) <= second[0] - first[1] < timedelta(seconds=15)  # not the 30 of a wait
    assert [len(runs_of(prefect.url, incident)) for incident in declared] == [1, 1]


_PROBED_SECONDS = 6.0
"""By then a dispatcher has seen what became of a deployment."""


def limited(eyes: PrefectApi, prefect: Prefect, limit: int | None) -> None:
    deployment = eyes.deployment("incident/incident").id
    change = {"concurrency_limit": limit}
    httpx.patch(f"{prefect.url}/deployments/{deployment}", json=change).raise_for_status()
    time.sleep(_PROBED_SECONDS)


def test_same_escalation_or_resumption_is_ordered_once() -> None:
    incident = incidents.declare("quick", "api", "api_service", by="anna", starts_run=False)
    assert incidents.enqueue(incident, incidents.ESCALATION, f"escalate:{incident}:x")
    assert not incidents.enqueue(incident, incidents.ESCALATION, f"escalate:{incident}:x")


def test_ticker_leaves_the_work_to_the_one_that_holds_the_lock() -> None:
    incident = incidents.declare("quick", "api", "api_service", by="anna", starts_run=False)
    later = datetime.now(UTC) + timedelta(minutes=20)
    with responder.connection() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", (TICKER_LOCK,))
        Ticker().tick(later)
        assert results(incident) == []
    Ticker().tick(later)
    assert len(results(incident)) == 1


def test_an_incident_closed_by_hand_while_its_run_waits_gets_the_run_that_reports_it() -> None:
    incident = declare(WAITS)
    until_true(lambda: results(incident) == ["Suspended"], 60)
    statements.close(incident, Person("bea", Role.APPROVER), "not needed")
    until_true(lambda: results(incident) == ["Suspended", "Completed"], 60)
    runs = [fact.data["flow_run"] for fact in facts(incident, FactKind.RUN_STARTED)]
    assert len(runs) == 2
    assert len(set(runs)) == 1  # the suspended one goes on: an incident never has two


def test_an_incident_that_is_closed_and_reported_gets_no_further_run() -> None:
    incident = incidents.declare("t", "api", "api_service", by="anna", starts_run=False)
    journal.append(incident, FactKind.CLOSED, {"outcome": "closed by hand"}, key="closed")
    journal.append(incident, FactKind.REPORTED, {"html": {}})
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:late")
    until_true(lambda: results(incident) == ["closed already"], 60)
    assert facts(incident, FactKind.RUN_STARTED) == []


def test_broken_glass_is_told_though_the_incident_is_closed_in_the_same_second() -> None:
    bea = Person("bea", Role.APPROVER)
    incident = incidents.declare("t", "api", "api_service", by="anna", starts_run=False)
    statements.hold_everything(bea, "stop", datetime.now(UTC) + timedelta(hours=1))
    glass = statements.break_glass(incident, bea, "database/rlhf_audit", "patients wait")
    statements.close(incident, bea, "mended by hand")
    until_true(lambda: len(facts(incident, FactKind.ESCALATED)) == 2, 60)
    told = {fact.data["step"]: fact.data["to"] for fact in facts(incident, FactKind.ESCALATED)}
    assert told == {
        f"glass.{glass.seq}": "compliance_officer",
        f"glass.{glass.seq}.on-call": "on_call",
    }
