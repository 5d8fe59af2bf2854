"""Routing: every alert has its place, a file that cannot be is refused by route and field."""

import ast
import hashlib
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.contacts import Contact
from tasks.domain.errors import BadInput
from tasks.domain.policy import DEFAULT, SECURITY, TRIAGE, Remedy, RoutingPolicy, shipped_text
from tasks.domain.policy_cases import check_case, read_cases, untested
from tasks.domain.routes import GROUP_KEY_LIMIT, OWNERS, PROCEDURES, group_key
from tasks.domain.severity import Severity
from tasks.domain.written import duration_text
from tasks.sections.communication import ContactSettings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "deployments" / "routing" / "tests.toml"
LAST = """
[[routes]]
name = "rest"
matchers = []
component = "unknown"
procedure = "triage"
title = "Alert: {alertname}"
remedy = "manual"
"""


def alert(name: str = "", category: str = "", **labels: str) -> Alert:
    named = {"alertname": name, "category": category} | labels
    kept = {label: value for label, value in named.items() if value}
    return Alert("f", AlertStatus.FIRING, datetime(2026, 3, 14, tzinfo=UTC), kept, {})


def first_route(**fields: str) -> str:
    """A policy whose first route says so, as TOML values; its catch-all is sound."""
    said = {
        "name": '"first"',
        "matchers": "['alertname=\"X\"']",
        "component": '"api"',
        "procedure": '"api_service"',
        "title": '"API"',
    } | fields
    lines = [f"{field} = {value}" for field, value in said.items() if value]
    return "\n".join(["[[routes]]", *lines, LAST])


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as refused:
        RoutingPolicy.parse(text)
    return str(refused.value)


# the shipped policy


@pytest.mark.parametrize(
    ("name", "category", "component", "procedure", "clock", "title"),
    [
        ("CriticalComplianceViolation", "compliance", "compliance", TRIAGE, False, ""),
        ("ComplianceScoreLow", "compliance", "compliance", TRIAGE, False, ""),
        ("ComplianceWarningsHigh", "compliance", "compliance", TRIAGE, False, ""),
        (
            *("PrivacyBudgetExceeded", "privacy", "privacy-engine", "privacy_engine", True),
            "Privacy: budget nearly or wholly spent",
        ),
        (
            *("DifferentialPrivacyNoiseLow", "privacy", "privacy-engine", "privacy_engine", True),
            "Privacy: too little noise",
        ),
        (
            *("DataRetentionViolation", "privacy", "privacy", "privacy_incident", True),
            "Privacy: personal data kept too long",
        ),
        (
            *("AuditTrailIntegrityFailure", "audit", "audit-trail", "audit_trail", False),
            "Audit trail: integrity verification failed",
        ),
        (
            *("MerkleTreeValidationFailure", "audit", "audit-trail", "audit_trail", False),
            "Audit trail: Merkle tree validation failed",
        ),
        (
            *("AuditLogStorageIssue", "audit", "audit-trail", "audit_trail", False),
            "Audit trail: records cannot be written",
        ),
        ("ApplicationDown", "operational", "api", "api_service", False, "API: down"),
        ("HighResponseTime", "performance", "api", "api_service", False, "API: slow"),
        ("HighErrorRate", "operational", "api", "api_service", False, "API: many errors"),
        ("RLHFTrainingStalled", "rlhf", "rlhf", TRIAGE, False, ""),
        ("LowAnnotationRate", "rlhf", "rlhf", TRIAGE, False, ""),
        ("HumanOversightFailure", "rlhf", "rlhf", TRIAGE, False, ""),
        ("DatabaseDown", "infrastructure", "database", "database", False, "Database: down"),
        ("RedisDown", "infrastructure", "cache", "cache", False, "Cache: down"),
        ("HighMemoryUsage", "infrastructure", "api", "api_service", False, "API: memory is short"),
        ("HighCPUUsage", "infrastructure", "api", "api_service", False, "API: processor is short"),
        (
            *("DiskSpaceLow", "infrastructure", "database", "database", False),
            "Storage: disk space is low",
        ),
        (
            *("SuspiciousAuthenticationPattern", "security", SECURITY, "breach", False),
            "Security: suspicious authentication",
        ),
        (
            *("PotentialDataExfiltration", "security", SECURITY, "breach", True),
            "Security: data may be leaving the system",
        ),
        (
            *("UnauthorizedAccessAttempt", "security", SECURITY, "breach", False),
            "Security: unauthorised access",
        ),
        ("NeverSeen", "", "unknown", TRIAGE, False, "Alert: NeverSeen"),
        ("NeverSeen", "privacy", "privacy", "privacy_incident", True, "Privacy: NeverSeen"),
        ("NeverSeen", "no such category", "unknown", TRIAGE, False, "Alert: NeverSeen"),
        ("", "", "unknown", TRIAGE, False, "Alert: alert without a name"),
    ],
)
def test_alert_goes_to_its_section_of_the_runbook(
    name: str, category: str, component: str, procedure: str, clock: bool, title: str
) -> None:
    found = DEFAULT.route(alert(name, category))
    assert (found.component, found.procedure, found.starts_dpo_clock) == (
        component,
        procedure,
        clock,
    )
    assert found.title == title or (not title and found.title.endswith(f": {name}"))


