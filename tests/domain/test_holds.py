"""Holds: nothing in scope is changed until the evidence is sealed."""

from datetime import UTC, datetime

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
