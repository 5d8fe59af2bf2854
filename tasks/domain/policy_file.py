"""From the text of a routing policy to its rules; every complaint names the route and the field."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta

from tasks.domain.errors import BadInput
from tasks.domain.matchers import Matcher, parse_matchers
from tasks.domain.routes import (
    ALERT_NAME,
    OWNERS,
    PROCEDURES,
    TITLE_LIMIT,
    TRIAGE,
    Remedy,
    Route,
    Rule,
)
from tasks.domain.severity import Severity
from tasks.domain.written import Table, load, tables

ROUTES_LIMIT = 500
_MATCHERS_LIMIT = 16
_GROUP_BY_LIMIT = 8
_CAUSES_LIMIT = 16
_RESPONSES_LIMIT = 100
_APPROVERS_LIMIT = 2
_LABEL_LIMIT = 128
_WINDOW_LIMIT = timedelta(days=7)
_COOLDOWN_LIMIT = timedelta(days=1)

_ROUTE_NAME = re.compile(r"[a-z0-9-]{1,60}")
_COMPONENT = re.compile(r"[a-z0-9-]{1,40}")

_DEFAULTS = {
    "owner": "on_call",
    "remedy": Remedy.APPROVAL.value,
    "group_by": [],
    "window": "0s",
    "caused_by": [],
    "cooldown": "15m",
    "max_responses": 1,
    "approvers": 1,
    "starts_dpo_clock": False,
    "closes_on_resolve": True,
    "heartbeat": False,
}
"""What a route is when neither it nor the file's [defaults] say otherwise."""

_SETTABLE = frozenset(_DEFAULTS) - {"heartbeat", "caused_by"}
"""Fields of [defaults]: the others are about one route."""

_KNOWN = frozenset(_DEFAULTS) | {
    *("name", "matchers", "component", "procedure", "title", "severity"),
}


def read_rules(text: str) -> tuple[Rule, ...]:
    """The rules in their order. Raises BadInput."""
    document = load(text)
    Table("the policy", document).check_known({"defaults", "routes"})
    defaults = Table("the policy", {"defaults": {}, **document}).table("defaults")
    defaults.check_known(_SETTABLE)
    given = {**_DEFAULTS, **defaults.fields}
    written: list[Table] = []
    rules: list[Rule] = []
    for table in tables(document, "routes", ROUTES_LIMIT, text):
        table.check_known(_KNOWN)
        name = table.label("name", _ROUTE_NAME)
        written.append(table.named(name).over(given))
        rules.append(_rule(written[-1], name))
    _check_together(written, rules)
    return tuple(rules)


def _rule(table: Table, name: str) -> Rule:
    component = table.label("component", _COMPONENT)
    matchers = tuple(_matchers(table))
    remedy = table.choice("remedy", Remedy)
    procedure = table.one_of("procedure", PROCEDURES)
    heartbeat = table.flag("heartbeat")
    if procedure == TRIAGE and remedy is not Remedy.MANUAL:
        table.complain("remedy", f'"{Remedy.MANUAL}", since {TRIAGE} mends nothing', remedy)
    if heartbeat and not matchers:
        table.complain("heartbeat", "matchers: else no alert at all would open anything", "none")
    return Rule(
        matchers=matchers,
        group_by=_group_by(table),
        route=Route(
            name=name,
            component=component,
            procedure=procedure,
            title=_title(table),
            severity=table.choice("severity", Severity) if "severity" in table else None,
            owner=table.one_of("owner", OWNERS),
            remedy=remedy,
            group_key=component,
            window=table.duration("window", _WINDOW_LIMIT),
            caused_by=table.texts("caused_by", _CAUSES_LIMIT),
            cooldown=table.duration("cooldown", _COOLDOWN_LIMIT),
            max_responses=table.count("max_responses", 0, _RESPONSES_LIMIT),
            approvers=table.count("approvers", 1, _APPROVERS_LIMIT),
            starts_dpo_clock=table.flag("starts_dpo_clock"),
            closes_on_resolve=table.flag("closes_on_resolve"),
            heartbeat=heartbeat,
        ),
    )


def _matchers(table: Table) -> Iterable[Matcher]:
    """A route without the field would be a catch-all by oversight: it must say `matchers = []`."""
    if "matchers" not in table:
        table.complain("matchers", "a list of texts (empty: it takes every alert)", None)
    for text in table.texts("matchers", _MATCHERS_LIMIT):
        try:
            yield from parse_matchers(text)
        except BadInput as error:
            raise BadInput(f"{table.where}: matchers: {text[:80]!r}: {error}") from error


def _title(table: Table) -> str:
    title = table.text("title", TITLE_LIMIT)
    rest = title.replace(ALERT_NAME, "")
    if "{" in rest or "}" in rest:
        table.complain("title", f"no braces but {ALERT_NAME}", title)
    return title


def _group_by(table: Table) -> tuple[str, ...]:
    names = table.texts("group_by", _GROUP_BY_LIMIT)
    if any(len(name) > _LABEL_LIMIT for name in names):
        table.complain("group_by", f"names of at most {_LABEL_LIMIT} characters", "a longer one")
    return names


def _check_together(written: Sequence[Table], rules: Sequence[Rule]) -> None:
    """What no route can say alone: names, reach, causes and caps."""
    _check_names(written, rules)
    _check_reach(written, rules)
    _check_causes(written, rules)
    _check_caps(written, rules)


def _check_names(written: Sequence[Table], rules: Sequence[Rule]) -> None:
    seen: set[str] = set()
    for table, rule in zip(written, rules, strict=True):
        if rule.route.name in seen:
            table.complain("name", "another name than the routes before", rule.route.name)
        seen.add(rule.route.name)


def _check_reach(written: Sequence[Table], rules: Sequence[Rule]) -> None:
    """The last route takes all; no route stands behind one that asks for no more than it does."""
    asked = [frozenset(rule.matchers) for rule in rules]
    for place, table in enumerate(written):
        before = next((one for one in range(place) if asked[one] <= asked[place]), None)
        if before is not None:
            table.complain(
                "matchers",
                "alerts that no route before takes: it can never be reached",
                f'every one taken by the route "{rules[before].route.name}"',
            )
    if asked[-1]:
        written[-1].complain(
            "matchers", "none, in the last route of the file: it takes all other alerts", "some"
        )


def _check_causes(written: Sequence[Table], rules: Sequence[Rule]) -> None:
    known = {rule.route.component for rule in rules if not rule.route.heartbeat}
    causes: dict[str, set[str]] = {}
    for table, rule in zip(written, rules, strict=True):
        for cause in rule.route.caused_by:
            if cause not in known:
                table.complain("caused_by", "components of routes that open incidents", cause)
            causes.setdefault(rule.route.component, set()).add(cause)
            if rule.route.component in _reached_from(cause, causes):
                table.complain("caused_by", "no component to be its own cause", cause)


def _reached_from(component: str, causes: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [component]
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting.extend(causes.get(one, ()))
    return reached


def _check_caps(written: Sequence[Table], rules: Sequence[Rule]) -> None:
    """A component has one cap: with two, the one that happens to be asked would win."""
    caps: dict[str, Route] = {}
    for table, rule in zip(written, rules, strict=True):
        first = caps.setdefault(rule.route.component, rule.route)
        if rule.route.max_responses != first.max_responses:
            table.complain(
                "max_responses",
                f'{first.max_responses}, as the route "{first.name}" of the same component says',
                rule.route.max_responses,
            )
