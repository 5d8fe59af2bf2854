"""The response targets are clocks: exact at their ends, at any hour, and said once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.escalation import TARGET_MISSED, due_steps
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.response_targets import Kept, allowed, response_clock, response_target
from tasks.domain.severity import Severity
from tests.builders import JournalBuilder

SECOND = timedelta(seconds=1)
MONDAY_NOON = datetime(2026, 3, 16, 12, 0, tzinfo=UTC)
SUNDAY_NIGHT = datetime(2026, 3, 15, 3, 0, tzinfo=UTC)
MATRIX_MINUTES = {
    "escalation.engineering-lead": 15,
    "escalation.incident-commander": 30,
    "escalation.executive-team": 60,
    "escalation.external-support": 120,
}


def opened(severity: str | None, at: datetime = SUNDAY_NIGHT) -> JournalBuilder:
    journal = JournalBuilder(start=at)
    journal.add(0, FactKind.OPENED, {"title": "t", "component": "api", "cause": "alert"})
    if severity is not None:
        journal.add(0, FactKind.SEVERITY_ASSIGNED, {"severity": severity})
    return journal


def acknowledge(journal: JournalBuilder, seconds: float) -> Incident:
    journal.add(seconds, FactKind.NOTE, {"text": "", "acknowledged": True}, "anna")
    return journal.incident_state()


def alarmed(incident: Incident, now: datetime) -> bool:
    return TARGET_MISSED in {due.step for due in due_steps(incident, now)}


@pytest.mark.parametrize("at", [MONDAY_NOON, SUNDAY_NIGHT])
@pytest.mark.parametrize(
    ("severity", "minutes"), [("P0", 5), ("P1", 60), (None, 60), ("P2", 240), ("P3", 1440)]
)
def test_a_target_is_missed_at_its_minute_and_not_a_second_earlier_at_any_hour(
    severity: str | None, minutes: int, at: datetime
) -> None:
    incident = opened(severity, at).incident_state()
    due = at + timedelta(minutes=minutes)
    target = response_target(incident)
    assert target is not None
    assert [target.stands(due - SECOND), target.stands(due)] == [Kept.RUNNING, Kept.MISSED]
    assert [alarmed(incident, due - SECOND), alarmed(incident, due)] == [False, True]


@pytest.mark.parametrize(("seconds", "kept"), [(3600, Kept.KEPT), (3601, Kept.MISSED)])
def test_an_answer_in_the_last_second_keeps_it_and_a_later_one_does_not(
    seconds: float, kept: Kept
) -> None:
    incident = acknowledge(opened("P1"), seconds)
    target = response_target(incident)
    assert target is not None
    assert target.stands(SUNDAY_NIGHT + timedelta(days=1)) is kept
    assert not alarmed(incident, SUNDAY_NIGHT + timedelta(days=1))


def test_a_severity_that_rises_brings_its_shorter_target_and_one_alarm_is_enough() -> None:
    journal = opened("P3")
    journal.add(1800, FactKind.SEVERITY_ASSIGNED, {"severity": "P0"})
    assert alarmed(journal.incident_state(), SUNDAY_NIGHT + timedelta(minutes=30))
    journal.add(1801, FactKind.ESCALATED, {"step": TARGET_MISSED, "to": "x", "reason": "r"})
    assert not alarmed(journal.incident_state(), SUNDAY_NIGHT + timedelta(days=2))


def test_what_was_mitigated_before_anybody_answered_alarms_nobody() -> None:
    journal = opened("P2").add(60, FactKind.VERIFIED, {"what": "x", "holds": True})
    assert not alarmed(journal.incident_state(), SUNDAY_NIGHT + timedelta(days=2))
    (row,) = response_clock(journal.incident_state(), SUNDAY_NIGHT + timedelta(days=2))
    assert row.state == "kept"


def test_the_target_stands_among_the_clocks_of_an_incident() -> None:
    (row,) = response_clock(acknowledge(opened("P2"), 7200), MONDAY_NOON)
    assert (row.clock, row.state, row.used) == ("response to P2", "kept", 0.5)
    assert not list(response_clock(Incident("INC-1"), MONDAY_NOON))


@given(
    severity=some.sampled_from([*Severity]),
    acknowledged=some.one_of(some.none(), some.integers(0, 2880)),
    looks=some.sets(some.integers(0, 2880), min_size=1, max_size=60),
    killed=some.sets(some.integers(0, 2880), max_size=20),
)
def test_whenever_it_is_looked_and_killed_every_step_is_recorded_once_and_never_early(
    severity: Severity, acknowledged: int | None, looks: set[int], killed: set[int]
) -> None:
    """The law of the ticker: what is due at a look and not recorded is taken at that look.

    A look in `killed` dies before its facts are written: the next one takes its steps.
    """
    journal = opened(severity)
    taken: dict[str, int] = {}
    for minute in sorted(looks | ({acknowledged} if acknowledged is not None else set())):
        if minute == acknowledged:
            acknowledge(journal, minute * 60)
        if minute not in looks or minute in killed:
            continue
        now = SUNDAY_NIGHT + timedelta(minutes=minute)
        for due in due_steps(journal.incident_state(), now):
            assert due.step not in taken
            taken[due.step] = minute
            fact = {"step": due.step, "to": due.contact, "reason": due.reason}
            journal.add(minute * 60, FactKind.ESCALATED, fact, RUNBOOK)
    expected: dict[str, float] = {}
    if severity in {Severity.P0, Severity.P1}:
        expected |= MATRIX_MINUTES
    target = allowed(severity).total_seconds() / 60
    good = sorted(looks - killed)
    wanted = {
        step: first
        for step, at in expected.items()
        if (first := next((look for look in good if look >= at), None)) is not None
    }
    first = next((look for look in good if look >= target), None)
    if first is not None and (acknowledged is None or first < acknowledged):
        wanted[TARGET_MISSED] = first
    assert taken == wanted
