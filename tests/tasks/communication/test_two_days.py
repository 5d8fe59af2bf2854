"""Two days of an incident that nobody answers, in simulated time, with restarts in between.

The gateway's own ticker orders, the work of the escalation's task carries out, the journal and the
chat are real servers; only the clock is ours.
"""

from datetime import UTC, datetime, timedelta

import pytest

from deployments.gateway.ticker import Ticker
from tasks.domain.escalation import due_steps
from tasks.domain.facts import FactKind
from tasks.work import escalating, incidents, journal, responder, telling
from tests.tasks.communication.conftest import Chat

pytestmark = pytest.mark.components

SECOND = timedelta(seconds=1)
EXPECTED = {
    "escalation.engineering-lead": 15,
    "escalation.incident-commander": 30,
    "escalation.executive-team": 60,
    "escalation.external-support": 120,
}
_ORDERED = "SELECT key FROM dispatches WHERE incident = %s AND deployment = %s"


def ordered(incident: str) -> list[str]:
    with responder.connection() as connection:
        rows = connection.execute(_ORDERED, (incident, incidents.ESCALATION)).fetchall()
    return sorted(key.removeprefix(f"escalate:{incident}:") for (key,) in rows)


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("P0", EXPECTED | {"escalation.target-missed": 5}),
        ("P1", EXPECTED | {"escalation.target-missed": 60}),
        ("P2", {"escalation.target-missed": 240}),
        ("P3", {"escalation.target-missed": 1440}),
    ],
)
def test_in_48_hours_with_restarts_every_step_is_taken_once_and_at_its_minute(
    chat: Chat, severity: str, expected: dict[str, int]
) -> None:
    incident = incidents.declare("t", "api", "triage", "anna", starts_run=False)
    journal.append(incident, FactKind.SEVERITY_ASSIGNED, {"severity": severity})
    channel = telling.make_channel(incident, last_try=True)
    opened_at = journal.read(incident).opened_at
    assert opened_at is not None
    taken: dict[str, float] = {}
    looks = sorted({*range(0, 2881, 20), *expected.values()})
    ticker = Ticker()
    for number, minute in enumerate(looks):
        for now in (
            opened_at + timedelta(minutes=minute) - SECOND,
            opened_at + timedelta(minutes=minute),
        ):
            if number % 3 == 0:
                ticker = Ticker()  # the gateway was killed and started anew
            ticker.tick(now)
            for due in due_steps(journal.read(incident), now):
                assert due.step in ordered(incident)
                assert due.step not in taken
                taken[due.step] = (now - opened_at) / timedelta(minutes=1)
                if number % 2 == 0:  # killed after it was told and before that was recorded:
                    words = escalating.text_of(journal.read(incident), due, "", now)
                    telling.tell(
                        incident,
                        due.contact.replace("_", "-"),
                        due.step,
                        words,
                        last_try=True,
                        contact=due.contact,
                    )
                escalating.take(incident, due, now, last_try=True)
    assert taken == expected
    assert ordered(incident) == sorted(expected)
    facts = [fact for fact in journal.read(incident).facts if fact.kind is FactKind.ESCALATED]
    assert sorted(fact.data["step"] for fact in facts) == sorted(expected)
    heard = [text.split()[0] for text in chat.texts(channel)]
    assert len(heard) == len(expected)
    assert datetime.now(UTC) < opened_at + timedelta(minutes=5)  # no step was due in our own time


def test_a_step_that_was_ordered_is_taken_though_the_runs_clock_is_behind(chat: Chat) -> None:
    assert chat.url
    incident = incidents.declare("t", "api", "triage", "anna", starts_run=False)
    journal.append(incident, FactKind.SEVERITY_ASSIGNED, {"severity": "P2"})
    opened_at = journal.read(incident).opened_at
    assert opened_at is not None
    due_at = opened_at + timedelta(minutes=240)
    assert escalating.due_now(incident, due_at - SECOND) == ()
    Ticker().tick(due_at)
    (step,) = escalating.due_now(incident, due_at - 30 * SECOND)
    escalating.take(incident, step, due_at - 30 * SECOND, last_try=True)
    assert escalating.due_now(incident, due_at + 30 * SECOND) == ()
