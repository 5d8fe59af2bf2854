"""The dead-man timer: when the Watchdog is not heard, an incident begins; once, and it ends."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.gateway.ticker import Ticker
from tasks.domain.alert_state import State
from tasks.domain.facts import FactKind
from tasks.domain.severity import Severity, assess_alerts
from tasks.work import heartbeats, journal, responder
from tasks.work.reconciliation import reconcile
from tests.gateway.peers import alert, ask, deliver, facts, heard, peer, set_gateway, states

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

SILENT = "responder:alerting-silent"

WITHOUT_HEARTBEAT = """
[[routes]]
name = "all"
matchers = []
component = "unknown"
procedure = "triage"
title = "{alertname}"
owner = "dpo"
remedy = "manual"
"""


def beat(at: datetime, name: str = "Watchdog") -> None:
    with responder.connection() as connection:
        heartbeats.beat_in(connection, name, at)


def now() -> datetime:
    return datetime.now(UTC)


def only_incident() -> str:
    (incident,) = journal.open_incidents()
    return incident


def orders() -> list[tuple[str, int]]:
    with responder.connection() as connection:
        return connection.execute("SELECT deployment, priority FROM dispatches").fetchall()


def test_without_a_watchdog_for_five_minutes_an_incident_begins_once() -> None:
    started = now()
    assert heartbeats.watch(started, started + timedelta(minutes=4, seconds=59)) == ""
    incident = heartbeats.watch(started, started + timedelta(minutes=5))
    assert incident == only_incident()
    for minute in (5, 6, 600):
        assert heartbeats.watch(started, started + timedelta(minutes=minute)) == ""
    state = journal.read(incident)
    assert (state.component, state.procedure) == ("alerting", "triage")
    assert state.title == "Alerting is silent: no Watchdog for 5 minutes"
    assert state.closes_on_resolve
    assessed = assess_alerts(state.alerts)
    assert assessed is not None
    assert assessed.severity is Severity.P1
    assert orders() == [("incident/incident", 1)]
    assert states(incident) == {SILENT: State.FIRING}


def test_a_watchdog_that_beats_keeps_it_quiet_though_its_notification_is_always_the_same() -> None:
    started = now() - timedelta(hours=3)
    first = deliver(alert("Watchdog", "watchdog"))
    again = deliver(alert("Watchdog", "watchdog"))
    assert (first.duplicate, again.duplicate) == (False, True)
    assert heartbeats.watch(started, now() + timedelta(minutes=4)) == ""
    assert heartbeats.watch(started, now() + timedelta(minutes=6)) == only_incident()


def test_a_resolved_watchdog_is_no_beat() -> None:
    deliver(alert("Watchdog", "watchdog", status="resolved"))
    assert heartbeats.watch(now() - timedelta(minutes=5), now()) == only_incident()


def test_a_gateway_that_has_just_started_gives_it_time() -> None:
    beat(now() - timedelta(hours=5))
    assert heartbeats.watch(now() - timedelta(minutes=4), now()) == ""


@pytest.mark.parametrize("whose", ["gateway", "database"])
def test_a_clock_that_was_ahead_hides_no_silence(whose: str) -> None:
    if whose == "gateway":
        beat(now() + timedelta(hours=2))
    else:
        beat(now())
        with responder.connection() as connection:
            connection.execute("UPDATE heartbeats SET last_at = last_at + interval '2 hours'")
        beat(now())
    started = now() - timedelta(hours=1)
    assert heartbeats.watch(started, now() + timedelta(minutes=4)) == ""
    assert heartbeats.watch(started, now() + timedelta(minutes=6)) == only_incident()


def test_the_silence_belongs_to_whom_the_policy_names_for_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = heartbeats.watch(now() - timedelta(minutes=10), now())
    assert journal.read(incident).owner == "engineering_lead"  # the shipped policy's
    journal.append(incident, FactKind.CLOSED, {"outcome": "manual"}, key="closed")
    policy = tmp_path / "routing.toml"
    policy.write_text(WITHOUT_HEARTBEAT, encoding="utf-8")
    set_gateway(monkeypatch, policy_file=policy)
    beat(now())
    started = now() - timedelta(minutes=10)
    heartbeats.watch(started, now())
    heartbeats.watch(started, now() + timedelta(minutes=6))
    assert journal.read(only_incident()).owner == "on_call"


def test_when_it_beats_again_that_is_said_and_a_restart_alone_ends_no_silence() -> None:
    started = now() - timedelta(minutes=10)
    incident = heartbeats.watch(started, now())
    assert heartbeats.watch(now(), now() + timedelta(seconds=1)) == ""  # another gateway starts
    assert heard(incident) == [("firing", SILENT)]
    beat(now())
    assert heartbeats.watch(started, now()) == incident
    assert heartbeats.watch(started, now()) == ""
    assert heard(incident) == [("firing", SILENT), ("resolved", SILENT)]
    said = facts(incident, FactKind.ALERT_RECEIVED)[-1].data["annotations"]["summary"]
    assert said == "the Watchdog is heard again, 10 minutes later"
    assert states(incident) == {SILENT: State.RESOLVED}


def test_a_second_silence_joins_the_incident_of_the_first() -> None:
    started = now() - timedelta(minutes=10)
    incident = heartbeats.watch(started, now())
    beat(now())
    heartbeats.watch(started, now())
    assert heartbeats.watch(started, now() + timedelta(minutes=6)) == incident
    assert [status for status, _ in heard(incident)] == ["firing", "resolved", "firing"]
    assert len(orders()) == 2


def test_nobody_waits_for_a_watchdog_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    set_gateway(monkeypatch, watchdog_minutes=0)
    assert heartbeats.watch(now() - timedelta(days=1), now()) == ""
    assert journal.open_incidents() == []


def test_gateways_that_notice_at_the_same_time_begin_one_incident() -> None:
    started = now() - timedelta(minutes=10)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(heartbeats.watch(started, now())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found)[:3] == ["", "", ""]
    assert heard(only_incident()) == [("firing", SILENT)]


def test_the_ticker_watches() -> None:
    ticker = Ticker(started_at=now() - timedelta(minutes=10))
    ticker.tick(now())
    assert journal.read(only_incident()).component == "alerting"


def test_reconciliation_leaves_our_own_alert_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    incident = heartbeats.watch(now() - timedelta(minutes=10), now())
    with peer() as there:
        ask(monkeypatch, there.url)
        there.fires("Watchdog", "watchdog")
        for minute in (0, 2, 20):
            assert reconcile(now() + timedelta(minutes=minute)).differences == 0
    assert states(incident) == {SILENT: State.FIRING}
