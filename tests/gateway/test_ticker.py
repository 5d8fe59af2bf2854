"""What the ticker follows: the open incidents, and closed ones of which something is to be told."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from deployments.gateway.open_incidents import Newest, OpenIncidents
from deployments.gateway.ticker import Ticker
from tasks.domain.facts import FactKind
from tasks.work import incidents, journal, responder

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]


def followed(by: OpenIncidents) -> dict[str, Newest]:
    with responder.connection() as connection:
        by.follow(connection)
    return by.newest


@pytest.mark.parametrize("seed", range(8))
def test_following_the_journal_sees_what_reading_it_anew_sees(seed: int) -> None:
    rolls = random.Random(seed)
    follower = OpenIncidents()
    names: list[str] = []
    for _ in range(40):
        act = rolls.choice(["open", "note", "alert", "close", "glass", "look"])
        if act == "open" or not names:
            names.append(incidents.declare("t", "api", "triage", "anna", starts_run=False))
        elif act == "look":
            assert followed(follower) == followed(OpenIncidents())
        else:
            kind = {
                "note": FactKind.NOTE,
                "alert": FactKind.ALERT_RECEIVED,
                "close": FactKind.CLOSED,
                "glass": FactKind.GLASS_BROKEN,
            }[act]
            key = "closed" if act == "close" else None
            journal.append(rolls.choice(names), kind, {"text": "t"}, key=key)
    assert followed(follower) == followed(OpenIncidents())
    assert set(journal.open_incidents()) <= set(follower.newest)


def test_a_journal_that_was_put_back_is_read_anew() -> None:
    follower = OpenIncidents()
    kept = incidents.declare("t", "api", "triage", "anna", starts_run=False)
    lost = incidents.declare("t", "api", "triage", "anna", starts_run=False)
    assert list(followed(follower)) == [kept, lost]
    with responder.connection() as connection:
        connection.execute("DELETE FROM journal WHERE incident = %s", (lost,))
    assert list(followed(follower)) == [kept]


def test_broken_glass_is_told_even_when_the_incident_was_closed_before_the_next_look() -> None:
    now = datetime.now(UTC)
    name = incidents.declare("t", "api", "triage", "anna", starts_run=False)
    until = (now + timedelta(hours=1)).isoformat()
    broken = {"scope": "database/x", "reason": "must", "until": until}
    journal.append(name, FactKind.GLASS_BROKEN, broken, actor="anna")
    journal.append(name, FactKind.CLOSED, {"outcome": "manual"}, key="closed")
    for ticker in (Ticker(), Ticker()):  # and when the gateway was started anew
        ticker.tick(now + timedelta(seconds=5))
        ticker.tick(now + timedelta(seconds=5))
    with responder.connection() as connection:
        rows = connection.execute("SELECT deployment, key FROM dispatches ORDER BY id").fetchall()
    assert [deployment for deployment, _ in rows] == [incidents.ESCALATION] * 2
    assert all(key.startswith(f"escalate:{name}:glass.") for _, key in rows)


def test_further_alerts_of_one_that_fires_are_no_news_and_alerts_of_one_at_rest_are() -> None:
    now = datetime.now(UTC)
    name = incidents.declare("t", "api", "triage", "anna", starts_run=False)
    ticker = Ticker()

    def seen_after(kind: FactKind) -> int:
        data = {"status": "firing", "name": "ApplicationDown", "fingerprint": "f"}
        journal.append(name, kind, data if kind is FactKind.ALERT_RECEIVED else {"text": "t"})
        ticker.tick(now)
        return len(ticker._watched[name].incident.alerts)

    assert seen_after(FactKind.ALERT_RECEIVED) == 1
    assert seen_after(FactKind.ALERT_RECEIVED) == 1
    assert seen_after(FactKind.NOTE) == 2
    assert seen_after(FactKind.ALERT_RECEIVED) == 2
    assert seen_after(FactKind.ALERTS_RESOLVED) == 3
    assert seen_after(FactKind.ALERT_RECEIVED) == 4
    assert seen_after(FactKind.ALERT_RECEIVED) == 4
    ticker._watched[name].read_at -= 60
    ticker.tick(now)
    assert len(ticker._watched[name].incident.alerts) == 5
