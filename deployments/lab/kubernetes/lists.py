"""Lists: selected, in pages that all show the same moment."""

import base64
import json
from collections.abc import Callable

from deployments.lab.kubernetes.kinds import Json, Kind
from deployments.lab.kubernetes.refusals import expired, refusal
from deployments.lab.kubernetes.requests import Request, Target
from deployments.lab.kubernetes.selectors import by_fields, by_labels
from deployments.lab.kubernetes.store import Store, TooOld

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter."
)


def selected(kind: Kind, request: Request) -> Callable[[Json], bool]:
    """By both selectors of a request."""
    labels = by_labels(request.one("labelSelector"))
    fields = by_fields(kind, request.one("fieldSelector"))
    return lambda item: labels(item["metadata"].get("labels", {})) and fields(item)


def listed(store: Store, target: Target, request: Request) -> Json:
    """A page of a list. Raises 410 for one whose moment is forgotten."""
    token = request.one("continue")
    version, start = _decoded(token) if token else (store.version, "")
    try:
        items = store.items_at(target.kind, target.namespace, version)
    except TooOld as error:
        raise expired(_TOO_OLD) from error
    wanted = selected(target.kind, request)
    found = [each for each in items if wanted(each) and _place(target, each) >= start]
    metadata: Json = {"resourceVersion": str(version)}
    limit = request.one("limit")
    size = int(limit) if limit.isascii() and limit.isdigit() else 0
    if size and len(found) > size:
        after = f"{_place(target, found[size - 1])}\0"
        metadata["continue"] = _encoded(version, after)
        if not request.one("labelSelector") and not request.one("fieldSelector"):
            metadata["remainingItemCount"] = len(found) - size
        found = found[:size]
    return list_of(target.kind, found, metadata)


def list_of(kind: Kind, items: list[Json], metadata: Json) -> Json:
    """Items of a list have neither kind nor apiVersion."""
    return {
        "kind": f"{kind.kind}List",
        "apiVersion": kind.api_version,
        "metadata": metadata,
        "items": items,
    }


def _place(target: Target, item: Json) -> str:
    head = item["metadata"]
    return str(head["name"] if target.namespace else f"{head.get('namespace', '')}/{head['name']}")


def _encoded(version: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(token: str) -> tuple[int, str]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(found["rv"]), str(found["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise refusal(400, "continue key is not valid") from error
