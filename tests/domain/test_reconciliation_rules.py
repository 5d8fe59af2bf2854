"""Rules for other tables: what a person may write, and in which order tables are taken."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.reconciled import CONTRADICTIONS, NOT_CARRIED, Reconciled, What
from tasks.domain.reconciliation_rules import (
    ReconciliationRules,
    Rule,
    TableName,
    TableRule,
    at_path,
    parents_first,
    shipped,
)
from tasks.work.log_events import amount

GOOD = """
[[tables]]
name = "public.budgets"
key = ["id"]
rule = "greatest"
spend = ["used"]
[releases]
event_type = "spent"
table = "public.budgets"
[releases.key]
id = "data.id"
[releases.spend]
used = "data.used"
"""


def test_the_shipped_rules_are_for_the_served_systems_own_tables() -> None:
    rules = shipped()
    assert {rule.name[1]: rule.rule for rule in rules.tables} == {
        "audit_sessions": Rule.CARRY,
        "annotations": Rule.CARRY,
        "privacy_records": Rule.CARRY,
        "privacy_budgets": Rule.GREATEST,
        "model_checkpoints": Rule.CARRY,
        "compliance_reports": Rule.CARRY,
    }
    assert rules.releases is not None
    assert rules.erasures is not None


def test_a_table_that_no_rule_names_is_listed() -> None:
    assert shipped().of(("public", "unknown")) == TableRule(("public", "unknown"), rule=Rule.LIST)


def test_a_chosen_moment_lists_what_would_be_carried_and_keeps_the_greatest_spend() -> None:
    rules = shipped().only_listed()
    kinds = {rule.name[1]: rule.rule for rule in rules.tables}
    assert kinds.pop("privacy_budgets") is Rule.GREATEST
    assert set(kinds.values()) == {Rule.LIST}


@pytest.mark.parametrize(
    ("written", "instead", "complaint"),
    [
        ('rule = "greatest"', 'rule = "largest"', "rule: expected one of"),
        ('rule = "greatest"', 'rule = "carry"', "spend: expected columns exactly"),
        ('spend = ["used"]\n', "", "spend: expected columns exactly"),
        ('name = "public.budgets"', 'name = "budgets"', "name: expected a text of the form"),
        ('name = "public.budgets"', 'name = "pub\\"lic.x"', "name: expected a text of the form"),
        ('key = ["id"]', 'key = ["id", "id"]', "key: expected at most"),
        ('key = ["id"]', 'key = "id"', "key: expected a list of texts"),
        ('key = ["id"]', 'keys = ["id"]', "a field not known"),
        ('table = "public.budgets"', 'table = "public.others"', "whose rule is greatest"),
        ('used = "data.used"', 'other = "data.used"', "spend columns of the table"),
        ('id = "data.id"', 'other = "data.id"', "the key columns of the table"),
        ('event_type = "spent"', 'event_type = "spent\'"', "event_type: expected a text"),
        ("[releases.key]", "[more]", "found a field not known"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    written: str, instead: str, complaint: str
) -> None:
    assert ReconciliationRules.parse(GOOD).releases is not None
    with pytest.raises(BadInput, match=complaint):
        ReconciliationRules.parse(GOOD.replace(written, instead))


def test_a_table_named_twice_is_refused() -> None:
    twice = '[[tables]]\nname = "a.b"\nrule = "list"\n' * 2
    with pytest.raises(BadInput, match="each table once"):
        ReconciliationRules.parse(twice)


NAMES = st.sampled_from([("public", letter) for letter in "abcdef"])


@given(st.sets(NAMES), st.sets(st.tuples(NAMES, NAMES)))
def test_every_table_comes_once_and_parents_first_unless_they_form_a_ring(
    names: set[TableName], references: set[tuple[TableName, TableName]]
) -> None:
    ordered = parents_first(names, references)

    assert sorted(ordered) == sorted(names)
    falling = {(child, parent) for child, parent in references if child > parent}
    assert sorted(parents_first(names, falling)) == sorted(names)
    place = {name: at for at, name in enumerate(parents_first(names, falling))}
    for child, parent in falling:
        if child in place and parent in place:
            assert place[parent] < place[child]


@pytest.mark.parametrize(
    ("event", "path", "found"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": {"b": 1}}, "a.c", None),
        ({"a": [1]}, "a.b", None),
        ({"a": None}, "a.b.c", None),
    ],
)
def test_a_path_names_a_field_or_nothing(
    event: dict[str, object], path: str, found: object
) -> None:
    assert at_path(event, path) == found


@pytest.mark.parametrize(
    ("given_", "charged"),
    [
        (0.1, Decimal("0.1")),
        (3, Decimal(3)),
        (1e-9, Decimal("1e-09")),
        (-1, None),
        (True, None),
        ("1", None),
        (None, None),
    ],
)
def test_a_release_charges_a_finite_number_of_at_least_zero(
    given_: object, charged: Decimal | None
) -> None:
    assert amount({"data": {"used": given_}}, "data.used") == charged


def test_ten_charges_of_a_tenth_are_one() -> None:
    assert sum([amount({"x": 0.1}, "x") or Decimal(0)] * 10, Decimal(0)) == 1


def test_the_sentence_says_what_a_person_must_know() -> None:
    counts = {"public.a": {What.CARRIED: 3, What.LISTED: 2, What.ERASED: 1, What.FELL: 1}}
    said = Reconciled(counts).sentence()
    assert "3 rows of other tables carried over, 2 on the list" in said
    assert "1 rows erased since the backup are erased again" in said
    assert "no release until a person looked" in said
    assert Reconciled(counts).as_json()["contradictions"] == {"spend fell": 1}
    assert "gone" in Reconciled(living=False).sentence()


def test_every_contradiction_is_counted_and_nothing_carried_is_called_lost() -> None:
    assert not NOT_CARRIED & {What.CARRIED, What.CHANGED, What.RAISED, What.ERASED}
    assert CONTRADICTIONS
