"""Label and field selectors, as query parameters and as parts of objects."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from deployments.lab.kubernetes.kinds import EVENTS, NODES, PODS, Json, Kind
from deployments.lab.kubernetes.refusals import refusal

Matches = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_NAME})\s*(==|=|!=)\s*((?:{_NAME})?)")
_THERE = re.compile(rf"(!?)\s*({_NAME})")
_PARTS = re.compile(r",(?![^(]*\))")

_FIELDS = {
    PODS: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    ),
    EVENTS: (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    NODES: ("spec.unschedulable",),
}


def by_labels(text: str) -> Callable[[Mapping[str, str]], bool]:
    """From `labelSelector`. Raises the server's 400 for what is no selector."""
    tests = [_requirement(part.strip()) for part in _PARTS.split(text) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def by_fields(kind: Kind, text: str) -> Matches:
    """From `fieldSelector`. Raises the server's 400 for a field that it does not index."""
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([A-Za-z.]+)(==|=|!=)(.*)", part)
        if found is None:
            raise refusal(400, f"invalid selector: '{part[:100]}'; can't understand '{part[:100]}'")
        field, operator, value = found.groups()
        known = ("metadata.name", "metadata.namespace", *_FIELDS.get(kind, ()))
        if field not in known:
            raise refusal(
                400,
                f'Unable to find "{kind.group}/{kind.version}, Resource={kind.plural}" that match '
                f'label selector "", field selector "{text[:200]}": field label not supported: '
                f"{field}",
            )
        tests.append((field, operator != "!=", value))
    return lambda item: all((_field(item, name) == value) is equal for name, equal, value in tests)


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a `selector` of an object (matchLabels, matchExpressions) means these labels."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(each, labels) for each in selector.get("matchExpressions") or [])


def written(selector: Mapping[str, Any]) -> str:
    """As a Scale shows it: `app=rlhf-audit-trail`."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def _expression(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(rule["key"])
    match rule["operator"]:
        case "In":
            return value in rule["values"]
        case "NotIn":
            return value not in rule["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.fullmatch(text):
        key, operator, listed = found.groups()
        values = {each.strip() for each in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.fullmatch(text):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _THERE.fullmatch(text):
        absent, key = found.groups()
        return lambda labels: (key not in labels) is bool(absent)
    raise refusal(400, f"unable to parse requirement: found '{text[:100]}'")


def _field(item: Json, name: str) -> str:
    if name == "source":
        name = "source.component"
    value: Any = item
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
