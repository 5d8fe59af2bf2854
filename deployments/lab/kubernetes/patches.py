"""The three patches of the API: JSON patch, merge patch, strategic merge patch."""

# ruff: noqa: ANN401  values are whatever JSON holds

from typing import Any

from deployments.lab.kubernetes.kinds import Json, copied
from deployments.lab.kubernetes.refusals import Refusal, refusal, vague

_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "conditions": "type",
    "ownerReferences": "uid",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
}


def json_patched(target: Json, patch: object) -> Json:
    """RFC 6902. What does not fit gets the server's vague 422."""
    if not isinstance(patch, list):
        raise refusal(400, "error decoding patch: json: cannot unmarshal object into Go value")
    found: Any = copied(target)
    try:
        for each in patch:
            found = _operated(found, each)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise vague() from error
    if not isinstance(found, dict):
        raise vague()
    return found


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merge_patched(found.get(key), value)
    return found


def strategic_patched(target: Any, patch: Any, field: str = "") -> Any:
    """Lists of named things are merged by their key; `$patch` deletes or replaces."""
    if isinstance(patch, list):
        return _list_patched(target if isinstance(target, list) else [], patch, field)
    if not isinstance(patch, dict):
        return copied(patch)
    if patch.get("$patch") == "replace":
        return copied({key: value for key, value in patch.items() if key != "$patch"})
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            found[name] = [each for each in found.get(name, []) if each not in value]
        elif key.startswith("$"):
            continue  # order and retained keys: hints that change no content here
        elif value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
            found.pop(key, None)
        else:
            found[key] = strategic_patched(found.get(key), value, key)
    return found


def _list_patched(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    key = _MERGE_KEYS.get(field)
    if key is None:
        return copied(patch)
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in patch):
        return copied([each for each in patch if "$patch" not in each])
    found = list(target)
    added: list[Any] = []
    for each in patch:
        if not isinstance(each, dict) or key not in each:
            raise _without_key(field, key)
        place = next((n for n, old in enumerate(found) if old.get(key) == each[key]), None)
        if each.get("$patch") == "delete":
            found = [old for old in found if old.get(key) != each[key]]
        elif place is None:
            added.append(strategic_patched({}, each))
        else:
            found[place] = strategic_patched(found[place], each)
    return found + added


def _without_key(field: str, key: str) -> Refusal:
    return refusal(500, f"map: {field} does not contain declared merge key: {key}")


def _operated(document: Any, operation: dict[str, Any]) -> Any:
    name, path = operation["op"], _pointer(operation["path"])
    match name:
        case "test":
            if _at(document, path) != operation["value"]:
                raise ValueError(path)
        case "add":
            return _added(document, path, copied(operation["value"]))
        case "replace":
            _at(document, path)
            if not path:
                return copied(operation["value"])
            _set(_at(document, path[:-1]), path[-1], copied(operation["value"]))
        case "remove":
            _removed(document, path)
        case "copy" | "move":
            source = _pointer(operation["from"])
            value = copied(_at(document, source))
            if name == "move":
                _removed(document, source)
            return _added(document, path, value)
        case _:
            raise ValueError(name)
    return document


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(text)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[_index(part)] if isinstance(document, list) else document[part]
    return document


def _index(part: str) -> int:
    if not (part.isascii() and part.isdigit()):
        raise ValueError(part)
    return int(part)


def _set(parent: Any, part: str, value: Any) -> None:
    parent[_index(part) if isinstance(parent, list) else part] = value


def _added(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _at(document, path[:-1])
    if not isinstance(parent, list):
        parent[path[-1]] = value
        return document
    place = len(parent) if path[-1] == "-" else _index(path[-1])
    if place > len(parent):
        raise IndexError(place)
    parent.insert(place, value)
    return document


def _removed(document: Any, path: list[str]) -> None:
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        parent.pop(_index(path[-1]))
    else:
        del parent[path[-1]]
