"""managedFields: which client wrote which field, and when.

Fields are known by their path, lists of named things by name. The real server knows from the
schema which lists are maps; here it is a list of dicts with a `name`, `type`, `uid` or port.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deployments.lab.kubernetes.kinds import Json

_KEYS = ("name", "type", "uid", "containerPort", "port", "ip")
_METADATA = ("annotations", "labels", "ownerReferences", "finalizers", "generateName")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: `kubectl-set`, `kubelet` with subresource `status`, ..."""

    manager: str
    subresource: str = ""
    operation: str = "Update"


def leaves(value: Json) -> dict[Path, Any]:
    """Each field that somebody can own, with its value."""
    found: dict[Path, Any] = {}
    for key, part in value.items():
        if key in {"apiVersion", "kind"}:
            continue
        if key == "metadata":
            part = {name: part[name] for name in _METADATA if name in part}  # noqa: PLW2901
        _collect((f"f:{key}",), part, found)
    return found


def managed(
    entries: list[Json], old: Json, new: Json, writer: Writer, api_version: str, at: str
) -> list[Json]:
    """The entries after `writer` turned `old` into `new`; a writer without a name leaves none.

    Only the parts (metadata, spec, status) that differ are looked at, unless they were applied.
    """
    if not writer.manager:
        return entries
    applied = writer.operation == "Apply"
    parts = {key for key in {*old, *new} if applied or old.get(key) != new.get(key)}
    before = leaves({key: old[key] for key in old if key in parts})
    after = leaves({key: new[key] for key in new if key in parts})
    changed = {path for path, value in after.items() if before.get(path, entries) != value}
    written = set(after) if applied else changed
    kept: list[Json] = []
    mine: set[Path] = set()
    rest: Json = {}
    for entry in entries:
        fields: Json = entry["fieldsV1"]
        others = {key: tree for key, tree in fields.items() if key[2:] not in parts}
        owned = _paths({key: tree for key, tree in fields.items() if key not in others})
        owned &= set(after)
        if _same(entry, writer):
            mine, rest = owned, others
            if not written and (owned or others):
                kept.append({**entry, "fieldsV1": others | _tree(owned)})
            continue
        owned -= {path for path in written & owned if before.get(path) != after[path]}
        if owned or others:
            kept.append({**entry, "fieldsV1": others | _tree(owned)})
    if written:
        kept.append(_entry(writer, rest | _tree(mine | written), api_version, at))
    return sorted(kept, key=lambda entry: str(entry["time"]))


def contested(entries: Iterable[Json], old: Json, applied: Json, manager: str) -> list[Json]:
    """The causes of an apply's conflict: fields that others own with another value."""
    before = leaves(old)
    wanted = leaves(applied)
    return [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{entry["manager"]}" using {entry["apiVersion"]}',
            "field": _dotted(path),
        }
        for entry in entries
        if entry["manager"] != manager or entry["operation"] != "Apply"
        for path in sorted(_paths(entry["fieldsV1"]) & set(wanted))
        if before.get(path) != wanted[path]
    ]


def _collect(path: Path, value: object, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            _collect((*path, f"f:{key}"), part, found)
        return
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        key = next((name for name in _KEYS if all(name in each for each in value)), None)
        if key is not None:
            for each in value:
                named = f"k:{json.dumps({key: each[key]}, separators=(',', ':'))}"
                found[(*path, named, ".")] = each[key]
                for name, part in each.items():
                    _collect((*path, named, f"f:{name}"), part, found)
            return
    found[path] = value


def _paths(fields: Json) -> set[Path]:
    found: set[Path] = set()
    _walk((), fields, found)
    return found


def _walk(path: Path, tree: Json, found: set[Path]) -> None:
    for name, below in tree.items():
        if below:
            _walk((*path, name), below, found)
        else:
            found.add((*path, name))


def _tree(paths: Iterable[Path]) -> Json:
    tree: Json = {}
    for path in sorted(paths):
        at = tree
        for part in path:
            at = at.setdefault(part, {})
    return tree


def _same(entry: Json, writer: Writer) -> bool:
    found = (entry["manager"], entry.get("subresource", ""), entry["operation"])
    return found == (writer.manager, writer.subresource, writer.operation)


def _entry(writer: Writer, fields: Json, api_version: str, at: str) -> Json:
    entry: Json = {
        "manager": writer.manager,
        "operation": writer.operation,
        "apiVersion": api_version,
        "time": at,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**entry, "subresource": writer.subresource} if writer.subresource else entry


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            key, value = next(iter(json.loads(part[2:]).items()))
            text += f"[{key}={json.dumps(value)}]"
    return text
