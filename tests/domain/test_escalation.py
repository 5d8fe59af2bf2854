"""The escalation matrix and the clocks, read from facts."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.escalation import Due, due_steps, lowering, pending_steps
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.holds import PERSONS_LIFT
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


def climbed(found: Incident, minutes: float) -> list[str]:
    """The steps of the matrix alone: the response target is a clock of its own."""
    return [step for step in steps(found, minutes) if step in MATRIX]


def find_step(found: Incident, step: str) -> Due | None:
    return next((due for due in pending_steps(found) if due.step == step), None)


@pytest.mark.parametrize("severity", ["P0", "P1", None])
@pytest.mark.parametrize(
    ("minutes", "count"),
    [(0, 0), (14.9, 0), (15, 1), (29.9, 1), (30, 2), (60, 3), (119.9, 3), (120, 4), (9000, 4)],
)
def test_urgent_incident_climbs_the_matrix_by_time(
    severity: str | None, minutes: float, count: int
) -> None:
    assert climbed(incident(severity), minutes) == MATRIX[:count]


def test_contacts_are_those_of_the_runbook_in_its_order() -> None:
    due = due_steps(incident("P0"), START + timedelta(hours=3))
    assert [step.contact for step in due if step.step in MATRIX] == [
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
    assert climbed(tried, 30) == MATRIX[:2]


def test_step_that_was_taken_is_not_due_again() -> None:
    taken = incident("P0", (15, FactKind.ESCALATED, {"step": MATRIX[0], "to": "x"}, RUNBOOK))
    assert climbed(taken, 31) == [MATRIX[1]]


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
    assert steps(running, 29) == []
    assert steps(running, 30) == ["clock.dpo.50"]
    assert steps(running, 60)[-2:] == ["clock.dpo.missed", "clock.dpo.missed.dpo"]
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


HOUR = (START + timedelta(hours=1)).isoformat()


def held(minutes: float, by: str, **said: object) -> Told:
    return (minutes, FactKind.HOLD_SET, {"scope": "database/x", "reason": "r"} | said, by)


def broken(minutes: float, until: float = 90) -> Told:
    data = {"scope": "*", "reason": "now", "until": (START + timedelta(minutes=until)).isoformat()}
    return (minutes, FactKind.GLASS_BROKEN, data, "bea")


def test_broken_glass_is_told_to_compliance_and_on_call_at_once() -> None:
    cracked = incident("P3", broken(30))
    assert steps(cracked, 29) == []
    assert steps(cracked, 30) == ["glass.2", "glass.2.on-call"]
    told = [find_step(cracked, step) for step in steps(cracked, 30)]
    assert [due.contact for due in told if due] == ["compliance_officer", "on_call"]
    assert told[0] is not None
    assert "bea broke the glass: until 04:30 UTC no hold on * binds" in told[0].reason


def test_broken_glass_is_told_even_of_an_incident_that_is_closed() -> None:
    closed = (31.0, FactKind.CLOSED, {"outcome": "closed by hand"}, "bea")
    assert steps(incident("P0", broken(30), closed), 31) == ["glass.2", "glass.2.on-call"]


def test_every_glass_is_told_by_itself_and_once() -> None:
    taken = (31.0, FactKind.ESCALATED, {"step": "glass.2", "to": "x"}, RUNBOOK)
    cracked = incident("P3", broken(30), taken, broken(40))
    assert steps(cracked, 40) == ["glass.2.on-call", "glass.4", "glass.4.on-call"]


def test_a_persons_hold_is_told_to_on_call_at_once_and_reviewed_when_it_says() -> None:
    waiting = incident("P3", held(10, "anna", needs=PERSONS_LIFT, review_at=HOUR))
    assert steps(waiting, 10) == ["hold.set.database/x.2"]
    review = ["hold.review.database/x.2", "hold.review.database/x.2.lead"]
    assert steps(waiting, 60) == ["hold.set.database/x.2", *review]
    asked = [find_step(waiting, step) for step in review]
    assert [due.contact for due in asked if due] == ["on_call", "engineering_lead"]


def test_the_runbooks_hold_is_reviewed_until_its_evidence_is_sealed() -> None:
    hold = held(10, RUNBOOK, needs="a snapshot", review_at=HOUR)
    assert len(steps(incident("P3", hold), 60)) == 2
    sealed = (20.0, FactKind.EVIDENCE_SEALED, {"scope": "database/x"}, RUNBOOK)
    assert steps(incident("P3", hold, sealed), 60) == []


def test_a_hold_that_was_lifted_or_set_anew_asks_for_no_review_of_the_old_one() -> None:
    hold = held(10, "anna", needs=PERSONS_LIFT, review_at=HOUR)
    lifted = (20.0, FactKind.HOLD_LIFTED, {"scope": "database/x", "reason": "r"}, "bea")
    assert steps(incident("P3", hold, lifted), 60) == []
    later = (START + timedelta(hours=3)).isoformat()
    longer = incident("P3", hold, held(50, "anna", needs=PERSONS_LIFT, review_at=later))
    assert steps(longer, 60) == ["hold.set.database/x.3"]


@pytest.mark.parametrize("review_at", [None, "", "soon", 7, "2026-03-14T03:30:00"])
def test_a_hold_without_a_review_time_that_can_be_read_asks_for_none(review_at: object) -> None:
    assert steps(incident("P3", held(10, RUNBOOK, review_at=review_at)), 9000) == [
        "escalation.target-missed"
    ]


def test_who_takes_the_lead_has_acknowledged() -> None:
    led = incident("P2", (5, FactKind.LEAD_TAKEN, {"text": "anna leads"}, "anna"))
    assert acknowledged_at(led) == START + timedelta(minutes=5)
    assert steps(led, 240) == []


def graded(minutes: float, severity: object, by: str) -> Told:
    data = {"severity": severity, "reason": "a test tenant"}
    return (minutes, FactKind.SEVERITY_ASSIGNED, data, by)


@pytest.mark.parametrize("severity", ["P0", "P1", None])  # without one it climbs like a P1
def test_on_call_is_told_at_once_that_a_person_ended_the_climb(severity: str | None) -> None:
    lowered = incident(severity, graded(10, "P3", "anna"))
    (step,) = [each for each in steps(lowered, 30) if "lowered" in each]
    place = lowered.facts[-1].seq
    assert step == f"severity.lowered.{place}" == lowering(lowered, place)
    told = find_step(lowered, step)
    assert told is not None
    assert (told.contact, told.due_at) == ("on_call", START + timedelta(minutes=10))
    assert told.reason == f"anna lowered it from {severity or 'P1'} to P3: a test tenant"


def test_a_lowering_is_told_even_of_an_incident_that_was_closed_at_once_and_not_twice() -> None:
    closed = (10.0, FactKind.CLOSED, {"outcome": "closed by hand"}, "anna")
    said = incident("P0", graded(10, "P3", "anna"), closed)
    assert steps(said, 10) == ["severity.lowered.2"]
    taken = (11.0, FactKind.ESCALATED, {"step": "severity.lowered.2", "to": "x"}, RUNBOOK)
    assert steps(incident("P0", graded(10, "P3", "anna"), closed, taken), 12) == []


@pytest.mark.parametrize(
    "said",
    [
        [graded(10, "P0", "anna")],
        [graded(10, "P1", "anna")],
        [graded(5, "P2", RUNBOOK), graded(10, "P1", "anna")],  # the runbook's own never lowers
        [graded(10, ["P3"], "anna")],
        [graded(10, "P7", "anna")],
    ],
)
def test_what_lowers_nothing_tells_nobody(said: list[Told]) -> None:
    found = incident("P1", *said)
    assert [step for step in steps(found, 10) if "lowered" in step] == []


def test_who_declares_a_small_incident_has_lowered_none() -> None:
    facts = [
        Fact(0, "INC-1", START, FactKind.OPENED, "anna", {"title": "t", "cause": "person"}),
        Fact(1, "INC-1", START, FactKind.SEVERITY_ASSIGNED, "anna", {"severity": "P3"}),
    ]
    assert steps(fold("INC-1", facts), 10) == []
