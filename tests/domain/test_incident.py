"""The fold: what each fact does to an incident, and what an odd one must not do."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.approval import Standing, standing
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, Stage, fold
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.severity import Severity

NOW = datetime(2026, 3, 14, 3, tzinfo=UTC)
ID = "INC-20260314-030012-a1b2"
STEP = "recovery.db.restore"


def make_plan(approvers: int = 1, summary: str = "mend it") -> Plan:
    return Plan(
        incident=ID,
        procedure="database_recovery",
        summary=summary,
        steps=(PlanStep(STEP, "restore", "database/rlhf_audit", "nothing"),),
        observed={"oid": 1},
        will_be_lost="nothing",
        expires_at=NOW + timedelta(minutes=60),
        approvers_needed=approvers,
    )


PLAN = make_plan()


class Story:
    """Facts of one incident, a second apart."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def add(
        self,
        kind: FactKind,
        data: Mapping[str, Any],
        actor: str = "runbook",
        *,
        incident: str = ID,
        at: datetime | None = None,
    ) -> "Story":
        number = len(self.facts)
        when = at or NOW + timedelta(seconds=number)
        self.facts.append(Fact(number, incident, when, kind, actor, data))
        return self

    def proposed(self, plan: Plan = PLAN) -> "Story":
        return self.add(FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})

    def decided(
        self, by: str, decision: str = "approved", plan: Plan = PLAN, at: datetime | None = None
    ) -> "Story":
        data = {"hash": plan.hash, "decision": decision, "role": "approver", "reason": "r"}
        return self.add(FactKind.PLAN_DECIDED, data, by, at=at)

    def state(self) -> Incident:
        return fold(ID, self.facts)

    @property
    def stage(self) -> Stage:
        return self.state().stage


def opened(by: str = "runbook") -> Story:
    return Story().add(
        FactKind.OPENED, {"title": "t", "component": "c", "procedure": "p", "cause": "alert"}, by
    )


def test_no_facts_are_an_incident_that_was_never_opened() -> None:
    state = fold(ID, [])
    assert (state.id, state.opened_at, state.facts, state.stage) == (ID, None, [], Stage.OPEN)


def test_an_opened_incident_says_what_who_and_when() -> None:
    state = opened("anna").state()
    assert (state.title, state.component, state.procedure, state.cause) == ("t", "c", "p", "alert")
    assert (state.opened_by, state.opened_at) == ("anna", NOW)


def test_every_other_kind_leaves_its_effect() -> None:
    story = (
        opened()
        .add(FactKind.ALERT_RECEIVED, {"name": "A"})
        .add(FactKind.CHECK_OBSERVED, {"step": "s", "health": "Failed"})
        .add(FactKind.SEVERITY_ASSIGNED, {"severity": "P1", "reason": "why"})
        .add(FactKind.DIAGNOSED, {"verdict": "tampered"})
        .add(FactKind.HOLD_SET, {"scope": "database/x"})
        .add(FactKind.EVIDENCE_SEALED, {"scope": "database/x", "items": []})
        .add(FactKind.NOTIFIED, {"moment": "opened"})
        .add(FactKind.ESCALATED, {"step": "e", "to": "lead"})
        .add(FactKind.CLOCK_STARTED, {"clock": "dpo", "due": "x"})
        .add(FactKind.CLOCK_STOPPED, {"clock": "dpo"})
        .add(FactKind.VERIFIED, {"holds": True, "summary": "good"})
        .add(FactKind.REPORTED, {"html": {}})
        .add(FactKind.CLOSED, {"outcome": "restored"})
    )
    state = story.state()
    assert [alert["name"] for alert in state.alerts] == ["A"]
    assert state.checks["s"]["health"] == "Failed"
    assert (state.severity, state.severity_reason) == (Severity.P1, "why")
    assert state.diagnosis == {"verdict": "tampered"}
    assert list(state.holds) == list(state.evidence) == ["database/x"]
    assert [told["moment"] for told in state.notified] == ["opened"]
    assert state.escalations["e"].data["to"] == "lead"
    assert state.clocks["dpo"]["due"] == "x"
    assert state.clocks_stopped == {"dpo"}
    assert state.proof is not None
    assert state.mitigated_at == story.facts[11].at
    assert state.report == {"html": {}}
    assert (state.stage, state.outcome, state.closed_at) == (
        Stage.CLOSED,
        "restored",
        story.facts[-1].at,
    )


def test_a_hold_that_is_lifted_is_gone() -> None:
    story = opened().add(FactKind.HOLD_SET, {"scope": "x"}).add(FactKind.HOLD_SET, {"scope": "y"})
    assert list(story.add(FactKind.HOLD_LIFTED, {"scope": "x"}).state().holds) == ["y"]


