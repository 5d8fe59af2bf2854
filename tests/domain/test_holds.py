"""Holds: nothing in scope is changed until the evidence is sealed."""

from datetime import UTC, datetime

import pytest

from tasks.domain.facts import Fact, FactKind
from tasks.domain.holds import covers, standing_holds

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def facts(*kinds: tuple[FactKind, str, str]) -> list[Fact]:
    return [
        Fact(n, incident, NOW, kind, "runbook", {"scope": scope, "reason": "r"})
        for n, (kind, incident, scope) in enumerate(kinds)
    ]


def test_hold_stands_until_it_is_lifted():
    set_only = facts((FactKind.HOLD_SET, "A", "database/x"))
    lifted = facts(
        (FactKind.HOLD_SET, "A", "database/x"), (FactKind.HOLD_LIFTED, "A", "database/x")
    )
    assert [hold.scope for hold in standing_holds(set_only)] == ["database/x"]
    assert standing_holds(lifted) == []


def test_evidence_of_the_same_incident_and_scope_satisfies_a_hold():
    (hold,) = standing_holds(
        facts((FactKind.HOLD_SET, "A", "database/x"), (FactKind.EVIDENCE_SEALED, "A", "database/x"))
    )
    assert hold.sealed


def test_evidence_of_another_incident_or_scope_does_not():
    for incident, scope in (("B", "database/x"), ("A", "database/y")):
        (hold,) = standing_holds(
            facts(
                (FactKind.HOLD_SET, "A", "database/x"), (FactKind.EVIDENCE_SEALED, incident, scope)
            )
        )
        assert not hold.sealed


def test_evidence_sealed_before_the_hold_does_not():
    (hold,) = standing_holds(
        facts((FactKind.EVIDENCE_SEALED, "A", "database/x"), (FactKind.HOLD_SET, "A", "database/x"))
    )
    assert not hold.sealed


def test_scopes_nest_at_slashes_only():
    assert covers("*", "database/x")
    assert covers("database", "database/x")
    assert covers("database/x", "database/x")
    assert not covers("data", "database/x")
    assert not covers("database/x", "database/y")


def test_hold_on_a_part_covers_the_whole():
    assert covers("database/x/table", "database/x")


@pytest.mark.parametrize("scope", [None, "", 7, ["database/x"]])
def test_hold_that_does_not_say_of_what_covers_everything(scope: object):
    (hold,) = standing_holds([Fact(0, "A", NOW, FactKind.HOLD_SET, "runbook", {"scope": scope})])
    assert covers(hold.scope, "database/x")
    assert not hold.sealed


@pytest.mark.parametrize("kind", [FactKind.HOLD_LIFTED, FactKind.EVIDENCE_SEALED])
@pytest.mark.parametrize("scope", [None, "", 7])
def test_lifting_or_seal_that_does_not_say_of_what_changes_nothing(kind: FactKind, scope: object):
    known = facts((FactKind.HOLD_SET, "A", "*"), (FactKind.HOLD_SET, "A", "database/x"))
    odd = Fact(2, "A", NOW, kind, "runbook", {"scope": scope})
    assert standing_holds([*known, odd]) == standing_holds(known)