def test_a_known_alert_is_known_by_name_whatever_its_category_says() -> None:
    for category in ("", "audit", "nonsense"):
        assert DEFAULT.route(alert("DatabaseDown", category)).component == "database"


def test_every_shipped_example_holds_and_every_shipped_route_has_one() -> None:
    cases = read_cases(EXAMPLES.read_text(encoding="utf-8"))
    assert [wrong for case in cases for wrong in check_case(DEFAULT, case)] == []
    assert untested(DEFAULT, cases) == []


def test_every_alert_rule_that_we_ship_has_an_example() -> None:
    rules = [
        path.read_text(encoding="utf-8") for path in (ROOT / "deployments").rglob("*rules.yml")
    ]
    shipped = {name for text in rules for name in re.findall(r"- alert: (\w+)", text)}
    assert "Watchdog" in shipped
    for name in sorted(shipped - {"Watchdog"}):
        route = DEFAULT.route(alert(name, "responder"))
        assert (route.component, route.procedure, route.remedy) == (
            "responder",
            TRIAGE,
            Remedy.MANUAL,
        )
    assert DEFAULT.route(alert("Watchdog")).heartbeat


def test_what_the_runbook_cannot_mend_is_a_named_persons() -> None:
    for category, owner in (("compliance", "compliance_officer"), ("rlhf", "engineering_lead")):
        route = DEFAULT.route(alert("NeverSeen", category))
        assert (route.procedure, route.remedy, route.owner) == (TRIAGE, Remedy.MANUAL, owner)


def test_evidence_is_never_closed_by_a_resolved_alert_and_a_breach_needs_two() -> None:
    for rule in DEFAULT.rules:
        route = rule.route
        a_persons = {"audit-trail", "privacy", "privacy-engine", "compliance", SECURITY}
        keeps_open = route.component in a_persons or route.name in {
            "human-oversight",
            "runbook-drill",
        }
        assert route.closes_on_resolve is not keeps_open, route.name
        assert route.approvers == 2 or route.procedure not in {"breach", "privacy_engine"}
        assert route.approvers == 1 or route.procedure != "audit_trail"


def test_procedures_are_those_of_the_incident_flow_and_owners_those_of_the_settings() -> None:
    tree = ast.parse((ROOT / "flows" / "incident.py").read_bytes())
    flows = [
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.target.id == "PROCEDURES"
    ]
    (table,) = flows
    assert isinstance(table, ast.Dict)
    carried_out = {key.value for key in table.keys if isinstance(key, ast.Constant)}
    assert carried_out
    assert carried_out <= PROCEDURES
    others = {"regulators", "auditors"}
    assert frozenset(ContactSettings.model_fields) == frozenset(Contact) == OWNERS | others


