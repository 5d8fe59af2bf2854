"""The plan that isolates: only with sealed evidence, in its order, and nothing hidden in a name."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.errors import BadInput, NotProven, PlanStale
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import fold
from tasks.domain.isolation import ACCOUNTS, NETWORK, RETURN, SESSIONS, Lock, may_lock
from tasks.domain.isolation_plan import (
    NETWORK_TARGET,
    CutOff,
    Isolating,
    Suspect,
    plan_isolation,
    refused,
    target_of,
    to_rotate,
)
from tasks.domain.plan import Plan
from tasks.domain.preserved import Preserved, preserved
from tests.domain.test_isolation import SPARED, THERE

NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
EVIDENCE = Preserved("INC-1", "*", 3, "evidence/INC-1/3", 7)
CUT = CutOff("rlhf-audit-trail", {"app": "rlhf-audit-trail"}, {"role": "forensics"})
MALLORY = Suspect(16_400, "mallory", Lock.ALLOWED)
API = Suspect(16_401, "audit_api", Lock.TWO_PEOPLE)
ALL = Isolating(240, 3, CUT, (MALLORY, API), ("10.0.0.9",))


def planned(isolating: Isolating = ALL, evidence: Preserved = EVIDENCE) -> Plan:
    return plan_isolation(evidence, isolating, "rlhf_audit", "seen", NOW + timedelta(hours=1))


def sealed(hold: int, items: object = ({"key": "a"},), bag: str = "evidence/INC-1/3") -> Fact:
    found = list(items) if isinstance(items, tuple) else items
    data = {"scope": "*", "hold": hold, "items": found, "bag": bag}
    return Fact(9, "INC-1", NOW, FactKind.EVIDENCE_SEALED, RUNBOOK, data)


def test_without_a_sealed_bag_there_is_no_proof_that_it_was_preserved() -> None:
    for bag, items in (("", 7), ("evidence/INC-1/3", 0), ("", 0)):
        with pytest.raises(NotProven, match="nothing is isolated before"):
            Preserved("INC-1", "*", 3, bag, items)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [sealed(2)],
        [sealed(3, ())],
        [sealed(3, "items")],
        [sealed(3, bag="")],
        [Fact(9, "INC-1", NOW, FactKind.EVIDENCE_SEALED, RUNBOOK, {"scope": "*"})],
    ],
    ids=["none", "of another hold", "no items", "odd items", "no bag", "nothing said"],
)
def test_evidence_of_another_hold_or_of_nothing_is_no_proof(facts: list[Fact]) -> None:
    with pytest.raises(NotProven):
        preserved(fold("INC-1", facts), "*", 3)


def test_evidence_of_another_scope_is_no_proof() -> None:
    with pytest.raises(NotProven):
        preserved(fold("INC-1", [sealed(3)]), "database/rlhf_audit", 3)


def test_what_was_sealed_for_the_hold_is_the_proof() -> None:
    assert preserved(fold("INC-1", [sealed(3)]), "*", 3) == replace(EVIDENCE, items=1)


def test_a_plan_is_not_made_with_the_evidence_of_another_hold() -> None:
    with pytest.raises(BadInput, match="found of another"):
        planned(replace(ALL, hold=4))


def test_roles_are_locked_before_their_sessions_end_and_the_return_is_part_of_the_plan() -> None:
    assert [each.step for each in planned().steps] == [NETWORK, ACCOUNTS, SESSIONS, RETURN]
    assert not planned().destroys_nothing


def test_what_there_is_nothing_of_is_no_step() -> None:
    assert Isolating(240, 3, CUT).steps == (NETWORK,)
    assert Isolating(240, 3, None, (), ("10.0.0.9",)).steps == (SESSIONS,)
    with pytest.raises(BadInput, match="found nothing"):
        planned(Isolating(240, 3))


def test_the_apis_role_takes_two_people_and_others_one() -> None:
    assert planned().approvers_needed == 2
    assert planned(replace(ALL, roles=(MALLORY,))).approvers_needed == 1


def test_a_plan_is_read_back_as_it_was_made() -> None:
    assert Isolating.of(Plan.from_json(planned().as_json())) == ALL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minutes", 0),
        ("minutes", True),
        ("hold", "3"),
        ("network", {"namespace": "n", "selected": {}, "forensics": {"a": "b"}}),
        ("network", {"namespace": "n", "selected": {"a": 1}, "forensics": {"a": "b"}}),
        ("roles", [{"oid": -1, "name": "x", "lock": "allowed"}]),
        ("roles", [{"oid": 2**32, "name": "x", "lock": "allowed"}]),
        ("roles", [{"oid": 5, "name": "x", "lock": "refused"}]),
        ("roles", ["mallory"]),
    ],
)
def test_an_odd_plan_isolates_nobody(field: str, value: object) -> None:
    odd = replace(planned(), observed={**planned().observed, field: value})
    with pytest.raises(BadInput):
        Isolating.of(odd)


def test_a_plan_of_another_procedure_is_none_to_isolate() -> None:
    for plan in (None, replace(planned(), procedure="database")):
        with pytest.raises(PlanStale):
            Isolating.of(plan)


def test_addresses_that_are_none_are_left_out_of_a_plan() -> None:
    odd = ["10.0.0.9", "10.0.0.9'; DROP ROLE x", "::", "fe80::1%eth0", 7, "::ffff:10.1.1.1"]
    plan = replace(planned(), observed={**planned().observed, "addresses": odd})
    assert Isolating.of(plan).addresses == ("10.0.0.9", "10.1.1.1")


def test_each_step_goes_through_the_door_of_what_it_changes() -> None:
    assert target_of(NETWORK, ALL, "rlhf_audit") == NETWORK_TARGET
    assert target_of(ACCOUNTS, ALL, "rlhf_audit") == "roles/rlhf_audit"
    assert target_of(RETURN, ALL, "rlhf_audit") == NETWORK_TARGET
    assert target_of(RETURN, replace(ALL, network=None), "rlhf_audit") == "roles/rlhf_audit"


def test_whoever_is_not_locked_is_named_with_the_reason_and_nothing_hidden() -> None:
    decisions = [may_lock(name, THERE, SPARED) for name in ("break_glass", "mallory", "a\u202eb")]
    assert refused(decisions) == [
        "not locked: break_glass: it is the break-glass account",
        "not locked: a[U+202E]b: there is no such role",
    ]


def test_credentials_to_rotate_are_listed_and_why_it_is_by_hand() -> None:
    listed = to_rotate([MALLORY], 3)
    assert len(listed) == 2
    assert all(each.startswith("rotate by hand: ") and "owner" in each for each in listed)
    assert to_rotate([], 0) == []


@given(some.text(min_size=1, max_size=63))
def test_no_name_of_a_role_breaks_the_plan(name: str) -> None:
    plan = planned(replace(ALL, roles=(Suspect(7, name, Lock.ALLOWED),)))
    assert Isolating.of(Plan.from_json(plan.as_json())).roles[0].name == name
