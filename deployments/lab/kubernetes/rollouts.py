"""The numbers of a rolling update, as the real deployment controller computes them."""

import math
from collections.abc import Sequence

from deployments.lab.kubernetes.clock import seconds_of, stamp
from deployments.lab.kubernetes.documents import HASH, condition_of
from deployments.lab.kubernetes.kinds import Json

PREFIX = "deployment.kubernetes.io"
DESIRED = f"{PREFIX}/desired-replicas"
MOST = f"{PREFIX}/max-replicas"
REVISION = f"{PREFIX}/revision"
HISTORY = f"{PREFIX}/revision-history"
_NOT_COPIED = (
    DESIRED,
    MOST,
    REVISION,
    HISTORY,
    "deprecated.deployment.rollback.to",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def limits(deployment: Json) -> tuple[int, int]:
    """Pods that may come on top, and pods that may be missing: never both zero."""
    wanted = deployment["spec"]["replicas"]
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return 0, wanted
    rules = deployment["spec"]["strategy"].get("rollingUpdate", {})
    surge = _share(rules.get("maxSurge", "25%"), wanted, up=True)
    missing = _share(rules.get("maxUnavailable", "25%"), wanted, up=False)
    return surge, 1 if surge == 0 and missing == 0 else min(missing, wanted)


def _share(value: int | str, whole: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(value.rstrip("%")) * whole / 100
    return math.ceil(exact) if up else math.floor(exact)


def matches(replica_set: Json, template: Json) -> bool:
    """Whether a ReplicaSet is of that template, but for the hash that it carries."""
    own = replica_set["spec"]["template"]
    labels = {k: v for k, v in own["metadata"].get("labels", {}).items() if k != HASH}
    return bool({**own, "metadata": {**own["metadata"], "labels": labels}} == template)


def revision_of(item: Json) -> int:
    """0 without one."""
    return int(item["metadata"].get("annotations", {}).get(REVISION, "0"))


def copied_annotations(deployment: Json) -> Json:
    """Those of a deployment that its ReplicaSet carries as well."""
    found = deployment["metadata"].get("annotations", {})
    return {key: value for key, value in found.items() if key not in _NOT_COPIED}


def counted(sets: Sequence[Json], field: str) -> int:
    """A figure of the status of ReplicaSets, together."""
    return sum(each.get("status", {}).get(field, 0) for each in sets)


def sized(sets: Sequence[Json]) -> int:
    """What ReplicaSets should have, together."""
    return sum(each["spec"]["replicas"] for each in sets)


def figures(deployment: Json, sets: Sequence[Json], new: Json | None) -> Json:
    """The counts of a deployment's status; zeros are left out, as the server does."""
    total, available = counted(sets, "replicas"), counted(sets, "availableReplicas")
    found = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": total,
        "updatedReplicas": counted([new] if new else [], "replicas"),
        "readyReplicas": counted(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(sized(sets) - available, 0),
    }
    return {key: value for key, value in found.items() if value}


def set_condition(
    conditions: list[Json], name: str, value: str, reason: str, message: str, now: float
) -> list[Json]:
    """The same status and reason change nothing; another one goes to the end."""
    before = next((each for each in conditions if each["type"] == name), None)
    since = stamp(now)
    if before is not None:
        if (before["status"], before["reason"]) == (value, reason):
            return conditions
        if before["status"] == value:
            since = before["lastTransitionTime"]
    made = {
        "type": name,
        "status": value,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
    return [*(each for each in conditions if each["type"] != name), made]


def is_complete(deployment: Json, status: Json) -> bool:
    """Every pod is of the new template and available."""
    wanted = deployment["spec"]["replicas"]
    found = (status.get(each, 0) for each in ("updatedReplicas", "replicas", "availableReplicas"))
    return all(each == wanted for each in found)


def is_moving(before: Json, status: Json) -> bool:
    """Whether the rollout came further since the last status."""
    old = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    now = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return now < old or any(
        status.get(each, 0) > before.get(each, 0)
        for each in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def deadline_of(deployment: Json, conditions: Sequence[Json]) -> float | None:
    """When a rollout that does not move has failed; None when it is over or has no deadline."""
    allowed = deployment["spec"].get("progressDeadlineSeconds")
    found = condition_of({"status": {"conditions": conditions}}, "Progressing")
    if allowed is None or found is None or deployment["spec"].get("paused"):
        return None
    if found["reason"] in {"NewReplicaSetAvailable", "ProgressDeadlineExceeded"}:
        return None
    return seconds_of(found["lastUpdateTime"]) + float(allowed) + 1