def test_the_shipped_text_lists_every_field_that_a_route_may_have() -> None:
    head = shipped_text().split("[defaults]")[0]
    explained = set(re.findall(r"^#   (\w+) {2,}", head, re.MULTILINE))
    said = refusal(first_route(nonsense="1"))
    known = set(said.split("expected one of ")[1].split(", found")[0].split(", "))
    assert explained == known


# what a route is made of


def test_what_a_route_does_not_say_it_has_of_the_defaults_of_the_file_or_of_ours() -> None:
    text = '[defaults]\nowner = "dpo"\napprovers = 2\n' + first_route(approvers="1")
    route = RoutingPolicy.parse(text).route(alert("X"))
    assert (route.owner, route.approvers) == ("dpo", 1)
    assert (route.cooldown, route.window) == (timedelta(minutes=15), timedelta(0))
    assert (route.remedy, route.closes_on_resolve) == (Remedy.APPROVAL, True)
    assert route.severity is None


def test_every_field_of_a_route_is_read() -> None:
    text = first_route(
        severity='"P0"',
        owner='"security_team"',
        remedy='"automatic"',
        group_by='["instance", "zone"]',
        window='"1h30m"',
        caused_by='["unknown"]',
        cooldown='"90s"',
        max_responses="7",
        approvers="2",
        starts_dpo_clock="true",
        closes_on_resolve="false",
        heartbeat="true",
        title='"API: {alertname}!"',
    )
    found = RoutingPolicy.parse(text).route(alert("X", instance="a/b", zone="1"))
    assert found.severity is Severity.P0
    assert (found.owner, found.remedy) == ("security_team", Remedy.AUTOMATIC)
    assert (found.window, found.cooldown) == (timedelta(hours=1.5), timedelta(seconds=90))
    assert (found.caused_by, found.max_responses, found.approvers) == (("unknown",), 7, 2)
    assert (found.starts_dpo_clock, found.closes_on_resolve, found.heartbeat) == (True, False, True)
    assert (found.title, found.group_key) == ("API: X!", "api/a%2Fb/1")


def test_a_title_is_bounded_and_printable_whatever_the_alert_is_called() -> None:
    for name in ("x" * 1000, "a\nb\u202ec", "{alertname}", "{0.__class__}"):
        title = DEFAULT.route(alert(name)).title
        assert len(title) <= 160
        assert "\u202e" not in title
    assert DEFAULT.route(alert("{0.__class__}")).title == "Alert: {0.__class__}"


@given(st.lists(st.text(max_size=30), max_size=3), st.lists(st.text(max_size=30), max_size=3))
def test_a_group_key_is_bounded_and_different_values_have_different_keys(
    one: list[str], other: list[str]
) -> None:
    def printable(values: list[str]) -> list[str]:
        return ["".join(c for c in value if c.isprintable()) for value in values]

    one, other = printable(one), printable(other)
    assert (group_key("api", one) == group_key("api", other)) is (one == other)
    assert len(group_key("api", ["x" * 900, *one])) <= GROUP_KEY_LIMIT
    assert group_key("api", ["x" * 900, "a"]) != group_key("api", ["x" * 900, "b"])


def test_the_digest_is_the_texts() -> None:
    text = shipped_text()
    assert DEFAULT.digest == hashlib.sha256(text.encode()).hexdigest()
    assert RoutingPolicy.parse(text + "\n# a comment\n").digest != DEFAULT.digest


# first match wins. Measured for the shipped policy: 1 us for an alert that is known by name, at
# most 17 us for one that is looked for among all categories.

label_values = st.sampled_from(["", "A", "B", "AB"])
label_sets = st.fixed_dictionaries({"alertname": label_values, "severity": label_values})
one_matcher = st.builds(
    "{}{}{}".format,
    st.sampled_from(["alertname", "severity"]),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(['"A"', '"B"', '""']),
)


