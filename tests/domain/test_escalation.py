"""The escalation matrix and the clocks, read from facts."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.escalation import acknowledged_at, due_steps, find_step
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident, fold

START = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
Told = tuple[float, FactKind, dict[str, object], str]

MATRIX = [
    "escalation.engineering-lead",
    "escalation.incident-commander",
    "escalation.executive-team",
    "escalation.external-support",
]


def incident(severity: str | None, *more: Told) -> Incident:
    told: list[Told] = [(0, FactKind.OPENED, {"title": "t", "component": "api"}, RUNBOOK)]
    if severity:
        told.append((0, FactKind.SEVERITY_ASSIGNED, {"severity": severity}, RUNBOOK))
    facts = [
        Fact(seq, "INC-1", START + timedelta(minutes=minutes), kind, actor, data)
        for seq, (minutes, kind, data, actor) in enumerate([*told, *more])
    ]
    return fold("INC-1", facts)


def steps(found: Incident, minutes: float) -> list[str]:
    return [due.step for due in due_steps(found, START + timedelta(minutes=minutes))]


@pytest.mark.parametrize("severity", ["P0", "P1", None])
@pytest.mark.parametrize(
    ("minutes", "count"),
    [(0, 0), (14.9, 0), (15, 1), (29.9, 1), (30, 2), (60, 3), (119.9, 3), (120, 4), (9000, 4)],
)
def test_urgent_incident_climbs_the_matrix_by_time(
    severity: str | None, minutes: float, count: int
) -> None:
    assert steps(incident(severity), minutes) == MATRIX[:count]


def test_contacts_are_those_of_the_runbook_in_its_order() -> None:
    due = due_steps(incident("P0"), START + timedelta(hours=3))
    assert [step.contact for step in due] == [
        "engineering_lead",
        "incident_commander",
        "executive_team",
        "external_support",
    ]


def test_acknowledgement_does_not_stop_the_matrix() -> None:
    seen = incident("P0", (5, FactKind.NOTE, {"text": "", "acknowledged": True}, "anna"))
    assert steps(seen, 15) == MATRIX[:1]


@pytest.mark.parametrize(
    "ending",
    [
        (20.0, FactKind.VERIFIED, {"what": "x", "holds": True}, RUNBOOK),
        (20.0, FactKind.CLOSED, {"outcome": "restored"}, RUNBOOK),
    ],
)
def test_mitigated_or_closed_incident_escalates_no_further(ending: Told) -> None:
    assert steps(incident("P0", ending), 300) == []


def test_failed_verification_is_no_mitigation() -> None:
    tried = incident("P0", (20, FactKind.VERIFIED, {"what": "x", "holds": False}, RUNBOOK))
    assert steps(tried, 30) == MATRIX[:2]


def test_step_that_was_taken_is_not_due_again() -> None:
    taken = incident("P0", (15, FactKind.ESCALATED, {"step": MATRIX[0], "to": "x"}, RUNBOOK))
    assert steps(taken, 31) == [MATRIX[1]]


@pytest.mark.parametrize(("severity", "minutes"), [("P2", 240), ("P3", 1440)])
def test_less_urgent_incident_escalates_once_when_nobody_acknowledged_in_time(
    severity: str, minutes: float
) -> None:
    assert steps(incident(severity), minutes - 1) == []
    assert steps(incident(severity), minutes) == ["escalation.target-missed"]
    seen = incident(severity, (5, FactKind.NOTE, {"text": "", "acknowledged": True}, "anna"))
    assert steps(seen, minutes) == []


def test_plan_that_expired_by_itself_is_no_acknowledgement() -> None:
    def decided(by: str) -> Incident:
        data = {"hash": "h", "decision": "expired"}
        return incident("P2", (5, FactKind.PLAN_DECIDED, data, by))

    assert acknowledged_at(decided(RUNBOOK)) is None
    assert acknowledged_at(decided("anna")) == START + timedelta(minutes=5)


def test_clock_warns_before_it_ends_and_names_the_officer_when_it_was_missed() -> None:
    clock = {"clock": "dpo", "due": (START + timedelta(hours=1)).isoformat(), "recipient": "dpo"}
    running = incident("P3", (0, FactKind.CLOCK_STARTED, clock, RUNBOOK))
    assert steps(running, 44) == []
    assert steps(running, 45) == ["clock.dpo.warning"]
    assert steps(running, 60) == ["clock.dpo.warning", "clock.dpo.missed"]
    missed = find_step(running, "clock.dpo.missed")
    assert missed is not None
    assert missed.contact == "compliance_officer"


def test_clock_that_was_stopped_asks_nobody() -> None:
    clock = {"clock": "dpo", "due": (START + timedelta(hours=1)).isoformat(), "recipient": "dpo"}
    stopped = incident(
        "P3",
        (0, FactKind.CLOCK_STARTED, clock, RUNBOOK),
        (5, FactKind.CLOCK_STOPPED, {"clock": "dpo", "reason": "told"}, RUNBOOK),
    )
    assert steps(stopped, 90) == []


def test_incident_that_was_never_opened_has_nothing_due() -> None:
    assert due_steps(fold("INC-1", []), START) == ()
