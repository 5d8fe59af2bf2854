"""Isolation: whom nobody may lock out, together and one by one, and the network policy."""

from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.isolation import (
    EXPIRES_ANNOTATION,
    INCIDENT_LABEL,
    Account,
    Lock,
    Spared,
    approvers_for,
    decide,
    may_lock,
    network_policy,
)

SPARED = Spared(
    ours=frozenset({"audit_reader", "recovery"}),
    break_glass=frozenset({"break_glass"}),
    api=frozenset({"audit_api"}),
)


def account(
    name: str, *, superuser: bool = False, replicates: bool = False, can_login: bool = True
) -> Account:
    return Account(name, superuser, replicates, can_login)


THERE = (
    account("postgres", superuser=True),
    account("audit_api"),
    account("audit_reader"),
    account("recovery", superuser=True, can_login=False),
    account("break_glass"),
    account("standby", replicates=True),
    account("mallory"),
    account("group_of_readers", can_login=False),
    account("pg_monitor", can_login=False),
)


@pytest.mark.parametrize(
    ("name", "lock", "reason"),
    [
        ("mallory", Lock.ALLOWED, ""),
        ("audit_api", Lock.TWO_PEOPLE, "stops the service"),
        ("audit_reader", Lock.REFUSED, "role of the responder"),
        ("break_glass", Lock.REFUSED, "break-glass"),
        ("standby", Lock.REFUSED, "replication"),
        ("postgres", Lock.REFUSED, "last superuser"),
        ("group_of_readers", Lock.REFUSED, "cannot log in"),
        ("pg_monitor", Lock.REFUSED, "PostgreSQL itself"),
        ("nobody'; DROP ROLE x", Lock.REFUSED, "no such role"),
    ],
)
def test_each_account_is_decided_with_its_reason(name: str, lock: Lock, reason: str) -> None:
    found = may_lock(name, THERE, SPARED)
    assert found.lock is lock
    assert reason in found.reason


def test_a_superuser_may_be_locked_while_another_can_log_in() -> None:
    there = (*THERE, account("dba", superuser=True))
    assert may_lock("postgres", there, SPARED).lock is Lock.ALLOWED


def test_of_several_suspected_superusers_one_stays_whatever_their_order() -> None:
    there = tuple(account(name, superuser=True) for name in ("a", "b", "c"))
    for order in permutations("abc"):
        locks = [each.lock for each in decide(order, there, SPARED)]
        assert locks == [Lock.ALLOWED, Lock.ALLOWED, Lock.REFUSED]


def test_a_suspect_that_is_named_twice_is_decided_once() -> None:
    assert len(decide(["mallory", "mallory"], THERE, SPARED)) == 1


def test_only_the_apis_role_asks_for_two_people() -> None:
    assert approvers_for(decide(["mallory"], THERE, SPARED)) == 1
    assert approvers_for(decide(["mallory", "audit_api"], THERE, SPARED)) == 2


@given(
    some.lists(
        some.builds(
            Account,
            name=some.sampled_from(["a", "b", "c", "audit_reader", "break_glass", "audit_api"]),
            superuser=some.booleans(),
            replicates=some.booleans(),
            can_login=some.booleans(),
        ),
        unique_by=lambda each: each.name,
    ),
    some.lists(some.sampled_from(["a", "b", "c", "audit_reader", "break_glass", "x"])),
)
def test_whoever_is_suspected_a_superuser_that_could_log_in_still_can(
    there: list[Account], suspects: list[str]
) -> None:
    locked = {each.account for each in decide(suspects, there, SPARED) if each.lock != "refused"}
    before = {each.name for each in there if each.superuser and each.can_login}
    assert not before or before - locked
    assert not locked & (SPARED.ours | SPARED.break_glass)


def test_the_policy_cuts_both_directions_but_for_those_who_examine() -> None:
    expires_at = datetime(2026, 11, 22, 7, tzinfo=UTC)
    policy = network_policy("rlhf", {"app": "api"}, {"role": "forensics"}, "INC-1", expires_at)
    spec = policy["spec"]
    examiners = {"podSelector": {"matchLabels": {"role": "forensics"}}}
    assert spec["podSelector"] == {"matchLabels": {"app": "api"}}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert (spec["ingress"], spec["egress"]) == ([{"from": [examiners]}], [{"to": [examiners]}])
    assert policy["metadata"]["labels"] == {INCIDENT_LABEL: "INC-1"}
    assert policy["metadata"]["annotations"] == {EXPIRES_ANNOTATION: "2026-11-22T07:00:00+00:00"}