@given(st.lists(st.lists(one_matcher, min_size=1, max_size=2, unique=True), max_size=8), label_sets)
def test_the_first_route_whose_matchers_all_match_takes_the_alert(
    asked: list[list[str]], labels: Mapping[str, str]
) -> None:
    kept: list[list[str]] = []
    for matchers in asked:  # routes that could never be reached are refused
        if not any(set(before) <= set(matchers) for before in kept):
            kept.append(matchers)
    routes = [
        f'[[routes]]\nname = "r{place}"\nmatchers = {[*matchers]!r}\ncomponent = "api"\n'
        'procedure = "api_service"\ntitle = "API"\n'
        for place, matchers in enumerate(kept)
    ]
    policy = RoutingPolicy.parse("".join(routes) + LAST)
    found = policy.route(Alert("f", AlertStatus.FIRING, datetime.now(UTC), labels, {}))
    expected = [rule.route.name for rule in policy.rules if rule.takes(labels)]
    assert found.name == expected[0]


# files that cannot be


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": '"Two Words"'}, "routes[1] (line 1): name: expected a text of the form"),
        ({"name": ""}, "routes[1] (line 1): name: expected a text of the form [a-z0-9-]{1,60}"),
        ({"matchers": ""}, '"first": matchers: expected a list of texts'),
        ({"matchers": "\"alertname='X'\""}, '"first": matchers: expected a list of texts'),
        ({"matchers": "['a=b', '{}']"}, "\"first\": matchers: '{}': expected a matcher"),
        ({"matchers": "['a=~\"(\"']"}, "matchers: 'a=~\"(\"': at character 1: expected a regular"),
        ({"matchers": "['a=b', 'a=b']"}, "matchers: expected at most 16 texts, each once"),
        ({"component": '"API"'}, '"first": component: expected a text of the form'),
        ({"component": '"' + "a" * 41 + '"'}, '"first": component: expected a text of the form'),
        ({"procedure": '"rm -rf"'}, '"first": procedure: expected one of api_service, '),
        ({"procedure": '"triage"'}, '"first": remedy: expected "manual", since triage'),
        ({"title": '""'}, '"first": title: expected a text of 1 to 160 printable'),
        ({"title": '"a\\u202Eb"'}, '"first": title: expected a text of 1 to 160 printable'),
        ({"title": '"{severity}"'}, '"first": title: expected no braces but {alertname}'),
        ({"severity": '"critical"'}, '"first": severity: expected one of P0, P1, P2, P3'),
        ({"owner": '"boss"'}, '"first": owner: expected one of compliance_officer, dpo, '),
        ({"remedy": "true"}, '"first": remedy: expected one of approval, automatic, manual'),
        ({"group_by": '["a", "a"]'}, '"first": group_by: expected at most 8 texts, each once'),
        ({"group_by": '[""]'}, '"first": group_by: expected a list of texts'),
        ({"group_by": '["' + "a" * 129 + '"]'}, '"first": group_by: expected names of at most'),
        ({"window": "5"}, '"first": window: expected a duration such as'),
        ({"window": '"5 m"'}, '"first": window: expected a duration such as'),
        ({"window": '"5m1h"'}, '"first": window: expected a duration such as'),
        ({"window": '"8d"'}, '"first": window: expected at most 1w'),
        ({"cooldown": '""'}, '"first": cooldown: expected a duration such as'),
        ({"cooldown": '"25h"'}, '"first": cooldown: expected at most 1d'),
        ({"max_responses": "-1"}, '"first": max_responses: expected a whole number from 0 to 100'),
        ({"approvers": "3"}, '"first": approvers: expected a whole number from 1 to 2'),
        ({"approvers": "true"}, '"first": approvers: expected a whole number from 1 to 2'),
        ({"starts_dpo_clock": '"yes"'}, '"first": starts_dpo_clock: expected true or false'),
        ({"closes_on_resolve": "1"}, '"first": closes_on_resolve: expected true or false'),
        ({"heartbeat": "0"}, '"first": heartbeat: expected true or false'),
        ({"caused_by": '["databse"]'}, '"first": caused_by: expected components of routes'),
        ({"caused_by": '["api"]'}, '"first": caused_by: expected no component to be its own cause'),
        ({"tittle": '"API"'}, "routes[1] (line 1): 'tittle': expected one of "),
    ],
)
def test_a_wrong_field_is_refused_with_its_route_and_its_name(
    fields: dict[str, str], said: str
) -> None:
    assert said in refusal(first_route(**fields))


