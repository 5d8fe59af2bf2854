"""What differs between two pod templates, for people: images, environment by name, resources.

Values of the environment never appear: they may be secrets, and so may arguments and annotations.
Of everything else that differs only the place is named.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.domain.rollout import without_hash
from tasks.domain.untrusted import visible

_MOST = 40
_NAME_LIMIT = 80
_VALUE_LIMIT = 200
_CONTAINER = r"spec\.(?:init)?[cC]ontainers\[(?P<container>[^\]]*)\]"
_IMAGE = re.compile(rf"{_CONTAINER}\.image")
_ENVIRONMENT = re.compile(rf"{_CONTAINER}\.env\[(?P<name>[^\]]*)\]\..*")
_RESOURCE = re.compile(rf"{_CONTAINER}\.resources\.(?P<which>requests|limits)\.(?P<name>.+)")
_ABSENT = object()


def template_changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> tuple[str, ...]:
    """What becomes of `now` when `then` takes its place, a line each; empty when nothing does."""
    before, after = _leaves(without_hash(now)), _leaves(without_hash(then))
    lines = dict.fromkeys(_lines(before, after))
    shown = tuple(lines)[:_MOST]
    left = len(lines) - len(shown)
    return (*shown, f"and {left} more places") if left else shown


def _lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    places = sorted({*before, *after}, key=lambda place: (_rank(place), place))
    for place in places:
        old, new = before.get(place, _ABSENT), after.get(place, _ABSENT)
        if old != new:
            yield _line(place, old, new)


def _rank(place: str) -> int:
    kinds = (_IMAGE, _ENVIRONMENT, _RESOURCE)
    return next((rank for rank, kind in enumerate(kinds) if kind.fullmatch(place)), len(kinds))


def _line(place: str, old: object, new: object) -> str:
    if found := _IMAGE.fullmatch(place):
        return f"image of {_name(found['container'])}: {_value(old)} -> {_value(new)}"
    if found := _ENVIRONMENT.fullmatch(place):
        named = f"{_name(found['name'])} of {_name(found['container'])}"
        return f"environment: {named} {_becomes(old, new)} (values are not shown)"
    if found := _RESOURCE.fullmatch(place):
        what = f"{found['which']} of {_name(found['container'])}: {_name(found['name'])}"
        return f"{what} {_value(old)} -> {_value(new)}"
    return f"{_name(place, _VALUE_LIMIT)} {_becomes(old, new)}"


def _becomes(old: object, new: object) -> str:
    if old is _ABSENT:
        return "comes back"
    return "goes" if new is _ABSENT else "changes"


def _value(value: object) -> str:
    return "none" if value is _ABSENT else visible(value, _VALUE_LIMIT)


def _name(text: str, limit: int = _NAME_LIMIT) -> str:
    return visible(text, limit)


def _leaves(value: Mapping[str, Any]) -> dict[str, Any]:
    """Each value by its path; things in a list by their `name`, where all have one."""
    found: dict[str, Any] = {}
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, each = pending.pop()
        if isinstance(each, dict) and each:
            start = f"{path}." if path else ""
            pending += [(f"{start}{key}", part) for key, part in each.items()]
        elif isinstance(each, list) and each and all(_is_named(item) for item in each):
            pending += [(f"{path}[{item['name']}]", item) for item in each]
        else:
            found[path] = each
    return found


def _is_named(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)
