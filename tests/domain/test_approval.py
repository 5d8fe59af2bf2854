"""When a plan may be carried out."""

from datetime import UTC, datetime, timedelta

from tasks.domain.approval import Standing, standing
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import fold
from tasks.domain.plan import Plan, PlanStep

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
STEP = PlanStep("recovery.db.restore", "restore", "database/rlhf_audit", "nothing")


def make_plan(approvers: int = 1, summary: str = "restore") -> Plan:
    return Plan(
        incident="INC-1",
        procedure="audit_trail",
        summary=summary,
        steps=(STEP,),
        observed={"oid": 1},
        will_be_lost="nothing",
        expires_at=NOW + timedelta(minutes=60),
        approvers_needed=approvers,
    )


def make_incident(*facts: tuple[FactKind, str, dict[str, object]], plan: Plan | None = None):
    plan = plan or make_plan()
    known = [
        (FactKind.OPENED, "runbook", {"title": "t"}),
        (FactKind.PLAN_PROPOSED, "runbook", {"plan": plan.as_json(), "hash": plan.hash}),
        *facts,
    ]
    return fold("INC-1", [Fact(n, "INC-1", NOW, *one) for n, one in enumerate(known)])


def decided(by: str, decision: str = "approved", plan: Plan | None = None):
    data = {"hash": (plan or make_plan()).hash, "decision": decision}
    return (FactKind.PLAN_DECIDED, by, data)


def test_plan_without_decision_waits():
    assert standing(make_incident(), NOW) is Standing.WAITING


def test_approved_plan_may_be_carried_out_until_it_expires():
    approved = make_incident(decided("ada"))
    assert standing(approved, NOW + timedelta(minutes=59)) is Standing.APPROVED
    assert standing(approved, NOW + timedelta(minutes=60)) is Standing.EXPIRED


def test_approval_of_another_plan_does_not_count():
    other = make_plan(summary="restore something else")
    assert standing(make_incident(decided("ada", plan=other)), NOW) is Standing.WAITING


def test_one_denial_outweighs_approvals():
    both = make_incident(decided("ada"), decided("bob", "denied"))
    assert standing(both, NOW) is Standing.DENIED


def test_two_approvers_must_be_two_people():
    plan = make_plan(approvers=2)
    once = make_incident(decided("ada", plan=plan), decided("ada", plan=plan), plan=plan)
    twice = make_incident(decided("ada", plan=plan), decided("bob", plan=plan), plan=plan)
    assert standing(once, NOW) is Standing.WAITING
    assert standing(twice, NOW) is Standing.APPROVED


def test_machine_and_person_who_opened_it_cannot_approve():
    assert standing(make_incident(decided("runbook")), NOW) is Standing.WAITING
    opened_by_ada = fold(
        "INC-1",
        [
            Fact(0, "INC-1", NOW, FactKind.OPENED, "ada", {}),
            *(make_incident(decided("ada")).facts[1:]),
        ],
    )
    assert standing(opened_by_ada, NOW) is Standing.WAITING


def test_approved_plan_that_has_begun_does_not_expire_half_way():
    begun = make_incident(
        decided("ada"), (FactKind.STEP_STARTED, "runbook", {"step": "recovery.db.restore"})
    )
    assert standing(begun, NOW + timedelta(hours=5)) is Standing.APPROVED


def test_plan_survives_the_journal_and_keeps_its_hash():
    plan = make_plan()
    assert Plan.from_json(plan.as_json()).hash == plan.hash


def test_any_change_of_a_plan_changes_its_hash():
    hashes = {
        make_plan().hash,
        make_plan(approvers=2).hash,
        make_plan(summary="restore ").hash,
    }
    assert len(hashes) == 3
