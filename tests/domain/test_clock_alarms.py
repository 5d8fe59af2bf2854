"""Alarms of clocks: at their share of the time, once each, whatever the machine's clock does."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.clock_alarms import DPO_MOMENT, clock_alarms
from tasks.domain.escalation import due_steps
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import utc
from tasks.domain.report_tables import clocks
from tests.builders import ALERT_AT, JournalBuilder

HOUR = 3600.0
DPO = {"clock": "dpo", "due": (ALERT_AT + timedelta(hours=1)).isoformat(), "recipient": "dpo"}
LAW = {
    "clock": "gdpr-33",
    "began": ALERT_AT.isoformat(),
    "due": (ALERT_AT + timedelta(hours=72)).isoformat(),
    "recipient": "supervisory authority",
}


def story(*clocks_started: dict[str, str]) -> JournalBuilder:
    journal = JournalBuilder().add(0, FactKind.OPENED, {"title": "t", "component": "privacy"})
    journal.add(0, FactKind.SEVERITY_ASSIGNED, {"severity": "P3"})
    for clock in clocks_started:
        journal.add(0, FactKind.CLOCK_STARTED, clock)
    return journal


def due(journal: JournalBuilder, seconds: float) -> list[str]:
    incident = journal.incident_state()
    now = ALERT_AT + timedelta(seconds=seconds)
    return [each.step for each in due_steps(incident, now) if "clock" in each.step]


@pytest.mark.parametrize(
    ("share", "step"),
    [(0.5, "clock.gdpr-33.50"), (0.75, "clock.gdpr-33.75"), (0.9, "clock.gdpr-33.90")],
)
def test_an_alarm_is_due_at_its_share_and_not_a_second_before(share: float, step: str) -> None:
    at = 72 * HOUR * share
    assert step not in due(story(LAW), at - 1)
    assert step in due(story(LAW), at)


def test_a_missed_deadline_is_told_to_compliance_the_dpo_and_counsel_at_its_second() -> None:
    assert not [step for step in due(story(LAW), 72 * HOUR - 1) if "missed" in step]
    missed = [step for step in due(story(LAW), 72 * HOUR) if "missed" in step]
    assert missed == [
        "clock.gdpr-33.missed",
        "clock.gdpr-33.missed.dpo",
        "clock.gdpr-33.missed.legal_counsel",
    ]


def test_the_dpos_hour_asks_the_dpo_then_the_deputy_too_then_compliance() -> None:
    told = {each.step: each.contact for each in clock_alarms(story(DPO).incident_state())}
    assert told == {
        "clock.dpo.50": "dpo",
        "clock.dpo.75": "dpo",
        "clock.dpo.75.dpo_deputy": "dpo_deputy",
        "clock.dpo.90": "dpo_deputy",
        "clock.dpo.missed": "compliance_officer",
        "clock.dpo.missed.dpo": "dpo",
    }


@given(some.lists(some.integers(-100, 100).map(float), min_size=1, max_size=30))
def test_each_alarm_is_taken_once_in_whatever_order_the_machines_clock_runs(
    hours: list[float],
) -> None:
    journal, taken = story(LAW, DPO), []
    for at in hours:  # a clock that jumps forth and back; a restart reads the facts alone
        for step in due(journal, at * HOUR):
            taken.append(step)
            journal.add(at * HOUR, FactKind.ESCALATED, {"step": step, "to": "x", "reason": ""})
    assert len(taken) == len(set(taken))
    assert set(taken) == set(due(story(LAW, DPO), max(hours) * HOUR))


def test_a_clock_that_a_person_set_anew_alarms_anew_and_the_old_due_time_no_more() -> None:
    journal = story(LAW)
    journal.add(1, FactKind.ESCALATED, {"step": "clock.gdpr-33.50", "to": "dpo", "reason": ""})
    later = LAW | {
        "began": (ALERT_AT + timedelta(hours=48)).isoformat(),
        "due": (ALERT_AT + timedelta(hours=120)).isoformat(),
    }
    journal.add(2, FactKind.CLOCK_STARTED, later)
    place = journal.facts[-1].seq
    assert due(journal, 83 * HOUR) == []
    assert due(journal, 84 * HOUR) == [f"clock.gdpr-33.{place}.50"]


def test_a_clock_that_was_stopped_alarms_nobody() -> None:
    stopped = story(LAW).add(5, FactKind.CLOCK_STOPPED, {"clock": "gdpr-33", "reason": "sent"})
    assert due(stopped, 100 * HOUR) == []


@pytest.mark.parametrize("odd", [None, "", "soon", 7, "2026-03-14T03:00:00", ["x"]])
def test_a_due_time_that_cannot_be_read_keeps_no_other_clock_from_alarming(odd: object) -> None:
    journal = story(DPO).add(0, FactKind.CLOCK_STARTED, {"clock": "broken", "due": odd})
    assert due(journal, HOUR)[-2:] == ["clock.dpo.missed", "clock.dpo.missed.dpo"]


def test_a_machines_clock_that_was_set_back_shows_no_negative_time() -> None:
    (row,) = clocks(story(LAW).facts, ALERT_AT - timedelta(days=3))
    assert (row.used, row.state, row.started) == (0.0, "running", utc(ALERT_AT))


def unreached(told: bool = False) -> Incident:
    journal = story(DPO)
    failed = {"channel": "chat", "audience": "dpo", "moment": DPO_MOMENT, "error": "down"}
    journal.add(60, FactKind.NOTIFY_FAILED, failed)
    if told:
        journal.add(400, FactKind.NOTIFIED, failed | {"summary": "s", "receipt": "1"})
    return journal.incident_state()


def test_a_dpo_who_could_not_be_told_is_tried_for_a_day_and_the_deputy_hears_at_once() -> None:
    steps = [each for each in clock_alarms(unreached()) if each.step.startswith("dpo.")]
    assert (steps[0].step, steps[0].contact) == ("dpo.second", "dpo_deputy")
    assert steps[0].due_at == ALERT_AT + timedelta(seconds=60)
    again = [(each.due_at - ALERT_AT).total_seconds() for each in steps[1:]]
    within = [60 + 300 * number for number in range(1, 13)]
    assert again[:12] == within
    later = [within[-1] + 1800 * number for number in range(1, 46)]
    assert again[12:] == later  # every half an hour, and then no more
    assert later[-1] < 60 + 24 * HOUR
    assert {each.contact for each in steps[1:]} == {"dpo"}
    assert len({each.step for each in steps}) == len(steps)


def test_once_a_message_has_arrived_nobody_is_tried_again() -> None:
    assert not [each for each in clock_alarms(unreached(told=True)) if "dpo." in each.step[:4]]


def test_a_hostile_title_and_clock_name_are_shown_as_what_they_are_and_bounded() -> None:
    journal = JournalBuilder()
    journal.add(0, FactKind.OPENED, {"title": "<b>\u202egpj" * 200, "component": "privacy"})
    name = "x" * 5000
    journal.add(0, FactKind.CLOCK_STARTED, DPO | {"clock": name})
    journal.add(0, FactKind.CLOCK_STARTED, DPO)
    failed = {"channel": "chat", "audience": "dpo", "moment": DPO_MOMENT, "error": "down"}
    journal.add(1, FactKind.NOTIFY_FAILED, failed)
    for alarm in clock_alarms(journal.incident_state()):
        assert alarm.reason.isprintable()
        assert len(alarm.reason) < 1000
        assert len(alarm.step) < 120