def test_a_proof_that_does_not_hold_mitigates_nothing() -> None:
    for holds in (False, None, "yes", 1):
        state = opened().add(FactKind.VERIFIED, {"holds": holds}).state()
        assert state.mitigated_at is None
        assert state.proof is not None


def test_facts_of_other_incidents_do_nothing_and_are_not_kept() -> None:
    story = opened()
    other = replace(PLAN, incident="INC-other")
    story.add(
        FactKind.PLAN_PROPOSED, {"plan": other.as_json(), "hash": other.hash}, incident="INC-other"
    )
    story.add(FactKind.CLOSED, {"outcome": "restored"}, incident="INC-other")
    assert story.state() == opened().state()


def test_notes_and_runs_fill_the_timeline_alone() -> None:
    story = opened()
    before = story.state()
    for kind in (FactKind.NOTE, FactKind.RUN_STARTED, FactKind.DRY_RUN, FactKind.NOTIFY_FAILED):
        story.add(kind, {"text": "t"})
    after = story.state()
    assert len(after.facts) == len(before.facts) + 4
    assert replace(after, facts=[]) == replace(before, facts=[])


def test_the_order_of_the_journal_decides() -> None:
    first, second = make_plan(), make_plan(summary="mend it otherwise")
    assert opened().proposed(first).proposed(second).state().plan_hash == second.hash
    assert opened().proposed(second).proposed(first).state().plan_hash == first.hash


# stages


def test_stages_follow_the_plan_and_its_decisions() -> None:
    story = opened()
    assert story.stage is Stage.OPEN
    assert story.proposed().stage is Stage.AWAITING_APPROVAL
    assert story.decided("bea").stage is Stage.CARRYING_OUT
    assert story.add(FactKind.CLOSED, {"outcome": "restored"}).stage is Stage.CLOSED


@pytest.mark.parametrize("decision", ["denied", "expired", "maybe", ""])
def test_anything_but_a_yes_opens_the_incident_again(decision: str) -> None:
    story = opened().proposed().decided("bea", decision)
    assert story.stage is Stage.OPEN
    assert story.decided("carl").stage is Stage.OPEN


def test_two_approvers_are_two_people() -> None:
    plan = make_plan(approvers=2)
    story = opened().proposed(plan).decided("bea", plan=plan).decided("bea", plan=plan)
    assert story.stage is Stage.AWAITING_APPROVAL
    assert story.decided("carl", plan=plan).stage is Stage.CARRYING_OUT
    assert story.state().approvers() == {"bea", "carl"}


@pytest.mark.parametrize("by", ["runbook", "anna"])
def test_machine_and_opener_are_no_approvers(by: str) -> None:
    story = opened("anna").proposed().decided(by)
    assert story.state().approvers() == set()
    assert story.stage is Stage.AWAITING_APPROVAL


@pytest.mark.parametrize(("late", "counts"), [(-1, True), (0, False), (1, False)])
def test_an_approval_at_or_after_the_expiry_does_not_count(late: int, *, counts: bool) -> None:
    at = PLAN.expires_at + timedelta(microseconds=late)
    state = opened().proposed().decided("bea", at=at).state()
    assert (state.approvers() == {"bea"}) is counts


def test_decisions_on_a_replaced_plan_do_not_count_for_the_new_one() -> None:
    new = make_plan(summary="mend it otherwise")
    for decision in ("approved", "denied"):
        story = opened().proposed().decided("bea", decision).proposed(new)
        assert story.stage is Stage.AWAITING_APPROVAL
        assert story.state().decisions_on_plan() == []
        assert len(story.state().decisions) == 1


def test_steps_belong_to_the_plan_under_which_they_were_done() -> None:
    story = opened().proposed().decided("bea")
    story.add(FactKind.STEP_STARTED, {"step": STEP}).add(FactKind.STEP_DONE, {"step": STEP})
    assert story.state().done(STEP) is not None
    assert story.state().begun == {STEP}
    again = story.proposed(make_plan(summary="mend it otherwise")).state()
    assert again.done(STEP) is None
    assert again.begun == set()


def test_severity_rises_by_itself_and_falls_by_a_person_alone() -> None:
    story = opened().add(FactKind.SEVERITY_ASSIGNED, {"severity": "P1"})
    story.add(FactKind.SEVERITY_ASSIGNED, {"severity": "P2"})
    assert story.state().severity is Severity.P1
    story.add(FactKind.SEVERITY_ASSIGNED, {"severity": "P0"})
    assert story.state().severity is Severity.P0
    story.add(FactKind.SEVERITY_ASSIGNED, {"severity": "P3", "reason": "a drill"}, "bea")
    assert (story.state().severity, story.state().severity_reason) == (Severity.P3, "a drill")


# odd facts

