"""A person asks for a restore: who may, what is recorded, which run follows, who may say yes."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput, NotApproved, NotPermitted
from tasks.domain.facts import Fact, FactKind
from tasks.domain.recovery_plan import has_other_target, wanted_target
from tasks.domain.recovery_target import Target, TargetKind
from tasks.work import approvals, incidents, journal, responder
from tasks.work.asking_for_restore import Asked, ask_for_restore
from tasks.work.people import Person, Role
from tests.tasks.proposals import BEA, CARL, FIRST, SECOND, approved, propose, proposed, replaced

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]

ROSA = Person("rosa", Role.RESPONDER)
AT_TWO = Target.parse("2026-11-22 14:05Z")
BEFORE = Target(TargetKind.BEFORE_DAMAGE)


def chosen(incident: str) -> list[Fact]:
    return [fact for fact in journal.read(incident).facts if fact.kind is FactKind.TARGET_CHOSEN]


def orders(incident: str) -> list[str]:
    with responder.connection() as connection:
        rows = connection.execute(
            "SELECT deployment FROM dispatches WHERE incident = %s ORDER BY id", (incident,)
        )
        return [deployment for (deployment,) in rows.fetchall()]


def finish_orders() -> None:
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = clock_timestamp()")


def ask(target: Target = AT_TWO, person: Person = ROSA, reason: str = "we lost rows") -> Asked:
    return ask_for_restore(person, target, reason)


def step_done(incident: str, step: str) -> None:
    journal.append(incident, FactKind.STEP_STARTED, {"step": step, "target": "x"})
    journal.append(incident, FactKind.STEP_DONE, {"step": step, "target": "x", "result": {}})


def test_it_opens_an_incident_of_the_procedure_with_the_target_under_the_persons_name() -> None:
    asked = ask()
    state = journal.read(asked.incident)
    assert asked == Asked(asked.incident, "2026-11-22 14:05:00Z")
    assert (state.procedure, state.component) == ("database_recovery", "audit-trail")
    assert (state.target, state.target_by, state.opened_by) == (AT_TWO, "rosa", "rosa")
    assert wanted_target(state) == AT_TWO
    assert orders(asked.incident) == [incidents.INCIDENT]


def test_a_viewer_may_not_and_a_reason_is_needed() -> None:
    before = len(journal.facts_after(-1))
    with pytest.raises(NotPermitted, match="declare an incident"):
        ask(person=Person("vera", Role.VIEWER))
    with pytest.raises(BadInput, match="a reason for the restore"):
        ask(reason="  ")
    assert len(journal.facts_after(-1)) == before


def test_the_same_request_twice_is_one_incident_one_target_and_one_run() -> None:
    first, second = ask(), ask(person=BEA)
    assert (first.incident, first.joined) == (second.incident, False)
    assert second.joined
    assert len(chosen(first.incident)) == 1
    assert orders(first.incident) == [incidents.INCIDENT]


def test_it_joins_the_audit_trails_open_incident_and_orders_a_look() -> None:
    incident = incidents.declare("tampered", "audit-trail", "audit_trail", by="runbook")
    finish_orders()
    asked = ask()
    assert (asked.incident, asked.joined) == (incident, True)
    assert journal.read(incident).procedure == "audit_trail"
    assert orders(incident) == [incidents.INCIDENT] * 2


def test_another_target_is_looked_at_though_a_run_is_at_work_and_the_last_word_counts() -> None:
    incident = ask().incident
    ask(BEFORE, BEA)
    assert len(orders(incident)) == 2
    state = journal.read(incident)
    assert (state.target, state.target_by) == (BEFORE, "bea")


def test_a_plan_that_stands_for_the_target_is_waited_for() -> None:
    plan = proposed(opened_by="runbook")
    ask()
    stands = propose_for(plan, AT_TWO)
    finish_orders()
    ask(person=BEA)
    assert orders(plan.incident) == [incidents.INCIDENT]
    assert not has_other_target(journal.read(plan.incident))
    ask(BEFORE)
    state = journal.read(plan.incident)
    assert has_other_target(state)
    assert (state.plan_hash, standing(state, datetime.now(UTC))) == (stands, Standing.EXPIRED)
    with pytest.raises(NotApproved, match="found it expired"):
        approvals.decide(plan.incident, stands, "approved", CARL, "")


def propose_for(plan: Any, target: Target) -> str:
    observed = dict(plan.observed) | {"target": str(target)}
    return str(propose(replace(plan, observed=observed)).hash)


def test_who_chose_the_target_may_not_approve_the_plan_and_others_may() -> None:
    plan = proposed(opened_by="runbook")
    ask(person=BEA)
    stands = propose_for(plan, AT_TWO)
    with pytest.raises(NotApproved, match="somebody else must approve"):
        approvals.decide(plan.incident, stands, "approved", BEA, "")
    with pytest.raises(NotApproved, match="somebody else must approve"):
        approvals.decide(plan.incident, stands, "approved", Person("BEA", Role.APPROVER), "")
    approvals.decide(plan.incident, stands, "approved", CARL, "")
    assert journal.read(plan.incident).is_approved()


def test_an_approval_by_who_then_chooses_another_target_counts_no_more() -> None:
    plan = approved()
    ask(person=BEA)
    assert not journal.read(plan.incident).is_approved()


def test_the_target_that_the_standing_plan_is_for_anyway_does_not_end_it() -> None:
    plan = proposed(opened_by="runbook")
    stands = propose_for(plan, BEFORE)
    ask(BEFORE)
    assert standing(journal.read(plan.incident), datetime.now(UTC)) is Standing.WAITING
    approvals.decide(plan.incident, stands, "approved", CARL, "")


def test_while_a_restore_is_carried_out_no_target_is_taken() -> None:
    plan = approved()
    step_done(plan.incident, FIRST)
    with pytest.raises(NotApproved, match="being carried out"):
        ask()
    assert chosen(plan.incident) == []
    step_done(plan.incident, SECOND)
    with pytest.raises(NotApproved, match="restored already"):
        ask()


def test_after_a_denied_plan_the_same_target_may_be_asked_for_again() -> None:
    plan = proposed(opened_by="runbook")
    ask()
    stands = propose_for(plan, AT_TWO)
    approvals.decide(plan.incident, stands, "denied", CARL, "not now")
    finish_orders()
    ask()
    last = journal.read(plan.incident).facts[-1]
    assert (last.kind, last.data["ended_plan"]) == (FactKind.NOTE, stands)
    assert len(orders(plan.incident)) == 2


def test_a_target_that_no_person_chose_or_that_is_none_is_not_believed() -> None:
    incident = incidents.declare("tampered", "audit-trail", "audit_trail", by="runbook")
    journal.append(incident, FactKind.TARGET_CHOSEN, {"target": AT_TWO.as_json()})
    journal.append(incident, FactKind.TARGET_CHOSEN, {"target": "soon"}, actor="rosa")
    state = journal.read(incident)
    assert (state.target, wanted_target(state)) == (None, Target())
    journal.append(
        incident, FactKind.DIAGNOSED, {"verdict": "tampered", "altered": 1, "missing": 0}
    )
    assert wanted_target(journal.read(incident)) == BEFORE
    assert not has_other_target(journal.read(incident))


def test_a_plan_of_another_procedure_makes_room_for_the_restore() -> None:
    plan = proposed(opened_by="runbook")
    replaced(plan)
    assert has_other_target(journal.read(plan.incident))
