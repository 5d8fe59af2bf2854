"""When a plan may be carried out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.approval import APPROVED_BY_POLICY, Standing, standing
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, Stage, fold
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


def opened_with(plan: Plan, *facts: tuple[FactKind, str, dict[str, object]], **terms: object):
    """An incident on these terms of the routing policy, with a plan."""
    known = make_incident(*facts, plan=plan).facts
    first = Fact(0, "INC-1", NOW, FactKind.OPENED, "runbook", {"title": "t", **terms})
    return fold("INC-1", [first, *known[1:]])


def stands(incident: Incident) -> tuple[Standing, Stage]:
    return standing(incident, NOW), incident.stage


def test_the_policy_may_ask_for_more_approvers_than_the_plan_and_never_for_fewer():
    asked = opened_with(make_plan(), decided("ada"), approvers=2)
    assert asked.approvers_required == 2
    assert stands(asked) == (Standing.WAITING, Stage.AWAITING_APPROVAL)
    both = opened_with(make_plan(), decided("ada"), decided("bob"), approvers=2)
    assert stands(both) == (Standing.APPROVED, Stage.CARRYING_OUT)
    plan = make_plan(approvers=2)
    assert opened_with(plan, decided("ada", plan=plan), approvers=1).approvers_required == 2


def test_the_policy_approves_a_harmless_plan_of_an_automatic_remedy():
    passed = opened_with(make_plan(), decided("runbook", APPROVED_BY_POLICY), remedy="automatic")
    assert passed.policy_approves()
    assert stands(passed) == (Standing.APPROVED, Stage.CARRYING_OUT)
    assert passed.approvers() == set()


def test_without_its_fact_the_policy_has_approved_nothing():
    silent = opened_with(make_plan(), remedy="automatic")
    assert stands(silent) == (Standing.WAITING, Stage.AWAITING_APPROVAL)


_DESTROYS = replace(STEP, destroys="nothing; sessions end")
_HARMFUL = (
    replace(make_plan(), steps=(STEP, _DESTROYS)),
    replace(make_plan(), steps=()),
    replace(make_plan(), will_be_lost="at most 2 records"),
    make_plan(approvers=2),
)


@pytest.mark.parametrize("plan", _HARMFUL)
def test_the_policy_never_approves_a_plan_that_destroys_or_asks_for_two(plan: Plan):
    said = decided("runbook", APPROVED_BY_POLICY, plan=plan)
    incident = opened_with(plan, said, remedy="automatic")
    assert not incident.policy_approves()
    assert stands(incident) == (Standing.WAITING, Stage.AWAITING_APPROVAL)


@pytest.mark.parametrize(
    ("by", "terms"),
    [
        ("runbook", {}),
        ("runbook", {"remedy": "approval"}),
        ("runbook", {"remedy": "manual"}),
        ("runbook", {"remedy": ["automatic"]}),
        ("runbook", {"remedy": "automatic", "approvers": 2}),
        ("ada", {"remedy": "automatic"}),
    ],
)
def test_the_policys_word_counts_only_from_the_runbook_and_where_it_is_the_policy(
    by: str, terms: dict[str, object]
):
    incident = opened_with(make_plan(), decided(by, APPROVED_BY_POLICY), **terms)
    assert stands(incident) == (Standing.WAITING, Stage.AWAITING_APPROVAL)


def test_a_person_may_deny_what_the_policy_has_approved_and_it_expires_like_any_other():
    passed = decided("runbook", APPROVED_BY_POLICY)
    denied = opened_with(make_plan(), passed, decided("ada", "denied"), remedy="automatic")
    assert stands(denied) == (Standing.DENIED, Stage.OPEN)
    late = opened_with(make_plan(), passed, remedy="automatic")
    assert standing(late, NOW + timedelta(minutes=60)) is Standing.EXPIRED
