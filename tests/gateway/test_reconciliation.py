"""Alertmanager is asked what fires: what never arrived is taken in, what is gone is noticed."""

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from deployments.gateway.app import build_app
from deployments.gateway.reconciler import Reconciler
from deployments.lab import alertmanager as labs
from deployments.lab.processes import Processes
from tasks.clients.errors import Transient
from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alert_state import EPISODES_KEPT, Sighting, Source, State, joined
from tasks.domain.facts import FactKind
from tasks.work import alert_states, asking, incidents, journal, responder
from tasks.work.asking import Turn
from tasks.work.reconciliation import Reconciled, reconcile
from tests.gateway.peers import (
    BEGAN,
    Peer,
    alert,
    ask,
    deliver,
    facts,
    heard,
    peer,
    post_alert,
    real_alertmanager,
    set_gateway,
    states,
)
from tests.gateway.stack import served

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

NOW = datetime.now(UTC)
NOTIFIED = Source.NOTIFICATION


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """One Alertmanager, up for long, that lists the Watchdog."""
    with peer() as one:
        ask(monkeypatch, one.url)
        one.fires("Watchdog", "watchdog")
        yield one


def only_incident() -> str:
    (incident,) = journal.open_incidents()
    return incident


def test_an_alert_that_never_arrived_opens_its_incident_and_is_taken_in_once(there: Peer) -> None:
    there.fires(severity="critical")
    found = reconcile(NOW)
    assert (found.answered, found.missing, found.differences) == (1, 1, 1)
    incident = only_incident()
    assert journal.read(incident).component == "api"
    assert states(incident) == {"f1": State.FIRING}
    assert reconcile(after(1)).differences == 0
    deliver(alert(severity="critical"))  # its notification was only slow
    assert heard(incident) == [("firing", "f1")]


def test_what_arrived_is_no_difference_however_exactly_its_beginning_is_told(there: Peer) -> None:
    deliver(alert(starts_at="2026-03-14T03:00:00.500987654Z"))  # the API says milliseconds
    there.fires(starts_at="2026-03-14T03:00:00.500Z")
    assert reconcile(NOW).differences == 0


def test_the_watchdog_itself_is_neither_taken_in_nor_a_beat(there: Peer) -> None:
    assert there.alerts
    assert reconcile(NOW).differences == 0
    assert journal.open_incidents() == []
    with responder.connection() as connection:
        assert connection.execute("SELECT count(*) FROM heartbeats").fetchone() == (0,)


def test_a_young_alert_is_given_the_time_to_arrive_unless_alerts_were_left_out(
    there: Peer,
) -> None:
    there.fires(starts_at=NOW.isoformat())
    assert reconcile(NOW).missing == 0
    assert reconcile(NOW, at_once=True).missing == 1


@pytest.mark.parametrize("state", ["suppressed", "unprocessed"])
def test_what_is_silenced_or_not_yet_processed_opens_nothing_but_counts_as_firing(
    there: Peer, state: str
) -> None:
    there.fires(state=state)
    assert reconcile(NOW).differences == 0
    deliver(alert())
    for minute in range(4):
        assert reconcile(after(minute)).differences == 0
    assert states(only_incident()) == {"f1": State.FIRING}


def test_alerts_of_other_receivers_are_left_alone(
    there: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, there.url, receiver="runbook")
    there.fires(receiver="pager")
    assert reconcile(NOW).differences == 0
    there.fires("DatabaseDown", "f2")
    assert reconcile(NOW).missing == 1


def test_what_no_alertmanager_knows_any_more_is_resolved_after_two_minutes(there: Peer) -> None:
    assert there.alerts
    deliver(alert())
    incident = only_incident()
    assert [reconcile(after(minute)).gone for minute in (0, 1, 1.9)] == [0, 0, 0]
    assert states(incident) == {"f1": State.FIRING}
    assert reconcile(after(2)).gone == 1
    assert states(incident) == {"f1": State.RESOLVED}
    assert heard(incident) == [("firing", "f1"), ("resolved", "f1")]
    said = facts(incident, FactKind.ALERT_RECEIVED)[-1].data["annotations"]["summary"]
    assert said.startswith("noticed by reconciliation")
    assert reconcile(after(3)).differences == 0