def second(**fields: str) -> str:
    route = first_route(**({"name": '"second"', "matchers": "['alertname=\"Y\"']"} | fields))
    return first_route().removesuffix(LAST) + "\n" + route


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "routes: expected 1 to 500 tables [[routes]], found 0"),
        ("routes = 1", "routes: expected tables, written [[routes]]"),
        ("[[routes]\n", "expected TOML: "),
        ("a.b" + ".c" * 200 + " = 1", "at most 100 dots on a line"),
        ("#" * 300_000, "at most 262144 bytes"),
        ("[default]\n" + LAST, "the policy: 'default': expected one of defaults, routes"),
        ("defaults = 1\n" + LAST, "the policy: defaults: expected a table"),
        ('[defaults]\nname = "x"\n' + LAST, "the policy.defaults: 'name': expected one of "),
        ("[defaults]\nheartbeat = true\n" + LAST, "the policy.defaults: 'heartbeat': expected"),
        ("[defaults]\napprovers = 9\n" + LAST, '"rest": approvers: expected a whole number'),
        (first_route().removesuffix(LAST), '"first": matchers: expected none, in the last route'),
        (LAST.replace("remedy", "heartbeat = true\nremedy"), "heartbeat: expected matchers"),
        (second(name='"first"'), 'routes[2] (line 8) "first": name: expected another name'),
        (second(matchers="[]"), '"rest": matchers: expected alerts that no route before takes'),
        (
            second(matchers="['severity=x', 'alertname=\"X\"']"),
            'it can never be reached, found every one taken by the route "first"',
        ),
        (
            second(max_responses="5"),
            'max_responses: expected 1, as the route "first" of the same component says, found 5',
        ),
        (
            first_route(caused_by='["database"]').removesuffix(LAST)
            + "\n"
            + first_route(
                name='"second"',
                matchers="['alertname=\"Y\"']",
                component='"database"',
                caused_by='["api"]',
            ),
            '"second": caused_by: expected no component to be its own cause, found api',
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused_whole(text: str, said: str) -> None:
    assert said in refusal(text)


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    try:
        RoutingPolicy.parse(text)
    except BadInput:
        return
    assert tomllib.loads(text)["routes"]


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def written(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(name)} = {written(v)}" for name, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else quoted(value or "")


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08X}" for character in text) + '"'


FIELDS = (
    *("name", "matchers", "component", "procedure", "title", "severity", "owner", "remedy"),
    *("group_by", "window", "caused_by", "cooldown", "max_responses", "approvers"),
    *("starts_dpo_clock", "closes_on_resolve", "heartbeat"),
)


@given(st.sampled_from(FIELDS), toml_values)
def test_a_value_of_any_kind_in_any_field_is_read_or_refused(field: str, value: Any) -> None:
    try:
        said = RoutingPolicy.parse(first_route(**{field: written(value)})).route(alert("X")).name
    except BadInput as error:
        said = str(error)
    assert said in {"first", "rest"} or "routes[" in said


@given(st.integers(0, 10**7))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    text = duration_text(timedelta(seconds=seconds))
    if seconds <= 86_400:
        policy = RoutingPolicy.parse(first_route(cooldown=f'"{text}"'))
        assert policy.route(alert("X")).cooldown == timedelta(seconds=seconds)
    assert re.fullmatch(r"(\d+[wdhms])+", text)
