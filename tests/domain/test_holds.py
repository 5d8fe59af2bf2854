"""Holds: nothing in scope is changed until the evidence is sealed, or a person lets it go."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind
from tasks.domain.holds import (
    PERSONS_LIFT,
    binding,
    broken_glass,
    check_known,
    check_review,
    check_scope,
    covers,
    standing_holds,
)

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


def test_evidence_that_was_sealed_for_another_hold_does_not():
    first, second = facts((FactKind.HOLD_SET, "A", "x"), (FactKind.HOLD_SET, "A", "x"))

    def sealed_for(hold: Fact) -> Fact:
        data = {"scope": "x", "hold": hold.seq}
        return Fact(2, "A", NOW, FactKind.EVIDENCE_SEALED, "runbook", data)

    (hold,) = standing_holds([first, second, sealed_for(first)])  # it took its time
    assert not hold.sealed
    (hold,) = standing_holds([first, second, sealed_for(second)])
    assert hold.sealed


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


def set_by(person: str, scope: str, seq: int, incident: str = "A") -> Fact:
    data = {"scope": scope, "reason": "wait", "needs": PERSONS_LIFT}
    return Fact(seq, incident, NOW, FactKind.HOLD_SET, person, data)


def broken(scope: str, seq: int, incident: str = "A", minutes: float = 60) -> Fact:
    data = {
        "scope": scope,
        "reason": "now",
        "until": (NOW + timedelta(minutes=minutes)).isoformat(),
    }
    return Fact(seq, incident, NOW, FactKind.GLASS_BROKEN, "bea", data)


def test_sealed_evidence_does_not_satisfy_a_persons_hold():
    sealed = facts(
        (FactKind.EVIDENCE_SEALED, "A", "database/x"), (FactKind.EVIDENCE_SEALED, "A", "database/x")
    )
    (hold,) = standing_holds([set_by("anna", "database/x", 0), *sealed])
    assert (hold.sealed, hold.by_person, hold.by) == (False, True, "anna")


def test_a_persons_hold_does_not_replace_the_runbooks_on_the_same_scope():
    runbooks, sealed = facts(
        (FactKind.HOLD_SET, "A", "database/x"), (FactKind.EVIDENCE_SEALED, "A", "database/x")
    )
    both = standing_holds([runbooks, set_by("anna", "database/x", 1), sealed])
    assert [(hold.by_person, hold.sealed) for hold in both] == [(False, True), (True, False)]


def test_a_lift_ends_both_holds_on_its_scope_and_none_on_another():
    known = [
        *facts((FactKind.HOLD_SET, "A", "database/x")),
        set_by("anna", "database/x", 1),
        set_by("anna", "database", 2),
        Fact(3, "A", NOW, FactKind.HOLD_LIFTED, "bea", {"scope": "database/x"}),
    ]
    assert [hold.scope for hold in standing_holds(known)] == ["database"]


def test_sealed_evidence_of_a_closed_incident_binds_nobody_any_more():
    told = facts(
        (FactKind.HOLD_SET, "A", "*"),
        (FactKind.EVIDENCE_SEALED, "A", "*"),
        (FactKind.HOLD_SET, "B", "*"),
        (FactKind.CLOSED, "B", ""),
    )
    assert [hold.incident for hold in binding(told, "C", "database/x", NOW)] == ["A", "B"]
    told.append(Fact(9, "A", NOW, FactKind.CLOSED, "bea", {"summary": "over"}))
    assert [hold.incident for hold in binding(told, "C", "database/x", NOW)] == ["B"]


def test_whoever_changes_everything_changes_what_is_held():
    assert covers("database/x", "*")


@pytest.mark.parametrize(
    ("scope", "target", "frees"),
    [
        ("*", "database/x", True),
        ("database/x", "database/x", True),
        ("database", "database/x", True),
        ("database/x/part", "database/x", False),
        ("database/y", "database/x", False),
        ("data", "database/x", False),
    ],
)
def test_broken_glass_frees_what_lies_wholly_in_its_scope(
    scope: str, target: str, frees: bool
) -> None:
    known = [set_by("anna", "*", 0), broken(scope, 1)]
    assert (binding(known, "A", target, NOW) == []) is frees


def test_broken_glass_frees_neither_another_incident_nor_for_longer_nor_from_later_holds():
    known = [set_by("anna", "*", 0), broken("database/x", 1)]
    assert len(binding(known, "B", "database/x", NOW)) == 1
    assert len(binding(known, "A", "database/x", NOW + timedelta(minutes=60))) == 1
    later = set_by("carl", "database/x", 2, incident="B")
    assert [hold.by for hold in binding([*known, later], "A", "database/x", NOW)] == ["carl"]
    again = set_by("anna", "*", 2)  # the same hold, set anew since
    assert len(binding([*known, again], "A", "database/x", NOW)) == 1


def test_broken_glass_frees_from_holds_whose_evidence_is_not_sealed_or_gone():
    known = [
        *facts(
            (FactKind.HOLD_SET, "B", "database/x"), (FactKind.EVIDENCE_SEALED, "B", "database/x")
        ),
        broken("database/x", 2),
    ]
    assert binding(known, "A", "database/x", NOW) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scope": "database/x"},
        {"scope": "database/x", "until": "soon"},
        {"scope": "database/x", "until": "2099-01-01T00:00:00"},
        {"scope": "database/x", "until": "0001-01-01T00:00:00+14:00"},
        {"scope": "database/x", "until": 7},
        {"scope": None, "until": "2099-01-01T00:00:00+00:00"},
    ],
)
def test_glass_that_does_not_say_of_what_or_until_when_frees_nothing(data: dict[str, object]):
    odd = Fact(1, "A", NOW, FactKind.GLASS_BROKEN, "bea", data)
    assert broken_glass([odd]) == []
    assert len(binding([set_by("anna", "*", 0), odd], "A", "database/x", NOW)) == 1


_SCOPES = some.sampled_from(["*", "database", "database/x", "database/x/t", "cache"])
_WHO = some.sampled_from(["A", "B"])
_SAID = some.one_of(
    some.tuples(some.just("hold"), _WHO, _SCOPES),
    some.tuples(some.just("lift"), _WHO, _SCOPES),
    some.tuples(some.just("seal"), _WHO, _SCOPES),
    some.tuples(some.just("break"), _WHO, _SCOPES),
)


@given(said=some.lists(_SAID, max_size=12), target=_SCOPES.filter(lambda scope: scope != "*"))
def test_a_persons_hold_binds_until_it_is_lifted_or_glass_is_broken_over_it(
    said: list[tuple[str, str, str]], target: str
) -> None:
    """The law, told the slow way: for each hold, what has been said since."""
    made = {
        "hold": lambda seq, who, scope: set_by("anna", scope, seq, who),
        "lift": lambda seq, who, scope: Fact(
            seq, who, NOW, FactKind.HOLD_LIFTED, "bea", {"scope": scope}
        ),
        "seal": lambda seq, who, scope: Fact(
            seq, who, NOW, FactKind.EVIDENCE_SEALED, "runbook", {"scope": scope}
        ),
        "break": lambda seq, who, scope: broken(scope, seq, who),
    }
    known = [made[kind](seq, who, scope) for seq, (kind, who, scope) in enumerate(said)]
    expected = set()
    for seq, (kind, who, scope) in enumerate(said):
        if kind != "hold" or not covers(scope, target):
            continue
        since = said[seq + 1 :]
        ended = any(one[1:] == (who, scope) and one[0] in {"hold", "lift"} for one in since)
        glass = any(
            one[:2] == ("break", "A")
            and (one[2] in {"*", target} or target.startswith(one[2] + "/"))
            for one in since
        )
        if not ended and not glass:
            expected.add(seq)
    assert {hold.seq for hold in binding(known, "A", target, NOW)} == expected


@pytest.mark.parametrize(
    "scope", ["*", "database", "database/rlhf_audit", "a/b/c/d/e", "a.b-c_1", "database/RLHF"]
)
def test_a_scope_is_everything_or_a_target(scope: str):
    assert check_scope(scope) == scope


@pytest.mark.parametrize(
    "scope",
    [
        *("", "/", "a/", "/a", "a//b", "a b", "a/b/c/d/e/f", "**", "a/*", "é", "a\n"),
        *("a\x00", "\ud800", "x" * 65, "a/" * 2000),
    ],
)
def test_what_is_no_scope_is_refused(scope: str):
    with pytest.raises(BadInput, match="scope"):
        check_scope(scope)


KNOWN = ["*", "database/RLHF", "database/rlhf_audit", "cache"]


@pytest.mark.parametrize(
    "scope", ["*", "database", "database/rlhf_audit", "database/rlhf_audit/rows", "database/RLHF"]
)
def test_a_known_target_its_parts_and_what_it_is_a_part_of_can_be_held(scope: str):
    assert check_known(scope, KNOWN) == scope


@pytest.mark.parametrize(
    "scope", ["rlhf_audit", "audit-trail", "database/rlhf_audi", "database/rlhf", "data", "a b", ""]
)
def test_a_mistyped_target_is_refused_with_those_that_are_known(scope: str):
    with pytest.raises(BadInput, match="scope") as refused:
        check_known(scope, KNOWN)
    if scope not in {"a b", ""}:
        assert "known are cache, database/RLHF, database/rlhf_audit" in str(refused.value)


def test_a_hold_on_everything_makes_no_other_name_known():
    with pytest.raises(BadInput, match="scope"):
        check_known("rlhf_audit", ["*"])


@pytest.mark.parametrize(
    "review_at",
    [
        NOW,
        NOW - timedelta(minutes=1),
        NOW + timedelta(days=7, seconds=1),
        (NOW + timedelta(hours=1)).replace(tzinfo=None),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_a_review_lies_ahead_within_a_week_and_has_an_offset(review_at: datetime):
    with pytest.raises(BadInput, match="review time"):
        check_review(review_at, NOW)


def test_a_review_time_is_kept_in_utc():
    there = (NOW + timedelta(days=7)).astimezone(timezone(timedelta(hours=5)))
    assert check_review(there, NOW).isoformat() == "2026-11-30T03:00:00+00:00"
