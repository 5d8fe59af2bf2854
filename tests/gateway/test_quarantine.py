"""What was not understood has an incident of its own, and people hear of it each time anew."""

from datetime import UTC, datetime, timedelta

import pytest

from deployments.gateway.outbox import Outbox
from deployments.gateway.ticker import Ticker
from tasks.domain.facts import FactKind
from tasks.work import heartbeats, journal, quarantine, responder
from tests.gateway.peers import alert, deliver, facts, set_gateway

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]


def keep(reason: str = "alerts: expected a list, found str") -> str:
    """Keep one, a minute after the one before; the open incident of the quarantine."""
    with responder.connection() as connection:
        connection.execute("UPDATE quarantine SET received_at = received_at - interval '2 minutes'")
    quarantine.keep(reason, 3, b"xyz")
    found = [name for name in journal.open_incidents() if is_quarantines(name)]
    assert len(found) == 1
    return found[0]


def is_quarantines(incident: str) -> bool:
    return journal.read(incident).title == quarantine.TITLE


def orders(incident: str) -> list[tuple[bool, float]]:
    """Of each run: whether it is done, and in how many seconds it begins at the earliest."""
    with responder.connection() as connection:
        return connection.execute(
            "SELECT done_at IS NOT NULL,"
            " coalesce(extract(epoch FROM lease_until - clock_timestamp()), 0)::float8"
            " FROM dispatches WHERE incident = %s ORDER BY id",
            (incident,),
        ).fetchall()


def run(incident: str, minutes_ago: float) -> None:
    """As if a run had told of all there is so long ago."""
    journal.append(incident, FactKind.RUN_STARTED, {"flow_run": "r", "attempt": 1})
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = clock_timestamp(), lease_until = NULL")
        connection.execute(
            "UPDATE journal SET at = %s WHERE incident = %s AND kind = 'run started'",
            (datetime.now(UTC) - timedelta(minutes=minutes_ago), incident),
        )


def test_what_comes_after_weeks_orders_a_run_that_has_something_to_tell() -> None:
    incident = keep("first")
    run(incident, minutes_ago=60 * 24 * 21)
    assert keep("weeks later") == incident
    assert orders(incident) == [(True, 0), (False, 0)]
    told = [one["annotations"]["summary"] for one in journal.read(incident).alerts]
    assert told == ["first", "weeks later"]
    assert len(facts(incident, FactKind.NOTE)) == 1


def test_of_many_that_come_one_run_is_ordered_and_not_before_ten_minutes() -> None:
    incident = keep()
    keep()
    assert orders(incident) == [(False, 0)]  # the first run has not begun: it sees all there is
    run(incident, minutes_ago=4)
    for _ in range(3):
        assert keep() == incident
    (first, (is_done, seconds)) = orders(incident)
    assert first == (True, 0)
    assert not is_done
    assert 5.8 * 60 < seconds <= 6 * 60
    assert len(journal.read(incident).alerts) == 2


def test_a_run_that_is_at_work_may_have_told_already() -> None:
    incident = keep()
    assert Outbox("g1").take() is not None
    keep()
    first, (is_done, seconds) = orders(incident)
    assert first[0] is False
    assert not is_done
    assert 9.8 * 60 < seconds <= 10 * 60


def test_the_silence_that_closes_itself_takes_nothing_of_it_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_gateway(monkeypatch, watchdog_minutes=5)
    started = datetime.now(UTC) - timedelta(minutes=10)
    silence = heartbeats.watch(started, datetime.now(UTC))
    incident = keep()
    assert incident != silence
    run(silence, minutes_ago=1)
    severity = {"severity": "P1", "rule": "class.severity", "reason": "as checked"}
    for name in (silence, incident):
        journal.append(name, FactKind.SEVERITY_ASSIGNED, severity, key="severity:P1")
    deliver(alert("Watchdog", "w1"))
    assert heartbeats.watch(started, datetime.now(UTC)) == silence
    set_gateway(monkeypatch, watchdog_minutes=0)
    for minutes in (0, 60):
        Ticker().tick(datetime.now(UTC) + timedelta(minutes=minutes))
    assert journal.open_incidents() == [incident]


def test_a_silence_does_not_join_it() -> None:
    incident = keep()
    assert heartbeats.watch(datetime.now(UTC) - timedelta(minutes=10), datetime.now(UTC)) not in {
        "",
        incident,
    }
