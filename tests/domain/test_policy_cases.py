"""Examples with expected decisions: they hold, fail by field, or are refused by name."""

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.policy import DEFAULT, RoutingPolicy
from tasks.domain.policy_cases import check_case, read_cases, untested

HOLDS = """
[[tests]]
name = "a database that is down"
labels = {alertname = "DatabaseDown", severity = "critical", category = "infrastructure"}
[tests.expect]
route = "database-down"
component = "database"
severity = "P2"
cooldown = "900s"
window = "0s"
caused_by = []
max_responses = 2
heartbeat = false
"""


def test_only_what_is_expected_is_looked_at_and_durations_may_be_written_otherwise() -> None:
    (case,) = read_cases(HOLDS)
    assert case.name == "a database that is down"
    assert check_case(DEFAULT, case) == []


def test_each_field_that_is_decided_otherwise_is_told_with_both_values() -> None:
    (case,) = read_cases(HOLDS.replace('"database"', '"api"').replace('"P2"', '"P0"'))
    wrong = [(one.field, one.expected, one.found) for one in check_case(DEFAULT, case)]
    assert wrong == [("component", "api", "database"), ("severity", "P0", "P2")]


def test_severity_is_the_policys_word_before_the_classification() -> None:
    policy = RoutingPolicy.parse(
        '[[routes]]\nname = "rest"\nmatchers = []\ncomponent = "x"\nprocedure = "triage"\n'
        'title = "X"\nremedy = "manual"\nseverity = "P3"\n'
    )
    (case,) = read_cases('[[tests]]\nlabels = {category = "privacy"}\nexpect = {severity = "P3"}')
    assert check_case(policy, case) == []
    assert [one.found for one in check_case(DEFAULT, case)] == ["P1"]


def test_routes_that_no_example_reaches_are_known() -> None:
    blind = untested(DEFAULT, read_cases(HOLDS))
    assert "database-down" not in blind
    assert len(blind) == len(DEFAULT.rules) - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "tests: expected 1 to 5000 tables [[tests]], found 0"),
        ("[[test]]\n", "the tests: 'test': expected one of tests"),
        ("[[tests]]\nexpect = {component = 'x'}", "tests[1] (line 1): labels: expected a table"),
        ("[[tests]]\nlabels = {a = 1}\nexpect = {component = 'x'}", "tests[1] (line 1).labels: a:"),
        ("[[tests]]\nlabels = {}", "expect: expected a table, found none"),
        ("[[tests]]\nlabels = {}\nexpect = {}", "expect: expected at least one of route"),
        ("[[tests]]\nlabels = {}\nexpect = {componet = 'x'}", "'componet': expected one of"),
        ("[[tests]]\nlabels = {}\nexpect = {severity = 'high'}", "severity: expected one of P0"),
        ("[[tests]]\nlabels = {}\nexpect = {approvers = '1'}", "approvers: expected a whole"),
        ("[[tests]]\nlabels = {}\nexpect = {window = '1 h'}", "window: expected a duration"),
        ("[[tests]]\nlabels = {}\nexpect = {heartbeat = 1}", "heartbeat: expected true or false"),
        (
            "[[tests]]\nlabels = {}\nexpect = {caused_by = 'x'}",
            "caused_by: expected a list of texts",
        ),
    ],
)
def test_an_example_that_cannot_be_read_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_cases(text)
    assert said in str(refused.value)
