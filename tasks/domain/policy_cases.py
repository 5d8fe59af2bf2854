"""Examples of alerts with the decisions that are expected of a policy, like promtool's rule tests.

    [[tests]]
    name = "a database that is down is not the API's affair"     # may be left out
    labels = {alertname = "DatabaseDown", severity = "critical", category = "infrastructure"}
    expect = {component = "database", procedure = "database", severity = "P2"}

Of a decision only what `expect` names is looked at. `severity` is what the alert justifies by
itself: the policy's word, or else the runbook's classification by its labels.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alertmanager import TEXT_LIMIT
from tasks.domain.policy import Remedy, RoutingPolicy
from tasks.domain.severity import Severity
from tasks.domain.written import Table, duration_text, load, tables

CASES_LIMIT = 5000
_LABELS_LIMIT = 128
_NAME_LIMIT = 200
_TEXT_LIMIT = 400
_LIST_LIMIT = 100
_LONGEST = timedelta(days=365)
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)  # no decision depends on it


def _text(table: Table, field: str) -> str:
    return table.text(field, _TEXT_LIMIT)


def _duration(table: Table, field: str) -> str:
    return duration_text(table.duration(field, _LONGEST))


_READ: Mapping[str, Callable[[Table, str], Any]] = {
    "route": _text,
    "component": _text,
    "procedure": _text,
    "title": _text,
    "severity": lambda table, field: table.choice(field, Severity).value,
    "owner": _text,
    "remedy": lambda table, field: table.choice(field, Remedy).value,
    "group_key": _text,
    "window": _duration,
    "caused_by": lambda table, field: list(table.texts(field, _LIST_LIMIT)),
    "cooldown": _duration,
    "max_responses": lambda table, field: table.count(field, 0, 1 << 31),
    "approvers": lambda table, field: table.count(field, 0, 1 << 31),
    "starts_dpo_clock": Table.flag,
    "closes_on_resolve": Table.flag,
    "heartbeat": Table.flag,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One example: an alert, and fields of the decision with their expected values."""

    name: str
    alert: Alert
    expected: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field of a case that was decided otherwise."""

    case: str
    field: str
    expected: Any
    found: Any

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "case": self.case,
            "field": self.field,
            "expected": self.expected,
            "found": self.found,
        }


def read_cases(text: str) -> tuple[Case, ...]:
    """The cases of a TOML text. BadInput names the case and the field."""
    document = load(text)
    Table("the tests", document).check_known({"tests"})
    return tuple(_case(table) for table in tables(document, "tests", CASES_LIMIT, text))


def check_case(policy: RoutingPolicy, case: Case) -> list[Mismatch]:
    """In what the policy decides otherwise than is expected; empty when the case holds."""
    decided = policy.decide(case.alert)
    return [
        Mismatch(case.name, field, expected, decided[field])
        for field, expected in case.expected.items()
        if decided[field] != expected
    ]


def untested(policy: RoutingPolicy, cases: Iterable[Case]) -> list[str]:
    """Names of the policy's routes that no case reaches."""
    reached = {policy.rule(case.alert).route.name for case in cases}
    return [rule.route.name for rule in policy.rules if rule.route.name not in reached]


def _case(table: Table) -> Case:
    table.check_known({"name", "labels", "expect"})
    labels = table.table("labels")
    if len(labels.fields) > _LABELS_LIMIT:
        table.complain("labels", f"at most {_LABELS_LIMIT} labels", len(labels.fields))
    named = {name: labels.text(name, TEXT_LIMIT) for name in labels.fields}
    name = named.get("alertname", "alert without a name")
    if "name" in table:
        name = table.text("name", _NAME_LIMIT)
    expect = table.named(name).table("expect")
    expect.check_known(_READ)
    if not expect.fields:
        table.complain("expect", f"at least one of {', '.join(_READ)}", "none")
    return Case(
        name=name,
        alert=Alert("example", AlertStatus.FIRING, _MOMENT, named, {}),
        expected={field: _READ[field](expect, field) for field in expect.fields},
    )
