"""An incident closes when its alerts have resolved: after a quiet time, and never too early."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.gateway.app import build_app
from deployments.gateway.reconciler import Reconciler
from deployments.gateway.ticker import Ticker
from deployments.lab import alertmanager as labs
from deployments.lab import prometheus
from deployments.lab.processes import Processes
from deployments.lab.prometheus import PrometheusServer
from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alert_state import Sighting, Source
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.domain.plan import Plan
from tasks.work import alert_states, asking, incidents, journal, resolution, responder
from tasks.work.asking import Turn
from tasks.work.journal import Entry
from tasks.work.reconciliation import reconcile
from tests.gateway.peers import (
    BEGAN,
    LATER,
    alert,
    ask,
    deliver,
    facts,
    heard,
    peer,
    post_alert,
    real_alertmanager,
    set_gateway,
)
from tests.gateway.sample_flows import plan_for
from tests.gateway.stack import ALERT_TOKEN, served, until_true
from tests.gateway.test_monitoring import patient

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]


def after(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def respond(incident: str) -> None:
    """As far as closing is concerned: the first checks are done, and the run is over."""
    severity = {"severity": "P1", "rule": "class.severity", "reason": "as checked"}
    journal.append(incident, FactKind.SEVERITY_ASSIGNED, severity, key="severity:P1")
    with responder.connection() as connection:
        connection.execute(
            "UPDATE dispatches SET done_at = clock_timestamp() WHERE incident = %s", (incident,)
        )


def opened(*alerts: dict[str, object]) -> str:
    (incident,) = deliver(*(alerts or (alert(),))).opened
    respond(incident)
    return incident


def resolved_incident() -> str:
    incident = opened()
    deliver(alert(status="resolved"))
    tick()
    assert journal.read(incident).alerts_resolved_at is not None
    return incident


def tick(minutes: float = 0.0) -> None:
    """A new ticker each time: nothing may rest on what one remembers."""
    Ticker().tick(after(minutes))


def is_closed(incident: str) -> bool:
    return journal.read(incident).stage is Stage.CLOSED


def report_orders(incident: str) -> int:
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT count(*) FROM dispatches WHERE key = %s AND done_at IS NULL",
            (f"report:{incident}",),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_it_closes_after_a_quiet_time_with_its_outcome_and_one_report() -> None:
    incident = resolved_incident()
    tick(4.9)
    assert not is_closed(incident)
    tick(5.1)
    tick(5.2)
    state = journal.read(incident)
    assert (state.stage, state.outcome) == (Stage.CLOSED, "resolved")
    (closed,) = facts(incident, FactKind.CLOSED)
    assert closed.data["summary"].startswith("all its alerts have been resolved since 20")
    assert report_orders(incident) == 1
    assert len(facts(incident, FactKind.ALERTS_RESOLVED)) == 1


def test_one_alert_that_still_fires_keeps_it_open() -> None:
    incident = opened(alert(), alert("HighErrorRate", "f2"))
    deliver(alert(status="resolved"))
    tick(60)
    assert journal.read(incident).alerts_resolved_at is None
    deliver(alert("HighErrorRate", "f2", status="resolved"))
    tick()
    tick(6)
    assert is_closed(incident)


def test_an_alert_of_many_that_have_no_fact_of_their_own_counts_as_well() -> None:
    storm = [alert(fingerprint=f"f{number}") for number in range(120)]
    incident = opened(*storm)
    deliver(*({**one, "status": "resolved"} for one in storm[:-1]))
    tick()
    assert journal.read(incident).alerts_resolved_at is None
    deliver({**storm[-1], "status": "resolved"})
    tick()
    tick(6)
    assert is_closed(incident)


def test_an_alert_that_fires_in_the_quiet_time_cancels_the_closing() -> None:
    incident = resolved_incident()
    deliver(alert(starts_at=LATER))
    respond(incident)
    tick(60)
    assert not is_closed(incident)
    deliver(alert(starts_at=LATER, status="resolved"))
    tick()
    assert len(facts(incident, FactKind.ALERTS_RESOLVED)) == 2
    tick(6)
    assert is_closed(incident)


def test_an_alert_with_an_older_beginning_that_comes_late_cancels_it_too() -> None:
    incident = opened(alert(starts_at=LATER))
    deliver(alert(starts_at=LATER, status="resolved"))
    tick()
    deliver(alert(fingerprint="f2", starts_at=BEGAN))
    respond(incident)
    tick(60)
    assert not is_closed(incident)
    deliver(alert(fingerprint="f2", starts_at=BEGAN, status="resolved"))
    tick()
    tick(6)
    assert is_closed(incident)


def test_a_resolved_that_overtakes_its_firing_closes_nothing_before_and_the_incident_after() -> (
    None
):
    assert deliver(alert(status="resolved")).opened == ()
    incident = opened()
    assert sorted(heard(incident)) == [("firing", "f1"), ("resolved", "f1")]
    tick()
    tick(6)
    assert is_closed(incident)


def test_a_resolved_of_an_older_episode_does_not_close_a_newer_one() -> None:
    incident = opened()
    deliver(alert(starts_at=LATER))
    deliver(alert(status="resolved"))
    respond(incident)
    tick()
    tick(60)
    assert not is_closed(incident)
    assert facts(incident, FactKind.ALERTS_RESOLVED) == []


def test_a_beginning_in_the_future_does_not_let_it_close_over_what_fires_later() -> None:
    future = after(60).isoformat()
    incident = opened(alert(starts_at=future))
    deliver(alert(starts_at=future, status="resolved"))
    deliver(alert(starts_at=after(0).isoformat()))  # the sender's clock was put right
    respond(incident)
    tick()
    tick(40)
    tick(90)
    assert journal.read(incident).alerts_resolved_at is None
    assert not is_closed(incident)


def test_an_alert_that_began_anew_in_another_incident_is_over_in_this_one() -> None:
    incident = resolved_incident()
    tick(6)
    assert is_closed(incident)
    again = opened(alert(starts_at=LATER))
    assert again != incident
    tick(60)
    assert not is_closed(again)


def test_a_flapping_alert_keeps_it_open_until_it_is_quiet() -> None:
    begins = [(after(0) - timedelta(minutes=minutes)).isoformat() for minutes in (3, 2, 1)]
    incident = opened(alert(starts_at=begins[0]))
    for begin in begins[1:]:
        deliver(alert(starts_at=begin))
    deliver(alert(starts_at=begins[-1], status="resolved"))
    respond(incident)
    tick()
    assert journal.read(incident).alerts_resolved_at is not None
    tick(14)
    assert not is_closed(incident)
    tick(15.1)
    assert is_closed(incident)


def by_a_plan(incident: str) -> None:
    propose(incident, plan_for(incident, valid_for=timedelta(days=1)))


def by_an_approved_plan(incident: str) -> None:
    plan = plan_for(incident, valid_for=timedelta(days=1))
    propose(incident, plan)
    data = {"hash": plan.hash, "decision": "approved", "reason": "", "role": "approver"}
    journal.append(incident, FactKind.PLAN_DECIDED, data, actor="anna")


def by_a_half_done_step(incident: str) -> None:
    plan = plan_for(incident)
    propose(incident, plan)
    journal.append(incident, FactKind.STEP_STARTED, {"step": "recovery.swap", "target": "t"})
    data = {"hash": plan.hash, "decision": "denied", "reason": "", "role": "approver"}
    journal.append(incident, FactKind.PLAN_DECIDED, data, actor="anna")


def by_a_hold(incident: str) -> None:
    data = {"scope": "database/x", "reason": "evidence", "review_at": "", "needs": ""}
    journal.append(incident, FactKind.HOLD_SET, data)


def by_a_clock(incident: str) -> None:
    data = {"clock": "dpo", "due": after(600).isoformat(), "recipient": "dpo", "reason": "r"}
    journal.append(incident, FactKind.CLOCK_STARTED, data)


def by_a_run(incident: str) -> None:
    incidents.enqueue(incident, incidents.INCIDENT, f"{incident}:another")


def propose(incident: str, plan: Plan) -> None:
    data = {"plan": plan.as_json(), "hash": plan.hash}
    journal.append(incident, FactKind.PLAN_PROPOSED, data)


@pytest.mark.parametrize(
    "hinder",
    [
        by_a_plan,
        by_an_approved_plan,
        by_a_half_done_step,
        by_a_hold,
        by_a_clock,
        by_a_run,
    ],
)
def test_what_people_or_runs_are_not_done_with_stays_open(hinder: Callable[[str], None]) -> None:
    incident = resolved_incident()
    hinder(incident)
    tick(6)
    assert not resolution.close_if_resolved(incident, after(6))
    assert not is_closed(incident)


def test_what_nobody_has_looked_at_stays_open() -> None:
    (incident,) = deliver(alert()).opened
    deliver(alert(status="resolved"))
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = clock_timestamp()")
    tick()
    tick(60)
    assert not is_closed(incident)


def test_a_denied_plan_of_which_nothing_was_begun_keeps_nothing_open() -> None:
    incident = resolved_incident()
    plan = plan_for(incident)
    propose(incident, plan)
    data = {"hash": plan.hash, "decision": "denied", "reason": "", "role": "approver"}
    journal.append(incident, FactKind.PLAN_DECIDED, data, actor="anna")
    assert resolution.close_if_resolved(incident, after(6))


def test_a_plan_that_was_carried_out_and_whose_proof_failed_waits_for_a_person() -> None:
    incident = resolved_incident()
    by_an_approved_plan(incident)
    for kind in (FactKind.STEP_STARTED, FactKind.STEP_DONE):
        done = {"step": "recovery.swap", "target": "t", "summary": "", "result": {}}
        journal.append(incident, kind, done)
    journal.append(incident, FactKind.VERIFIED, {"what": "x", "holds": False, "summary": ""})
    month = 60 * 24 * 30
    tick(month)
    respond(incident)  # its runs are over
    tick(month)
    assert not resolution.close_if_resolved(incident, after(month))
    assert not is_closed(incident)


def test_an_incident_whose_policy_wants_a_person_is_told_resolved_and_stays_open() -> None:
    incident = opened(alert("AuditTrailIntegrityFailure"))
    deliver(alert("AuditTrailIntegrityFailure", status="resolved"))
    tick()
    assert journal.read(incident).alerts_resolved_at is not None
    tick(600)
    assert not is_closed(incident)


def test_after_an_incomplete_notification_nothing_closes_before_alertmanager_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (incident,) = deliver(alert(), truncated=3).opened
    respond(incident)
    deliver(alert(status="resolved"), truncated=3)
    tick()
    tick(60)
    assert not is_closed(incident)
    assert asking.claim(after(0)) is Turn.WANTED
    with peer() as there:
        ask(monkeypatch, there.url)
        there.fires("HighErrorRate", "f2")  # what was left out
        assert reconcile(after(0), at_once=True).missing == 1
    respond(incident)
    tick(60)
    assert not is_closed(incident)
    deliver(alert("HighErrorRate", "f2", status="resolved"))
    tick()
    tick(60)
    assert is_closed(incident)


def test_a_closing_that_was_cut_off_is_done_again_and_once() -> None:
    """Fact and order are one transaction: either both are there or neither is."""
    incident = resolved_incident()
    closers = [
        threading.Thread(target=resolution.close_if_resolved, args=(incident, after(6)))
        for _ in range(4)
    ]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    assert len(facts(incident, FactKind.CLOSED)) == 1
    assert report_orders(incident) == 1


def test_of_a_closing_and_an_alert_at_the_same_moment_one_comes_first_and_no_alert_is_lost() -> (
    None
):
    rolls = random.Random(7)
    for turn in range(8):
        incident = resolved_incident()
        late = alert(starts_at=f"2026-03-14T06:{turn:02}:00Z")
        sender = threading.Thread(target=deliver, args=(late,))
        sender.start()
        time.sleep(rolls.random() / 100)
        closed = resolution.close_if_resolved(incident, after(6))
        sender.join()
        (home,) = [name for name in journal.open_incidents() if ("firing", "f1") in heard(name)]
        assert (home != incident) is closed
        assert heard(home)[-1] == ("firing", "f1")
        finish(home, late)


def finish(incident: str, late: dict[str, object]) -> None:
    """Back to nothing open, for the next turn."""
    respond(incident)
    deliver({**late, "status": "resolved"})
    journal.append(incident, FactKind.CLOSED, {"outcome": "manual"}, key="closed")
    with responder.connection() as connection:
        connection.execute("DELETE FROM alert_states")
        connection.execute("DELETE FROM alerts")
        connection.execute("DELETE FROM notifications")


def test_a_tick_over_five_hundred_open_incidents_in_which_nothing_is_new_is_cheap() -> None:
    """Ten alerts each: nine have resolved, one fires."""
    entries, sightings = [], []
    for number in range(500):
        incident = f"INC-{number}"
        terms = {"title": "t", "component": "api", "closes_on_resolve": True}
        entries.append(Entry(incident, FactKind.OPENED, terms, key=f"opened:api/{number}"))
        severity = {"severity": "P2", "rule": "class.severity", "reason": "as checked"}
        entries.append(Entry(incident, FactKind.SEVERITY_ASSIGNED, severity))
        for place in range(10):
            fingerprint = f"{number}-{place}"
            data = {"fingerprint": fingerprint, "status": "firing", "name": "A", "labels": {}}
            entries.append(Entry(incident, FactKind.ALERT_RECEIVED, data))
            for status in list(AlertStatus)[: 2 if place else 1]:
                one = Alert(fingerprint, status, after(-9), {"alertname": "A"}, {})
                sightings.append(Sighting(one, incident, after(-8), Source.NOTIFICATION))
    with incidents.durably() as connection:
        journal.append_all_in(connection, entries)
        alert_states.observe_in(connection, sightings)
    ticker = Ticker()
    ticker.tick(after(0))
    took = []
    for _ in range(5):
        began = time.perf_counter()
        ticker.tick(after(0))
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1, took


@pytest.mark.skipif(labs.installed() is None, reason="no Alertmanager is installed on PATH")
def test_with_the_real_alertmanager_an_incident_begins_and_closes(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_gateway(monkeypatch, watchdog_minutes=0, resolve_quiet_minutes=0)
    ticker = Ticker()
    with (
        served(build_app(ticker=ticker)) as gateway,
        real_alertmanager(lab_processes, "am-sends", f"{gateway}/alerts", ALERT_TOKEN) as url,
    ):
        post_alert(url, alertname="ApplicationDown", severity="critical", category="operational")
        until_true(lambda: bool(journal.open_incidents()), 30)
        (incident,) = journal.open_incidents()
        respond(incident)
        ask(monkeypatch, url)
        assert reconcile(after(2)).differences == 0
        post_alert(
            url,
            datetime.now(UTC),
            alertname="ApplicationDown",
            severity="critical",
            category="operational",
        )
        until_true(lambda: is_closed(incident), 30)
    assert [status for status, _ in heard(incident)] == ["firing", "resolved"]
    assert journal.read(incident).outcome == "resolved"
    assert report_orders(incident) == 1


CLOSING_POLICY = """
[[routes]]
name = "all"
matchers = []
component = "audit-trail"
procedure = "triage"
title = "{alertname}"
owner = "on_call"
remedy = "manual"
closes_on_resolve = true
"""


@pytest.mark.skipif(
    labs.installed() is None or prometheus.installed() is None,
    reason="no Prometheus or no Alertmanager is installed on PATH",
)
def test_a_rule_fires_an_incident_begins_the_rule_resolves_and_the_incident_closes(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "routing.toml"
    policy.write_text(CLOSING_POLICY, encoding="utf-8")
    set_gateway(monkeypatch, resolve_quiet_minutes=0, policy_file=policy)
    program = prometheus.installed()
    assert program is not None
    with (
        patient() as ill,
        served(build_app(ticker=Ticker(), reconciler=Reconciler())) as gateway,
        real_alertmanager(lab_processes, "am-rule", f"{gateway}/alerts", ALERT_TOKEN) as url,
    ):
        ask(monkeypatch, url)
        watching = PrometheusServer(
            tmp_path / "prometheus", lab_processes, program, ill.address, "", url[len("http://") :]
        )
        watching.start()
        ill.passed = False
        until_true(lambda: bool(journal.open_incidents()), 60)
        (incident,) = journal.open_incidents()
        respond(incident)
        ill.passed = True
        until_true(lambda: is_closed(incident), 60)
        assert watching.child is not None
        watching.child.stop()
    assert [status for status, _ in heard(incident)] == ["firing", "resolved"]
    assert journal.read(incident).outcome == "resolved"
    assert report_orders(incident) == 1