def test_an_alert_that_is_seen_again_in_between_begins_its_absence_anew(there: Peer) -> None:
    deliver(alert())
    reconcile(NOW)
    there.fires()
    reconcile(after(1))
    there.alerts.pop()
    assert [reconcile(after(minute)).gone for minute in (2, 3, 3.9, 4)] == [0, 0, 0, 1]


def test_a_restarted_alertmanager_resolves_nothing(there: Peer) -> None:
    deliver(alert())
    there.up_since = after(-1)
    assert [reconcile(after(minute)).gone for minute in range(4)] == [0, 0, 0, 0]
    assert reconcile(after(4)).gone == 1  # up for five minutes by now


def test_an_alertmanager_that_does_not_hear_the_watchdog_resolves_nothing(
    there: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(alert())
    there.alerts.clear()
    assert [reconcile(after(minute)).gone for minute in (0, 2, 9)] == [0, 0, 0]
    set_gateway(monkeypatch, watchdog_minutes=0)  # none is expected
    assert reconcile(after(10)).gone == 1


def test_one_of_two_peers_that_does_not_answer_is_said_and_nothing_is_resolved(
    there: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(alert())
    with peer() as second:
        ask(monkeypatch, there.url, second.url)
        second.status = 503
        second.fires()
        there.fires("DatabaseDown", "f2")
        found = reconcile(NOW)
        assert (found.peers, found.answered, found.missing, found.gone) == (2, 1, 1, 0)
        (complaint,) = found.complaints
        assert complaint.startswith("Transient")
        assert second.url in complaint
        assert reconcile(after(9)).gone == 0
        second.status = 200
        assert reconcile(after(10)).gone == 0  # the second still knows it
        assert asking.standing().answered_at == after(10)


def test_two_peers_that_each_know_a_part_are_taken_together(
    there: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer() as second:
        ask(monkeypatch, there.url, second.url)
        there.fires("DatabaseDown", "f2", state="suppressed")
        second.fires("DatabaseDown", "f2")
        second.fires()
        assert reconcile(NOW).missing == 2


def test_when_nobody_answers_for_more_than_ten_minutes_alerts_are_stale_until_one_does(
    there: Peer,
) -> None:
    deliver(alert())
    incident = only_incident()
    there.fires()
    there.status = 500
    for minute in (0, 5, 60):
        assert reconcile(after(minute)).answered == 0
    assert states(incident, after(9.9)) == {"f1": State.FIRING}
    assert states(incident, after(60)) == {"f1": State.STALE}
    there.status = 200
    reconcile(after(61))
    assert states(incident, after(61)) == {"f1": State.FIRING}


def test_an_alert_that_fires_again_with_its_old_beginning_is_noticed(there: Peer) -> None:
    """Prometheus was cut off, Alertmanager resolved the alert by time-out, and it never ended."""
    deliver(alert())
    deliver(alert(status="resolved"))
    incident = only_incident()
    there.fires()
    assert [reconcile(after(minute)).again for minute in (0, 4.9)] == [0, 0]
    assert states(incident) == {"f1": State.RESOLVED}
    assert reconcile(after(5)).again == 1
    assert states(incident) == {"f1": State.FIRING}
    assert reconcile(after(6)).differences == 0
    there.alerts.pop()
    assert [reconcile(after(minute)).gone for minute in (7, 8, 9)] == [0, 0, 1]
    assert states(incident, after(60)) == {"f1": State.RESOLVED}


def close_by_hand(incident: str) -> datetime:
    data = {"outcome": "no action needed", "summary": "it looked like nothing"}
    journal.append(incident, FactKind.CLOSED, data, actor="anna", key="closed")
    (closed,) = facts(incident, FactKind.CLOSED)
    return closed.at


def test_an_alert_that_outlasts_its_closed_incident_opens_another_once(there: Peer) -> None:
    """Notifications repeat its old startsAt, and by themselves have no second effect."""
    deliver(alert())
    first = only_incident()
    closed_at = close_by_hand(first)
    there.fires()
    assert reconcile(closed_at + timedelta(minutes=4.9)).differences == 0
    found = reconcile(closed_at + timedelta(minutes=5))
    assert (found.outlasting, found.differences) == (1, 1)
    second = only_incident()
    assert second != first
    assert states(second) == {"f1": State.FIRING}
    (fact,) = facts(second, FactKind.ALERT_RECEIVED)
    assert fact.data["annotations"]["summary"].startswith("noticed by reconciliation")
    assert reconcile(closed_at + timedelta(minutes=60)).differences == 0
    deliver(alert(), alert("Watchdog", "watchdog"))
    assert heard(second) == [("firing", "f1")]
    closed_again_at = close_by_hand(second)
    assert reconcile(closed_again_at + timedelta(minutes=5)).outlasting == 1
    third = only_incident()
    there.alerts.pop()
    gone = [reconcile(closed_again_at + timedelta(minutes=minute)).gone for minute in (6, 8)]
    assert gone == [0, 1]
    assert states(third, closed_again_at + timedelta(hours=1)) == {"f1": State.RESOLVED}


def test_what_somebody_has_silenced_may_outlast_its_incident(there: Peer) -> None:
    deliver(alert())
    closed_at = close_by_hand(only_incident())
    there.fires(state="suppressed")
    for minute in (5, 60):
        assert reconcile(closed_at + timedelta(minutes=minute)).differences == 0
    assert journal.open_incidents() == []


def test_two_gateways_that_notice_an_outlasting_alert_open_one_incident(there: Peer) -> None:
    deliver(alert())
    closed_at = close_by_hand(only_incident())
    there.fires()
    late = closed_at + timedelta(minutes=6)
    threads = [threading.Thread(target=reconcile, args=(late,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard(only_incident()) == [("firing", "f1")]


def test_what_began_after_one_with_a_beginning_in_the_future_is_missed(there: Peer) -> None:
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    deliver(alert(starts_at=future))
    deliver(alert(starts_at=future, status="resolved"))
    began = datetime.now(UTC) + timedelta(seconds=1)
    there.fires(starts_at=began.isoformat())
    assert reconcile(began).missing == 0
    assert reconcile(began + timedelta(minutes=2)).missing == 1
    assert states(only_incident(), began + timedelta(hours=2)) == {"f1": State.FIRING}
    assert reconcile(began + timedelta(hours=2)).differences == 0


def test_an_alert_with_a_beginning_in_the_future_is_taken_in(there: Peer) -> None:
    there.fires(starts_at=after(60).isoformat())
    assert [reconcile(after(minute)).missing for minute in (0, 1)] == [1, 0]


def test_a_watchdog_that_fires_again_is_no_beat(there: Peer) -> None:
    deliver(alert("Watchdog", "watchdog"))
    deliver(alert("Watchdog", "watchdog", status="resolved"))
    with responder.connection() as connection:
        connection.execute("UPDATE heartbeats SET last_at = last_at - interval '1 hour'")
    assert there.alerts
    assert [reconcile(after(minute)).differences for minute in (0, 5, 6)] == [0, 0, 0]
    with responder.connection() as connection:
        (last_at,) = connection.execute("SELECT last_at FROM heartbeats").fetchone() or (None,)
    assert last_at < datetime.now(UTC) - timedelta(minutes=50)


def test_alertmanager_is_compared_without_the_journals_lock_and_what_is_seen_meanwhile_stands(
    there: Peer,
) -> None:
    assert there.alerts
    deliver(alert())
    incident = only_incident()
    looking = threading.Thread(target=reconcile, args=(NOW,))
    with incidents.durably() as connection:
        journal.lock(connection)
        looking.start()
        until = time.monotonic() + 20
        while not others_wait(connection):
            assert time.monotonic() < until
        again = Alert(
            "f1", AlertStatus.FIRING, datetime.fromisoformat(BEGAN), {"alertname": "A"}, {}
        )
        seen = Sighting(again, incident, datetime.now(UTC), NOTIFIED)
        alert_states.observe_in(connection, [seen])
    looking.join()
    with responder.connection() as connection:
        ((episode,),) = alert_states.episodes_in(connection, ["f1"]).values()
    assert episode.disputed_since is None
    reconcile(after(1))
    with responder.connection() as connection:
        ((episode,),) = alert_states.episodes_in(connection, ["f1"]).values()
    assert episode.disputed_since == after(1)


def others_wait(connection: psycopg.Connection[Any]) -> bool:
    waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return connection.execute(waiting).fetchone() is not None


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P01'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON alerts EXECUTE FUNCTION refuse()
"""


def test_alertmanager_has_answered_only_when_what_it_said_is_taken_in(there: Peer) -> None:
    """Or an incident would close between the two, over what was left out."""
    there.fires()
    with responder.connection() as connection:
        connection.execute(REFUSE)
    try:
        with pytest.raises(Transient):
            reconcile(NOW)
        assert asking.standing().answered_at is None
    finally:
        with responder.connection() as connection:
            connection.execute("DROP FUNCTION refuse CASCADE")
    assert reconcile(after(1)).missing == 1
    assert asking.standing().answered_at == after(1)


def test_a_gateway_that_may_ask_nobody_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with served(build_app()) as gateway:
        assert httpx.get(f"{gateway}/readyz").json()["reconciliation"] == "not configured"
    said = [line for line in caplog.messages if "no Alertmanager is asked" in line]
    assert len(said) == 1
    caplog.clear()
    with served(build_app(reconciler=Reconciler())) as gateway:
        assert httpx.get(f"{gateway}/readyz").json()["reconciliation"] == "configured"
    assert "no Alertmanager is asked" not in caplog.text


def test_a_peer_that_was_told_late_of_a_resolve_does_not_make_the_alert_fire_again(
    there: Peer,
) -> None:
    deliver(alert())
    there.fires()
    deliver(alert(status="resolved"))
    reconcile(NOW)
    there.alerts.pop()
    reconcile(after(2))
    there.fires()
    assert reconcile(after(6)).again == 0


def test_hostile_texts_are_cleaned_and_what_cannot_be_read_keeps_nobody_else_out(
    there: Peer,
) -> None:
    there.fires(description="\x00\x1b[2J\ud800'; DROP TABLE journal; --" + "x" * 5000)
    there.fires("A", "bad fingerprint; --")
    there.fires("B", "f3", **{"n" * 500: "too long a name"})
    found = reconcile(NOW)
    assert found.missing == 3
    assert len(found.complaints) == 2
    (fact,) = facts(only_incident(), FactKind.ALERT_RECEIVED)
    assert fact.data["fingerprint"] == "f1"
    assert fact.data["labels"]["description"].startswith("\ufffd\ufffd[2J\ufffd'; DROP")
    assert fact.data["labels"]["description"].endswith("[cut]")


def test_a_storm_that_never_arrived_is_taken_in_whole(there: Peer) -> None:
    for number in range(450):
        there.fires("ApplicationDown", f"f{number}", instance=str(number))
    assert reconcile(NOW).missing == 450
    assert len(states(only_incident())) == 450
    assert reconcile(after(1)).differences == 0


def test_two_gateways_that_ask_at_once_take_an_alert_in_once(there: Peer) -> None:
    there.fires()
    results: list[Reconciled] = []
    threads = [threading.Thread(target=lambda: results.append(reconcile(NOW))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert heard(only_incident()) == [("firing", "f1")]


def test_of_two_gateways_one_asks_in_a_minute_and_at_once_when_alerts_were_left_out(
    there: Peer,
) -> None:
    first, second = Reconciler(), Reconciler()
    assert first.look(NOW) is not None
    assert second.look(NOW) is None
    assert second.look(after(0.9)) is None
    there.fires(starts_at=after(0.9).isoformat())
    deliver(alert("DatabaseDown", "f2"), truncated=7)
    looked = second.look(after(0.95))
    assert looked is not None
    assert looked.missing == 1  # not waited for: it was left out
    assert first.look(after(0.96)) is None
    assert first.look(after(1.95)) is not None
    assert second.look(after(1.96)) is None
    assert (first.differences, second.differences, first.failures) == (0, 1, 0)
    assert first.last_success == second.last_success == after(1.95)


def test_a_clock_that_was_wrong_does_not_silence_the_question_for_ever(database: str) -> None:
    assert database
    assert asking.claim(after(60 * 24)) is Turn.REGULAR
    assert asking.claim(NOW) is Turn.REGULAR
    assert asking.claim(NOW) is Turn.NOT_YET


def test_the_reconciler_asks_by_itself_and_ends(there: Peer) -> None:
    there.fires()
    asks = Reconciler()
    asks.start()
    try:
        until = datetime.now(UTC) + timedelta(seconds=20)
        while not journal.open_incidents():
            assert datetime.now(UTC) < until
    finally:
        asks.stop()
    assert not asks.is_alive


def test_rows_are_joined_by_the_database_as_the_rules_join_them() -> None:
    """Any order, any batches: the table ends as the pure join of all sightings does."""
    rolls = random.Random(4)
    for _ in range(25):
        fingerprint = f"f{rolls.random()}"
        story = [
            Sighting(
                Alert(
                    fingerprint,
                    rolls.choice(list(AlertStatus)),
                    after(rolls.choice([0, 1, 2, 30, 31])),  # the last ones may be in the future
                    {"alertname": "A"},
                    {},
                ),
                rolls.choice(["", "INC-1"]),
                after(10 + rolls.randrange(30)),
                NOTIFIED,
                truncated=rolls.random() < 0.3,
            )
            for _ in range(rolls.randrange(1, 12))
        ]
        rolled = rolls.choices(story, k=4) + rolls.sample(story, len(story))
        cut = rolls.randrange(len(rolled))
        for part in (rolled[:cut], rolled[cut:]):
            with incidents.durably() as connection:
                journal.lock(connection)
                alert_states.observe_in(connection, part)
        with responder.connection() as connection:
            found = alert_states.episodes_in(connection, [fingerprint])[fingerprint]
        assert found == sorted(joined(story), key=lambda episode: episode.order)


def test_however_many_began_in_the_future_the_one_that_began_last_is_kept() -> None:
    ahead = [after(60 * hours) for hours in range(1, EPISODES_KEPT + 2)]
    story = [
        Sighting(Alert("f1", AlertStatus.FIRING, begin, {}, {}), "INC-1", arrived, NOTIFIED)
        for begin, arrived in [*((begin, after(0)) for begin in ahead), (after(5), after(5))]
    ]
    with incidents.durably() as connection:
        alert_states.observe_in(connection, story)
        kept = alert_states.episodes_in(connection, ["f1"])["f1"]
    assert len(kept) == EPISODES_KEPT
    assert kept[-1].starts_at == after(5)


class Counting(psycopg.Connection[Any]):
    """A connection that counts its statements."""

    count = 0

    def execute(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        self.count += 1
        return super().execute(*args, **kwargs)


def test_five_hundred_sightings_are_one_statement(database: str) -> None:
    story = [
        Sighting(
            Alert(f"f{number}", AlertStatus.FIRING, NOW, {"alertname": "A"}, {}),
            "INC-1",
            NOW,
            NOTIFIED,
        )
        for number in range(500)
    ]
    with Counting.connect(database) as connection:
        alert_states.observe_in(connection, story)
        assert connection.count == 1
        assert len(alert_states.states_of_in(connection, "INC-1")) == 500


@pytest.mark.skipif(labs.installed() is None, reason="no Alertmanager is installed on PATH")
def test_the_real_alertmanager_is_understood(
    lab_processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its webhook goes nowhere here: everything must be learnt by asking."""
    set_gateway(monkeypatch, watchdog_minutes=0)
    now = datetime.now(UTC)  # it was started now, too
    with real_alertmanager(lab_processes, "am-asked", "http://127.0.0.1:9/alerts", "t") as url:
        ask(monkeypatch, url, receiver="runbook")
        post_alert(url, alertname="ApplicationDown", severity="critical")
        assert reconcile(now).missing == 1
        incident = only_incident()
        assert reconcile(now + timedelta(minutes=6)).differences == 0
        post_alert(
            url, datetime.now(UTC), alertname="ApplicationDown", severity="critical"
        )  # it ends
        assert [reconcile(now + timedelta(minutes=late)).gone for late in (7, 9)] == [0, 1]
        assert set(states(incident).values()) == {State.RESOLVED}
