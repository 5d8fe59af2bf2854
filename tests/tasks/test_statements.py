"""What people say about incidents: who may, what is recorded, once, and what follows from it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.errors import BadInput, NotApproved, NotPermitted, RunbookError
from tasks.domain.escalation import due_steps
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.holds import PERSONS_LIFT
from tasks.domain.incident import Stage
from tasks.domain.severity import Assessment, Severity
from tasks.settings import settings
from tasks.work import (
    approvals,
    declaring,
    holding,
    incidents,
    journal,
    locks,
    responder,
    severities,
    statements,
    telling,
)
from tasks.work.people import Person, Role
from tests.tasks.proposals import BEA, CARL, FIRST, SECOND, TARGET, approved, proposed

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

ROSA = Person("rosa", Role.RESPONDER)
VERA = Person("vera", Role.VIEWER)
DORA = Person("dora", Role.PRIVACY_OFFICER)
CORRUPTION = Assessment(Severity.P0, "class.p0.data-corruption", "proven: 5 records altered")


def opened(component: str = "api", by: str = "runbook") -> str:
    return incidents.declare("API: down", component, "api_service", by)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def said(incident: str, kind: FactKind) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is kind]


def ordered(incident: str) -> list[tuple[str, str, int]]:
    with responder.connection() as connection:
        return connection.execute(
            "SELECT deployment, key, priority FROM dispatches WHERE incident = %s ORDER BY id",
            (incident,),
        ).fetchall()


SPEECHES: dict[str, Callable[[str, Person], object]] = {
    "acknowledge": statements.acknowledge,
    "note": lambda incident, who: statements.note(incident, who, "I look"),
    "take_lead": statements.take_lead,
    "change_severity": lambda incident, who: statements.change_severity(
        incident, who, Severity.P1, "users"
    ),
    "close": lambda incident, who: statements.close(incident, who, "a drill"),
    "hold": lambda incident, who: statements.hold(incident, who, TARGET, "wait", in_an_hour()),
    "lift": lambda incident, who: statements.lift(incident, who, TARGET, "go on"),
    "break_glass": lambda incident, who: statements.break_glass(incident, who, TARGET, "now"),
    "hold_everything": lambda _, who: statements.hold_everything(who, "wait", in_an_hour()),
    "lift_from_everything": lambda _, who: statements.lift_from_everything(who, "go on"),
    "stop_clock": lambda incident, who: statements.stop_clock(incident, who, "dpo", "told"),
    "declare": lambda _, who: statements.declare(
        who, "API: slow", "api", "api_service", Severity.P2, "I see it"
    ),
}

ABOUT_ONE = [name for name in SPEECHES if "everything" not in name and name != "declare"]


def test_a_viewer_says_nothing() -> None:
    incident = opened()
    before = len(journal.facts_after(-1))
    for speech in SPEECHES.values():
        with pytest.raises(NotPermitted, match="a viewer may not"):
            speech(incident, VERA)
    assert len(journal.facts_after(-1)) == before


def test_a_responder_holds_changes_but_does_not_let_them_go_on() -> None:
    incident = opened()
    statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())
    for speech in ("lift", "break_glass", "lift_from_everything", "stop_clock"):
        with pytest.raises(NotPermitted, match="a responder may not"):
            SPEECHES[speech](incident, ROSA)
    assert [hold.scope for hold in journal.read(incident).held()] == [TARGET]


def test_an_incident_that_is_not_there_is_bad_input_and_begins_no_journal() -> None:
    for name in ABOUT_ONE:
        for incident in ("INC-none", "", "INC-\x00", "INC-\ud800"):
            with pytest.raises(BadInput):
                SPEECHES[name](incident, DORA if name == "stop_clock" else BEA)
    assert journal.facts_after(-1) == []


REASONED: dict[str, Callable[[str, str], object]] = {
    "note": lambda incident, why: statements.note(incident, BEA, why),
    "severity": lambda incident, why: statements.change_severity(incident, BEA, Severity.P1, why),
    "close": lambda incident, why: statements.close(incident, BEA, why),
    "hold": lambda incident, why: statements.hold(incident, BEA, TARGET, why, in_an_hour()),
    "lift": lambda incident, why: statements.lift(incident, BEA, TARGET, why),
    "glass": lambda incident, why: statements.break_glass(incident, BEA, TARGET, why),
    "everything": lambda _, why: statements.hold_everything(BEA, why, in_an_hour()),
    "declare": lambda _, why: statements.declare(BEA, "t", "api", "api_service", Severity.P2, why),
}


def test_no_reason_and_too_long_a_reason_are_refused() -> None:
    incident = opened()
    before = len(journal.facts_after(-1))
    for speech in REASONED.values():
        for reason in ("", " \n\t ", "x" * 2001):
            with pytest.raises(BadInput, match=r"found none|at most 2000"):
                speech(incident, reason)
    assert len(journal.facts_after(-1)) == before


def test_words_are_kept_printable() -> None:
    incident = opened()
    fact = statements.note(incident, ROSA, "  look \x1b[31m\x00\u202e\ud800 <b>  ")
    assert fact.data["text"].isprintable()
    assert fact.data["text"].startswith("look ")
    assert said(incident, FactKind.NOTE)[-1] == fact


def test_a_second_acknowledgement_finds_the_first() -> None:
    incident = opened()
    first = statements.acknowledge(incident, ROSA)
    assert statements.acknowledge(incident, ROSA) == first
    assert acknowledged_at(journal.read(incident)) == first.at
    assert len(said(incident, FactKind.NOTE)) == 1


def told_the_dpo(incident: str, kind: FactKind = FactKind.NOTIFIED) -> None:
    data = {"channel": "#i", "audience": settings().contacts.dpo, "moment": telling.PRIVACY}
    journal.append(incident, kind, data | {"summary": "s", "receipt": "1", "error": "e"})


def test_who_takes_notice_before_the_dpo_knows_stops_no_clock() -> None:
    incident = declare().incident
    told_the_dpo(incident, FactKind.NOTIFY_FAILED)
    statements.acknowledge(incident, ROSA)
    statements.acknowledge(incident, BEA)
    later = datetime.now(UTC) + timedelta(hours=2)
    assert "clock.dpo.missed" in {due.step for due in due_steps(journal.read(incident), later)}
    told_the_dpo(incident)
    statements.acknowledge(incident, ROSA)  # once more: now it says something new
    statements.acknowledge(incident, BEA)
    (stopped,) = said(incident, FactKind.CLOCK_STOPPED)
    assert stopped.actor == "rosa"
    assert stopped.data["reason"].endswith("and dpo was told")
    assert not [due for due in due_steps(journal.read(incident), later) if "clock" in due.step]


def test_the_privacy_officers_own_notice_stops_the_clock_of_the_dpo() -> None:
    incident = declare().incident
    statements.acknowledge(incident, DORA)
    assert [fact.actor for fact in said(incident, FactKind.CLOCK_STOPPED)] == ["dora"]


def test_an_incident_whose_clock_runs_is_closed_only_after_it_was_stopped() -> None:
    incident = declare().incident
    with pytest.raises(NotApproved, match=r"clock dpo, which runs until .* UTC: tell the DPO"):
        statements.close(incident, ROSA, "over")
    for person in (ROSA, BEA, Person("sam", Role.SECURITY)):
        with pytest.raises(NotPermitted, match="may not stop a clock"):
            statements.stop_clock(incident, person, "dpo", "told by telephone")
    assert journal.read(incident).closed_at is None
    first = statements.stop_clock(incident, DORA, "dpo", "told by telephone")
    assert statements.stop_clock(incident, DORA, "dpo", "again") == first
    assert first.data == {"clock": "dpo", "reason": "told by telephone"}
    statements.close(incident, ROSA, "over")
    assert journal.read(incident).stage is Stage.CLOSED


def test_a_clock_that_was_not_started_is_not_stopped() -> None:
    with pytest.raises(BadInput, match=r"a clock of INC-.*, none, found 'dpo'"):
        statements.stop_clock(opened(), DORA, "dpo", "told")
    with pytest.raises(BadInput, match="dpo, found 'other'"):
        statements.stop_clock(declare().incident, DORA, "other", "told")


def test_the_lead_passes_from_one_to_the_other_and_a_second_click_is_none() -> None:
    incident = opened()
    first = statements.take_lead(incident, ROSA)
    assert statements.take_lead(incident, ROSA) == first
    assert journal.read(incident).lead == "rosa"
    second = statements.take_lead(incident, BEA)
    assert second.data["text"] == "bea leads the response, in place of rosa"
    assert journal.read(incident).lead == "bea"
    assert statements.take_lead(incident, ROSA) != first
    assert len(said(incident, FactKind.LEAD_TAKEN)) == 3


def test_many_clicks_on_the_lead_at_once_are_one_fact() -> None:
    incident = opened()
    together = threading.Barrier(8)

    def click(_: int) -> int:
        together.wait(timeout=30)
        return statements.take_lead(incident, ROSA).seq

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(click, range(8)))) == 1


def test_a_person_lowers_a_severity_and_the_same_assessment_does_not_raise_it_again() -> None:
    incident = opened()
    slow = Assessment(Severity.P1, "class.p1.api-errors", "users are affected")
    assert severities.assign(incident, slow) is Severity.P1
    statements.change_severity(incident, ROSA, Severity.P3, "a test tenant")
    assert severities.assign(incident, slow) is Severity.P3
    assert severities.assign(incident, None) is Severity.P3
    state = journal.read(incident)
    assert (state.severity, state.severity_reason) == (Severity.P3, "a test tenant")


def test_on_call_is_told_once_that_a_person_lowered_an_urgent_incident() -> None:
    incident = opened()
    severities.assign(incident, Assessment(Severity.P1, "r", "users are affected"))
    lowered = statements.change_severity(incident, ROSA, Severity.P3, "a test tenant")
    assert statements.change_severity(incident, ROSA, Severity.P3, "a test tenant") == lowered
    statements.change_severity(incident, ROSA, Severity.P2, "a few")  # up again, and not urgent
    orders = [one for one in ordered(incident) if one[0] == incidents.ESCALATION]
    key = f"escalate:{incident}:severity.lowered.{lowered.seq}"
    assert orders == [(incidents.ESCALATION, key, 0)]


def test_what_is_new_raises_what_a_person_lowered_to_a_severity_that_was_assigned_before() -> None:
    incident = opened()
    slow = Assessment(Severity.P0, "class.p0.outage", "API and database both failed")
    severities.assign(incident, slow)
    statements.change_severity(incident, ROSA, Severity.P3, "a test tenant")
    assert severities.assign(incident, slow, CORRUPTION) is Severity.P0
    assert severities.assign(incident, slow, CORRUPTION) is Severity.P0
    assert journal.read(incident).severity_reason == CORRUPTION.reason
    assert len(said(incident, FactKind.SEVERITY_ASSIGNED)) == 3


def test_an_assessment_and_a_person_at_once_leave_what_the_person_said() -> None:
    for _ in range(5):
        incident = opened(component=f"api-{_}")
        severities.assign(incident, Assessment(Severity.P2, "r", "a part"))
        together = threading.Barrier(2)

        def assess(name: str = incident, start: threading.Barrier = together) -> None:
            start.wait(timeout=30)
            severities.assign(name, Assessment(Severity.P2, "r", "a part"))

        def speak(name: str = incident, start: threading.Barrier = together) -> None:
            start.wait(timeout=30)
            statements.change_severity(name, ROSA, Severity.P3, "no")

        with ThreadPoolExecutor(2) as pool:
            for done in (pool.submit(assess), pool.submit(speak)):
                done.result()
        assert journal.read(incident).severity is Severity.P3


def test_the_same_word_on_a_severity_is_one_fact_and_hurries_what_is_ordered() -> None:
    incident = opened()
    first = statements.change_severity(incident, ROSA, Severity.P0, "all users")
    assert statements.change_severity(incident, ROSA, Severity.P0, "all users") == first
    assert first.data == {"severity": "P0", "rule": "person", "reason": "all users"}
    assert ordered(incident) == [("incident/incident", f"{incident}:1", 0)]


def test_an_incident_is_closed_by_hand_once_and_its_report_is_ordered() -> None:
    incident = opened()
    first = statements.close(incident, ROSA, "a drill")
    assert statements.close(incident, ROSA, "again") == first
    state = journal.read(incident)
    assert (state.stage, state.outcome) == (Stage.CLOSED, "closed by hand")
    assert first.data["summary"] == "a drill"
    assert ordered(incident)[1:] == [("incident/incident", f"report:{incident}", 2)]
    with pytest.raises(NotApproved, match="closed by rosa already"):
        statements.close(incident, BEA, "mine")


def test_a_closed_incident_takes_notes_and_no_more() -> None:
    incident = opened()
    statements.close(incident, ROSA, "a drill")
    for speech in ("take_lead", "change_severity", "hold", "break_glass"):
        with pytest.raises(NotApproved, match="closed"):
            SPEECHES[speech](incident, BEA)
    assert statements.note(incident, BEA, "afterwards").data["text"] == "afterwards"


def test_a_plan_that_is_being_carried_out_keeps_the_incident_open_until_it_is_denied() -> None:
    plan = approved()
    step = {"step": FIRST, "target": TARGET, "fencing_token": 1}
    journal.append(plan.incident, FactKind.STEP_STARTED, step)
    with pytest.raises(NotApproved, match=f"{FIRST}, {SECOND} not done.*deny the plan"):
        statements.close(plan.incident, ROSA, "enough")
    assert journal.read(plan.incident).closed_at is None
    approvals.decide(plan.incident, plan.hash, "denied", BEA, "it went wrong")  # her own yes
    lock = locks.take(TARGET, plan.incident, 60)
    with pytest.raises(NotApproved, match=f"found {FIRST} begun and neither done nor failed"):
        statements.close(plan.incident, ROSA, "half carried out: enough")  # it is at work still
    lock.release()
    done = {"step": FIRST, "target": TARGET, "summary": "s", "result": {}}
    journal.append(plan.incident, FactKind.STEP_DONE, done)
    refuses_to_close_silently(plan.incident, SECOND)


def refuses_to_close_silently(incident: str, unfinished: str) -> None:
    for words in ("enough", "half carried out:", "not half carried out: x"):
        with pytest.raises(
            NotApproved, match=f"found {unfinished} not done: .*'half carried out:'"
        ):
            statements.close(incident, ROSA, words)
    assert journal.read(incident).closed_at is None
    closed = statements.close(incident, ROSA, "Half carried out: the old database is in service")
    assert closed.data["summary"] == "half carried out: the old database is in service"


def begun_and_denied() -> str:
    plan = approved()
    step = {"step": FIRST, "target": TARGET, "fencing_token": 1}
    journal.append(plan.incident, FactKind.STEP_STARTED, step)
    approvals.decide(plan.incident, plan.hash, "denied", BEA, "it went wrong")
    return plan.incident


def test_a_step_whose_run_is_to_go_on_keeps_the_incident_open() -> None:
    incident = begun_and_denied()
    incidents.enqueue(incident, incidents.INCIDENT, "another run")
    with pytest.raises(NotApproved, match="let it end"):
        statements.close(incident, ROSA, "half carried out: enough")
    assert journal.read(incident).closed_at is None


def test_a_step_that_nobody_will_end_keeps_no_incident_open_for_ever() -> None:
    """Its process was killed, and the denial keeps another from taking the step up."""
    refuses_to_close_silently(begun_and_denied(), f"{FIRST}, {SECOND}")


def test_a_plan_whose_step_failed_is_half_carried_out_as_well() -> None:
    incident = begun_and_denied()
    failed = {"step": FIRST, "target": TARGET, "error": "the disk is full"}
    journal.append(incident, FactKind.STEP_FAILED, failed)
    refuses_to_close_silently(incident, f"{FIRST}, {SECOND}")


def test_a_plan_that_waits_or_is_done_does_not_keep_the_incident_open() -> None:
    waiting = proposed()
    statements.close(waiting.incident, ROSA, "not needed")
    done = approved()
    for step in (FIRST, SECOND):
        journal.append(done.incident, FactKind.STEP_STARTED, {"step": step, "target": TARGET})
        data = {"step": step, "target": TARGET, "summary": "s", "result": {}}
        journal.append(done.incident, FactKind.STEP_DONE, data)
    statements.close(done.incident, ROSA, "mended")
    with pytest.raises(NotApproved, match="closed"):
        approvals.decide(waiting.incident, waiting.hash, "approved", BEA, "")


def test_a_hold_keeps_the_incident_open_until_it_is_lifted() -> None:
    incident = opened()
    statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())
    with pytest.raises(NotApproved, match=f"one on {TARGET}: have it lifted"):
        statements.close(incident, ROSA, "enough")
    statements.lift(incident, BEA, TARGET, "go on")
    statements.close(incident, ROSA, "enough")


def test_a_scope_is_held_again_after_a_lift_and_each_is_told_to_on_call() -> None:
    incident = opened()
    first = statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())
    assert first.data["needs"] == PERSONS_LIFT
    lifted = statements.lift(incident, BEA, TARGET, "go on")
    assert statements.lift(incident, BEA, TARGET, "go on") == lifted
    assert journal.read(incident).held() == []
    again = statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())
    assert [hold.seq for hold in journal.read(incident).held()] == [again.seq]
    statements.lift(incident, BEA, TARGET, "go on")
    assert journal.read(incident).held() == []
    told = [key for deployment, key, _ in ordered(incident) if deployment == incidents.ESCALATION]
    assert told == [f"escalate:{incident}:hold.set.{TARGET}.{fact.seq}" for fact in (first, again)]


def test_a_form_that_is_sent_twice_sets_one_hold_and_other_words_replace_it() -> None:
    incident = opened()
    first = statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())
    assert statements.hold(incident, ROSA, TARGET, "wait", in_an_hour()) == first
    later = statements.hold(incident, ROSA, TARGET, "wait", in_an_hour() + timedelta(hours=2))
    assert [hold.seq for hold in journal.read(incident).held()] == [later.seq]


def test_a_hold_is_reviewed_within_a_week() -> None:
    incident = opened()
    for ahead in (timedelta(0), timedelta(days=-1), timedelta(days=7, hours=1)):
        with pytest.raises(BadInput, match="review time"):
            statements.hold(incident, ROSA, TARGET, "wait", datetime.now(UTC) + ahead)
    assert journal.read(incident).held() == []


def test_what_is_no_scope_holds_lifts_and_frees_nothing() -> None:
    incident = opened()
    before = len(journal.facts_after(-1))
    for scope in (
        "",
        "A",
        "audit-trail",
        "rlhf_audit",
        "database/rlhf_audi",
        "../x/",
        "a b",
        "'; DROP TABLE journal; --",
    ):
        with pytest.raises(BadInput, match="scope"):
            statements.hold(incident, BEA, scope, "wait", in_an_hour())
        with pytest.raises(RunbookError, match=r"scope|hold on"):
            statements.lift(incident, BEA, scope, "go on")
        with pytest.raises(BadInput, match="scope"):
            statements.break_glass(incident, BEA, scope, "now")
        with pytest.raises(BadInput, match="scope"):
            statements.hold_everything(BEA, "wait", in_an_hour(), scope)
    assert len(journal.facts_after(-1)) == before


def runbooks_hold(incident: str) -> None:
    data = {"scope": TARGET, "reason": "5 records altered: proven", "review_at": "", "needs": "it"}
    journal.append(incident, FactKind.HOLD_SET, data)


def test_the_hold_of_a_proven_alteration_is_not_lifted_before_its_evidence_is_sealed() -> None:
    incident = opened()
    runbooks_hold(incident)
    with pytest.raises(NotApproved, match="breaks the glass"):
        statements.lift(incident, BEA, TARGET, "go on")
    statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())  # hides nothing
    with pytest.raises(NotApproved, match="breaks the glass"):
        statements.lift(incident, BEA, TARGET, "go on")
    journal.append(incident, FactKind.EVIDENCE_SEALED, {"scope": TARGET, "items": []})
    statements.lift(incident, BEA, TARGET, "go on")
    assert journal.read(incident).held() == []


def test_the_holds_of_a_closed_incident_can_still_be_lifted() -> None:
    incident = opened()
    runbooks_hold(incident)
    journal.append(incident, FactKind.EVIDENCE_SEALED, {"scope": TARGET, "items": []})
    statements.close(incident, ROSA, "restored elsewhere")
    statements.lift(incident, BEA, TARGET, "the evidence is kept elsewhere")
    assert journal.read(incident).held() == []


def test_a_lift_of_what_is_not_held_says_what_is() -> None:
    incident = opened()
    statements.hold(incident, ROSA, "database", "wait", in_an_hour())
    with pytest.raises(NotApproved, match="found database"):
        statements.lift(incident, BEA, TARGET, "go on")


def test_one_hold_for_everything_opens_an_incident_that_the_next_one_joins() -> None:
    incident = statements.hold_everything(ROSA, "nobody changes anything", in_an_hour())
    assert statements.hold_everything(BEA, "me neither", in_an_hour()) == incident
    state = journal.read(incident)
    assert (state.title, state.component, state.severity) == (
        "Hold on every change",
        "changes",
        Severity.P3,
    )
    day = datetime.now(UTC) + timedelta(hours=23)
    steps = [due.step for due in due_steps(state, day)]
    assert not [step for step in steps if step.startswith("escalation.")]  # its review watches it
    assert [(hold.scope, hold.by) for hold in state.held()] == [("*", "bea")]
    assert ordered(incident)[0] == ("incident/incident", f"{incident}:1", 3)
    statements.lift_from_everything(CARL, "go on")
    assert journal.read(incident).held() == []
    statements.close(incident, ROSA, "over")
    with pytest.raises(BadInput, match="found none"):
        statements.lift_from_everything(CARL, "go on")
    assert statements.hold_everything(ROSA, "again", in_an_hour()) != incident


def test_two_holds_on_everything_at_once_open_one_incident() -> None:
    together = threading.Barrier(4)

    def press(number: int) -> str:
        together.wait(timeout=30)
        person = Person(f"person {number}", Role.RESPONDER)
        return statements.hold_everything(person, "stop", in_an_hour())

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(press, range(4)))) == 1


def test_broken_glass_is_recorded_once_lasts_an_hour_and_orders_the_telling() -> None:
    incident = opened()
    runbooks_hold("INC-other")
    before = datetime.now(UTC)
    glass = statements.break_glass(incident, BEA, TARGET, "patients wait")
    assert statements.break_glass(incident, BEA, TARGET, "patients wait") == glass
    (found,) = journal.read(incident).glass
    assert (found.by, found.scope, found.reason) == ("bea", TARGET, "patients wait")
    assert timedelta(minutes=60) <= found.until - before < timedelta(minutes=61)
    assert ordered(incident)[-1] == (
        incidents.ESCALATION,
        f"escalate:{incident}:glass.{glass.seq}",
        0,
    )
    due = {step.contact for step in due_steps(journal.read(incident), datetime.now(UTC))}
    assert {"compliance_officer", "on_call"} <= due
    with pytest.raises(NotApproved, match="bea has broken this glass already"):
        statements.break_glass(incident, CARL, TARGET, "me too")


def test_glass_is_broken_again_when_another_hold_was_set_since() -> None:
    incident = opened()
    runbooks_hold("INC-other")
    first = statements.break_glass(incident, BEA, TARGET, "patients wait")
    statements.hold(opened("database"), ROSA, TARGET, "no, really", in_an_hour())
    assert statements.break_glass(incident, BEA, TARGET, "patients wait") != first


def held_elsewhere(scope: str) -> None:
    data = {"scope": scope, "reason": "r", "review_at": "", "needs": PERSONS_LIFT}
    journal.append("INC-other", FactKind.HOLD_SET, data, actor="anna")


def test_without_a_hold_there_is_no_glass_to_break() -> None:
    incident = opened()
    held_elsewhere("cache")
    with pytest.raises(NotApproved, match="held cache: there is no glass to break"):
        statements.break_glass(incident, BEA, TARGET, "now")
    assert statements.break_glass(incident, BEA, "*", "now").data["scope"] == "*"


def test_glass_that_frees_nothing_of_the_incidents_plan_is_not_broken() -> None:
    plan = proposed()
    held_elsewhere("cache")
    for scope in ("cache", "*"):
        with pytest.raises(NotApproved, match="held none: there is no glass to break"):
            statements.break_glass(plan.incident, BEA, scope, "now")
    held_elsewhere(f"{TARGET}/audit_records")
    for scope in ("cache", f"{TARGET}/audit_records"):  # the part frees not the whole
        with pytest.raises(NotApproved, match=f"held {TARGET}: there is no glass"):
            statements.break_glass(plan.incident, BEA, scope, "now")
    assert journal.read(plan.incident).glass == []
    for scope in ("*", "database", TARGET):
        other = proposed()
        assert statements.break_glass(other.incident, BEA, scope, "now").data["scope"] == scope


def test_what_can_be_held_is_the_system_what_open_plans_change_and_what_is_held() -> None:
    always = holding.known_targets()
    assert {"*", TARGET, "deployment/rlhf-audit-trail"} <= set(always)
    plan = proposed()
    changed = {"step": "x", "action": "a", "target": "cache/Sessions", "destroys": "nothing"}
    data = plan.as_json() | {"steps": [changed]}
    journal.append(plan.incident, FactKind.PLAN_PROPOSED, {"plan": data, "hash": "h"})
    journal.append(plan.incident, FactKind.PLAN_PROPOSED, {"plan": {"odd": 1}, "hash": "h"})
    held_elsewhere("api")
    held_elsewhere("<script>")
    assert set(holding.known_targets()) == {"api", "cache/Sessions", *always}
    incident = opened()
    statements.hold(incident, ROSA, "cache/Sessions", "wait", in_an_hour())
    with pytest.raises(BadInput, match="known are api, cache/Sessions, "):
        statements.hold(incident, ROSA, "cache/sessions", "wait", in_an_hour())
    statements.lift(incident, BEA, "cache/Sessions", "go on")
    statements.close(plan.incident, ROSA, "not needed")
    assert set(holding.known_targets()) == {"api", *always}


def test_the_runbook_holds_one_damage_once_and_another_anew() -> None:
    incident = opened()
    first = holding.hold_until_sealed(incident, TARGET, "5 altered: proven", "damage 1")
    assert holding.hold_until_sealed(incident, TARGET, "5 altered: proven", "damage 1") == first
    sealed = {"scope": TARGET, "items": [], "hold": first.seq, "damage": "damage 1"}
    journal.append(incident, FactKind.EVIDENCE_SEALED, sealed)
    statements.lift(incident, BEA, TARGET, "go on")
    # The run begins again: what a person let go is not held again for the same damage.
    assert holding.hold_until_sealed(incident, TARGET, "5 altered: proven", "damage 1") == first
    assert journal.read(incident).held() == []
    statements.hold(incident, ROSA, TARGET, "wait", in_an_hour())  # a person's is none of its own
    second = holding.hold_until_sealed(incident, TARGET, "9 altered: proven", "damage 2")
    assert holding.hold_until_sealed(incident, TARGET, "9 altered: proven", "damage 2") == second
    (runbooks,) = [hold for hold in journal.read(incident).held() if not hold.by_person]
    assert (runbooks.seq, runbooks.sealed) == (second.seq, False)
    third = holding.hold_until_sealed(incident, TARGET, "5 altered: proven", "damage 1")
    assert third.seq > second.seq


def test_two_runs_that_hold_the_same_damage_at_once_set_one_hold() -> None:
    incident = opened()
    together = threading.Barrier(4)

    def set_it(_: int) -> int:
        together.wait(timeout=30)
        return holding.hold_until_sealed(incident, TARGET, "proven", "damage 1").seq

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(set_it, range(4)))) == 1
    assert len(said(incident, FactKind.HOLD_SET)) == 1


def declare(person: Person = ROSA, **other: Any) -> declaring.Declared:
    said = {
        "title": "Privacy: budget spent <script>",
        "component": "privacy-engine",
        "procedure": "privacy_engine",
        "severity": Severity.P1,
        "reason": "a customer called",
    }
    return statements.declare(person, **(said | other))


def test_a_declared_incident_has_the_policys_terms_the_persons_severity_and_a_run() -> None:
    declared = declare()
    incident = declared.incident
    assert declared == declaring.Declared(incident, joined=False, procedure_differs=False)
    state = journal.read(incident)
    assert (state.opened_by, state.cause, state.severity) == ("rosa", "person", Severity.P1)
    assert (state.owner, state.closes_on_resolve) == ("dpo", False)
    assert "dpo" in state.clocks
    assert said(incident, FactKind.SEVERITY_ASSIGNED)[0].actor == "rosa"
    assert ordered(incident) == [("incident/incident", f"{incident}:1", 1)]


@pytest.mark.parametrize(
    ("component", "procedure", "owner", "approvers", "clock"),
    [
        ("billing", "triage", "on_call", 1, False),
        ("billing", "api_service", "on_call", 1, False),
        ("billing", "privacy_engine", "dpo", 2, True),
        ("api", "privacy_incident", "dpo", 1, True),
        ("database", "breach", "security_team", 2, True),
        ("security", "breach", "security_team", 2, True),  # the strictest of its own four routes
        ("privacy-engine", "audit_trail", "compliance_officer", 1, False),
    ],
)
def test_what_no_route_foresaw_has_the_strictest_terms_of_its_procedure(
    component: str, procedure: str, owner: str, approvers: int, *, clock: bool
) -> None:
    state = journal.read(declare(component=component, procedure=procedure).incident)
    assert (state.component, state.procedure, state.owner) == (component, procedure, owner)
    assert (state.approvers_needed, "dpo" in state.clocks) == (approvers, clock)
    assert not state.closes_on_resolve


def test_what_is_declared_again_joins_and_only_ever_raises() -> None:
    incident = declare().incident
    joined = declaring.Declared(incident, joined=True, procedure_differs=False)
    assert declare(BEA, severity=Severity.P3, reason="me too") == joined
    assert journal.read(incident).severity is Severity.P1
    assert declare(BEA, severity=Severity.P0, reason="all of them") == joined
    state = journal.read(incident)
    assert (state.severity, state.opened_by) == (Severity.P0, "rosa")
    assert [fact.actor for fact in said(incident, FactKind.NOTE)] == ["bea", "bea"]
    assert ordered(incident) == [("incident/incident", f"{incident}:1", 0)]


def test_what_joins_an_incident_of_another_procedure_says_so_and_keeps_what_was_asked() -> None:
    incident = declare(component="api", procedure="api_service").incident
    assert journal.read(incident).clocks == {}
    asked = {"component": "api", "procedure": "breach", "severity": Severity.P2}
    joined = declare(BEA, title="Tokens leak", reason="seen in a log", **asked)
    assert joined == declaring.Declared(incident, joined=True, procedure_differs=True)
    state = journal.read(incident)
    (note,) = said(incident, FactKind.NOTE)
    assert note.data["text"] == "declared again (breach, P2): Tokens leak: seen in a log"
    assert (state.procedure, state.severity) == ("api_service", Severity.P1)
    assert "dpo" in state.clocks  # the hour begins when somebody has seen it


def test_what_is_declared_again_after_its_runs_are_over_gets_another() -> None:
    incident = declare().incident
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = now()")
    declare(BEA, reason="still there")
    assert [key for _, key, _ in ordered(incident)] == [
        f"{incident}:1",
        f"{incident}:declared:{said(incident, FactKind.NOTE)[-1].seq}",
    ]


def test_what_cannot_be_declared_opens_nothing() -> None:
    components = ("", "a/b", "A", "x" * 65, "a\x00")
    procedures = ("flows.breach", "", "integrity")
    for other in (
        *({"component": each} for each in components),
        *({"procedure": each} for each in procedures),
        {"title": " "},
    ):
        with pytest.raises(BadInput):
            declare(**other)
    assert journal.facts_after(-1) == []


def test_nobody_approves_what_they_declared() -> None:
    plan = proposed(opened_by="bea")
    with pytest.raises(NotApproved, match="somebody else"):
        approvals.decide(plan.incident, plan.hash, "approved", BEA, "")


def test_every_word_is_under_its_persons_name() -> None:
    incident = opened()
    for speech in ("acknowledge", "note", "take_lead", "change_severity", "hold", "lift", "close"):
        SPEECHES[speech](incident, BEA)
    mine = [fact for fact in journal.read(incident).facts if fact.kind is not FactKind.OPENED]
    assert {fact.actor for fact in mine} == {"bea"}
    assert RUNBOOK not in {fact.actor for fact in mine}