KEYED = {
    FactKind.CHECK_OBSERVED: "step",
    FactKind.SEVERITY_ASSIGNED: "severity",
    FactKind.HOLD_SET: "scope",
    FactKind.HOLD_LIFTED: "scope",
    FactKind.EVIDENCE_SEALED: "scope",
    FactKind.STEP_STARTED: "step",
    FactKind.STEP_DONE: "step",
    FactKind.ESCALATED: "step",
    FactKind.CLOCK_STARTED: "clock",
    FactKind.CLOCK_STOPPED: "clock",
}
ODD = [None, "", 7, ["x"], {"x": 1}]


def standing_story() -> Story:
    return opened().add(FactKind.HOLD_SET, {"scope": "x"}).proposed().decided("bea")


@pytest.mark.parametrize("kind", KEYED, ids=lambda kind: kind.value)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_fact_that_does_not_say_what_it_is_about_changes_nothing_and_is_kept(
    kind: FactKind, value: object
) -> None:
    before = standing_story().state()
    for data in ({KEYED[kind]: value}, {}):
        after = standing_story().add(kind, data).state()
        assert after.facts[-1].data == data
        assert replace(after, facts=[]) == replace(before, facts=[])


def test_a_severity_that_does_not_exist_changes_nothing() -> None:
    story = opened().add(FactKind.SEVERITY_ASSIGNED, {"severity": "P2", "reason": "why"})
    story.add(FactKind.SEVERITY_ASSIGNED, {"severity": "P-1", "reason": "odd"})
    assert (story.state().severity, story.state().severity_reason) == (Severity.P2, "why")


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in PLAN.as_json().items() if name != key}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"plan": None, "hash": PLAN.hash},
        {"plan": PLAN.as_json()},
        {"plan": PLAN.as_json(), "hash": "0" * 64},
        {"plan": PLAN.as_json() | {"summary": "drop everything"}, "hash": PLAN.hash},
        {"plan": PLAN.as_json() | {"approvers_needed": 0}, "hash": PLAN.hash},
        {"plan": PLAN.as_json() | {"approvers_needed": True}, "hash": PLAN.hash},
        {"plan": PLAN.as_json() | {"expires_at": "2026-03-14T03:00:00"}, "hash": PLAN.hash},
        {"plan": PLAN.as_json() | {"steps": [{"step": STEP}]}, "hash": PLAN.hash},
        *({"plan": without(key), "hash": PLAN.hash} for key in PLAN.as_json()),
    ],
)
def test_a_plan_that_cannot_be_read_or_bears_another_hash_leaves_none_standing(
    data: dict[str, Any],
) -> None:
    story = standing_story()
    assert standing(story.state(), NOW) is Standing.APPROVED
    state = story.add(FactKind.PLAN_PROPOSED, data).state()
    assert (state.plan, state.plan_hash, state.stage) == (None, "", Stage.OPEN)
    assert standing(state, NOW) is Standing.NONE
    assert state.facts[-1].data == data


@pytest.mark.parametrize("decision", ["maybe", "", None, 1, "Approved", "DENIED"])
def test_an_answer_that_is_no_yes_is_a_no(decision: object) -> None:
    data = {"hash": PLAN.hash, "decision": decision}
    state = standing_story().add(FactKind.PLAN_DECIDED, data, "carl").state()
    assert standing(state, NOW) is Standing.DENIED
    assert state.stage is Stage.OPEN


@pytest.mark.parametrize("named", ODD, ids=repr)
def test_a_decision_that_names_no_plan_decides_nothing(named: object) -> None:
    for decision in ("approved", "denied"):
        data = {"hash": named, "decision": decision}
        state = opened().proposed().add(FactKind.PLAN_DECIDED, data, "bea").state()
        assert state.decisions_on_plan() == []
        assert state.stage is Stage.AWAITING_APPROVAL


def test_a_decision_that_names_nothing_decides_nothing_when_no_plan_stands() -> None:
    state = opened().add(FactKind.PLAN_DECIDED, {"hash": "", "decision": "approved"}, "bea").state()
    assert standing(state, NOW) is Standing.NONE


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ["step", "scope", "severity", "plan", "hash", "decision", "clock", "title", "holds", "role"]


@given(
    some.lists(
        some.tuples(
            some.sampled_from(FactKind), some.dictionaries(some.sampled_from(KEYS), json_values)
        ),
        max_size=6,
    )
)
def test_no_facts_whatever_keep_people_from_their_incident_or_approve_a_plan(
    odd: list[tuple[FactKind, dict[str, Any]]],
) -> None:
    story = opened().proposed()
    for kind, data in odd:
        story.add(kind, data, "mallory")
    state = story.state()
    assert state.stage in set(Stage)
    assert len(state.facts) == 2 + len(odd)
    assert standing(state, NOW) is not Standing.APPROVED
