"""Who may decide on a plan, and that each decision is one fact."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput, NotApproved, PlanStale
from tasks.domain.facts import Fact, FactKind
from tasks.domain.plan import Plan
from tasks.work import approvals, incidents, journal, people, responder
from tasks.work.people import Person, Role
from tests.tasks.proposals import BEA, CARL, FIRST, TARGET, approved, propose, proposed, replaced

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("patient")]


def approve(plan: Plan, person: Person = BEA) -> Fact:
    return approvals.decide(plan.incident, plan.hash, "approved", person, "go on")


def deny(plan: Plan, person: Person = BEA) -> Fact:
    return approvals.decide(plan.incident, plan.hash, "denied", person, "stop")


def decisions(plan: Plan) -> list[tuple[str, str]]:
    return [(made.by, made.decision) for made in journal.read(plan.incident).decisions]


def stands(plan: Plan) -> Standing:
    return standing(journal.read(plan.incident), datetime.now(UTC))


def test_an_approvers_yes_is_journaled_with_name_role_hash_and_reason() -> None:
    plan = proposed()
    fact = approve(plan)
    assert (fact.actor, fact.kind) == ("bea", FactKind.PLAN_DECIDED)
    assert fact.data == {
        "hash": plan.hash,
        "decision": "approved",
        "reason": "go on",
        "role": "approver",
    }
    assert stands(plan) is Standing.APPROVED


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER])
def test_without_the_approvers_role_nobody_decides(role: Role) -> None:
    plan = proposed()
    for decide in (approve, deny):
        with pytest.raises(NotApproved, match=f"role {role}"):
            decide(plan, Person("vera", role))
    assert decisions(plan) == []


DANA = Person("dana", Role.PRIVACY_OFFICER)
SAM = Person("sam", Role.SECURITY)


@pytest.mark.parametrize(
    ("procedure", "decides"),
    [
        ("audit_trail", [BEA]),
        ("privacy_engine", [DANA]),
        ("privacy_incident", [DANA]),
        ("breach", [BEA, SAM]),
        ("", [BEA]),
    ],
)
def test_who_decides_depends_on_the_incidents_procedure(
    procedure: str, decides: list[Person]
) -> None:
    for person in (BEA, DANA, SAM):
        plan = proposed(procedure=procedure)
        if person in decides:
            assert approve(plan, person).actor == person.name
        else:
            with pytest.raises(NotApproved, match=f"{person.name} with role {person.role}"):
                approve(plan, person)
            with pytest.raises(NotApproved, match="expected"):
                deny(plan, person)
        assert decisions(plan) == ([(person.name, "approved")] if person in decides else [])


def test_another_spelling_of_a_name_is_no_second_approver() -> None:
    plan = proposed(approvers_needed=2)
    first = approve(plan, Person("Bill", Role.APPROVER))
    for spelling in ("BILL", "bi11", "\uff22\uff29\uff2c\uff2c", "B\u00edll"):
        assert approve(plan, Person(spelling, Role.APPROVER)) == first
    assert decisions(plan) == [("Bill", "approved")]
    assert stands(plan) is Standing.WAITING


def test_another_spelling_of_who_opened_the_incident_may_not_approve() -> None:
    plan = proposed(opened_by="Bea")
    with pytest.raises(NotApproved, match="somebody else"):
        approve(plan)


def test_who_opened_the_incident_may_deny_but_not_approve() -> None:
    plan = proposed(opened_by="bea")
    with pytest.raises(NotApproved, match="somebody else"):
        approve(plan)
    assert stands(plan) is Standing.WAITING
    deny(plan)
    assert stands(plan) is Standing.DENIED


def test_a_hash_that_does_not_stand_is_refused() -> None:
    plan = proposed()
    with pytest.raises(PlanStale, match="read the new plan"):
        approvals.decide(plan.incident, "0" * 64, "approved", BEA, "")
    new = replaced(plan)
    with pytest.raises(PlanStale, match=new.hash[:12]):
        approve(plan)
    assert decisions(plan) == []


def test_an_approval_does_not_pass_to_the_plan_that_replaces_it() -> None:
    plan = approved()
    new = replaced(plan)
    assert stands(plan) is Standing.WAITING
    approve(new)
    assert stands(plan) is Standing.APPROVED


def test_the_same_person_twice_is_one_fact_and_one_voice() -> None:
    plan = proposed(approvers_needed=2)
    assert approve(plan) == approve(plan)
    assert decisions(plan) == [("bea", "approved")]
    assert stands(plan) is Standing.WAITING
    approve(plan, CARL)
    assert stands(plan) is Standing.APPROVED


def test_who_has_denied_cannot_turn_it_into_a_yes() -> None:
    plan = proposed()
    deny(plan)
    with pytest.raises(NotApproved, match="denied this plan already"):
        approve(plan)
    with pytest.raises(NotApproved, match="found it denied"):
        approve(plan, CARL)
    assert decisions(plan) == [("bea", "denied")]


def test_somebody_elses_denial_stops_an_approved_plan() -> None:
    plan = approved()
    deny(plan, CARL)
    assert stands(plan) is Standing.DENIED


def test_an_expired_plan_takes_no_decision() -> None:
    plan = proposed(valid_for=-1)
    for decide in (approve, deny):
        with pytest.raises(NotApproved, match="found it expired"):
            decide(plan)
    assert decisions(plan) == []


def test_a_closed_incident_takes_no_decision() -> None:
    plan = proposed()
    journal.append(plan.incident, FactKind.CLOSED, {"outcome": "no action needed"})
    for decide in (approve, deny):
        with pytest.raises(NotApproved, match="closed"):
            decide(plan)
    assert decisions(plan) == []


@pytest.mark.parametrize("incident", ["INC-none", "INC-\x00", "INC-\ud800", ""])
def test_an_incident_that_is_not_there_has_no_plan(incident: str) -> None:
    with pytest.raises(BadInput):
        approvals.decide(incident, "0" * 64, "approved", BEA, "")


def test_an_overlong_reason_is_refused() -> None:
    plan = proposed()
    with pytest.raises(BadInput, match="2000"):
        approvals.decide(plan.incident, plan.hash, "denied", BEA, "x" * 2001)
    assert decisions(plan) == []


@pytest.mark.parametrize("reason", ["", "  \n\t"])
def test_a_denial_says_why_and_an_approval_need_not(reason: str) -> None:
    plan = proposed()
    with pytest.raises(BadInput, match="a reason for the denial"):
        approvals.decide(plan.incident, plan.hash, "denied", BEA, reason)
    assert journal.read(plan.incident).decisions == []
    assert approvals.decide(plan.incident, plan.hash, "approved", BEA, reason).actor == "bea"


def test_many_clicks_of_one_person_at_once_are_one_fact() -> None:
    plan = proposed()
    together = threading.Barrier(8)

    def click(_: int) -> int:
        together.wait(timeout=30)
        return approve(plan).seq

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(click, range(8)))) == 1
    assert decisions(plan) == [("bea", "approved")]


def test_approvals_of_several_people_at_once_count_only_as_many_as_are_needed() -> None:
    plan = proposed()
    together = threading.Barrier(8)

    def click(number: int) -> bool:
        together.wait(timeout=30)
        try:
            approve(plan, Person(f"person {number}", Role.APPROVER))
        except NotApproved:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(click, range(8))) == 1
    assert len(decisions(plan)) == 1


def test_a_step_that_has_begun_is_not_forgotten_when_the_plan_expires() -> None:
    plan = proposed(valid_for=2)
    approve(plan)
    journal.append(plan.incident, FactKind.STEP_STARTED, {"step": FIRST, "target": TARGET})
    assert standing(journal.read(plan.incident), plan.expires_at) is Standing.APPROVED


def test_a_token_is_known_until_it_expires_and_to_its_role() -> None:
    token = people.add_person("bea", "approver", timedelta(hours=1))
    assert people.authenticate(token) == BEA
    late = people.add_person("bea", "approver", -timedelta(seconds=1))
    assert people.authenticate(late) is None
    assert people.authenticate(token) == BEA


@pytest.mark.parametrize("token", ["", "wrong", "\x00", "half \ud800", "x" * 100_000])
def test_an_unknown_token_is_nobody(token: str) -> None:
    assert people.authenticate(token) is None


def test_a_token_with_anything_added_or_missing_is_nobody() -> None:
    token = people.add_person("bea", "approver", timedelta(hours=1))
    near = [token[:-1], token + "\n", token + " ", token.swapcase()]
    assert [people.authenticate(each) for each in near] == [None] * 4


def test_only_the_hash_of_a_token_is_stored() -> None:
    token = people.add_person("bea", "approver", timedelta(hours=1))
    with responder.connection() as connection:
        rows = connection.execute("SELECT tokens::text, token_hash FROM tokens").fetchall()
    assert hashlib.sha256(token.encode()).digest() in [digest for _, digest in rows]
    assert not [row for row, _ in rows if token in row or token.encode().hex() in row]


@pytest.mark.parametrize("name", ["", "x" * 81, "be\na", "be\x00a", "half \ud800", "runbook"])
def test_a_name_that_nobody_should_bear_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="name"):
        people.add_person(name, "approver", timedelta(hours=1))


@pytest.mark.parametrize("role", ["admin", "", "Approver"])
def test_a_role_that_does_not_exist_is_refused(role: str) -> None:
    with pytest.raises(BadInput, match="role"):
        people.add_person("bea", role, timedelta(hours=1))


def test_who_has_approved_may_take_it_back_once_and_for_all() -> None:
    plan = proposed()
    yes = approve(plan)
    no = deny(plan)
    assert deny(plan) == no != yes
    assert stands(plan) is Standing.DENIED
    with pytest.raises(NotApproved, match="denied this plan already"):
        approve(plan)
    assert decisions(plan) == [("bea", "approved"), ("bea", "denied")]


def _counts(
    say: Callable[[Plan, Person], Fact], plan: Plan, person: Person, together: threading.Barrier
) -> bool:
    together.wait(timeout=30)
    try:
        say(plan, person)
    except NotApproved:
        return False
    return True


def test_a_yes_and_a_no_at_once_end_in_a_no() -> None:
    for first, second in ((BEA, CARL), (BEA, BEA)):
        plan = proposed()
        together = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            yes = pool.submit(_counts, approve, plan, first, together)
            no = pool.submit(_counts, deny, plan, second, together)
            assert no.result()
            counted = yes.result()
        assert stands(plan) is Standing.DENIED
        assert len(decisions(plan)) == 1 + counted


def with_terms(**terms: object) -> Plan:
    """A harmless plan of an incident on these terms of the routing policy."""
    with incidents.durably() as connection:
        incident = incidents.open_in(
            connection, "API: slow", "api", "api_service", "alert", terms={"route": "api", **terms}
        )
    return propose(replace(proposed(), incident=incident))


def test_two_approvers_where_the_policy_says_so_whatever_the_plan_asks_for() -> None:
    plan = with_terms(approvers=2)
    approve(plan)
    assert stands(plan) is Standing.WAITING
    approve(plan, CARL)
    assert stands(plan) is Standing.APPROVED


def test_the_policy_decides_a_harmless_plan_once_where_the_remedy_is_automatic() -> None:
    plan = with_terms(remedy="automatic")
    assert approvals.decide_by_policy(plan.incident, plan.hash)
    assert approvals.decide_by_policy(plan.incident, plan.hash)
    (made,) = journal.read(plan.incident).decisions
    assert (made.decision, made.by, made.role) == ("approved by policy", "runbook", "policy")
    assert "route api" in made.reason
    assert stands(plan) is Standing.APPROVED
    deny(plan)  # a person stops it all the same
    assert stands(plan) is Standing.DENIED


def test_the_policy_never_decides_what_destroys_or_what_is_not_automatic() -> None:
    automatic = with_terms(remedy="automatic")
    steps = (replace(automatic.steps[0], destroys="the newest records"), automatic.steps[1])
    harmful = propose(replace(automatic, steps=steps))
    for plan in (harmful, with_terms(remedy="approval"), with_terms()):
        assert not approvals.decide_by_policy(plan.incident, plan.hash)
        assert stands(plan) is Standing.WAITING
    assert not approvals.decide_by_policy(automatic.incident, automatic.hash)  # it was replaced
