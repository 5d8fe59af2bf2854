"""The conditions of a Deployment: available, progressing, failing to make pods.

Follows progress.go and sync.go of the real controller; the order of the cases is theirs.
"""

import math

from deployments.lab.kubernetes import rollouts
from deployments.lab.kubernetes.documents import condition_of
from deployments.lab.kubernetes.kinds import Json


def conditions_of(deployment: Json, status: Json, new: Json | None, now: float) -> list[Json]:
    """Of a deployment with these new figures, at a time (seconds since 1970)."""
    before = deployment.get("status", {})
    found: list[Json] = before.get("conditions", [])
    wanted = deployment["spec"]["replicas"]
    least = wanted - rollouts.limits(deployment)[1]
    if status.get("availableReplicas", 0) >= least:
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        text = "Deployment does not have minimum availability."
        available = ("False", "MinimumReplicasUnavailable", text)
    found = rollouts.set_condition(found, "Available", *available, now)
    failure = condition_of(new, "ReplicaFailure") if new is not None else None
    if failure is not None:
        said = ("True", failure["reason"], failure["message"])
        found = rollouts.set_condition(found, "ReplicaFailure", *said, now)
    else:
        found = [each for each in found if each["type"] != "ReplicaFailure"]
    return _progress(deployment, status, new, found, now)


def _progress(
    deployment: Json, status: Json, new: Json | None, found: list[Json], now: float
) -> list[Json]:
    name = "Progressing"
    before = condition_of({"status": {"conditions": found}}, name)
    if deployment["spec"].get("progressDeadlineSeconds") is None:
        return [each for each in found if each["type"] != name]
    what = f'ReplicaSet "{new["metadata"]["name"]}"' if new is not None else "Deployment"
    said: tuple[str, str, str] | None = None
    if deployment["spec"].get("paused"):
        said = ("Unknown", "DeploymentPaused", "Deployment is paused")
    elif before is not None and before["reason"] == "DeploymentPaused":
        said = ("Unknown", "DeploymentResumed", "Deployment is resumed")
    elif _is_over(before, status):
        return found
    elif rollouts.is_complete(deployment, status):
        said = ("True", "NewReplicaSetAvailable", f"{what} has successfully progressed.")
    elif rollouts.is_moving(deployment.get("status", {}), status):
        since = before["lastTransitionTime"] if before and before["status"] == "True" else None
        found = [each for each in found if each["type"] != name]
        said = ("True", "ReplicaSetUpdated", f"{what} is progressing.")
        found = rollouts.set_condition(found, name, *said, now)
        found[-1]["lastTransitionTime"] = since or found[-1]["lastTransitionTime"]
        return found
    elif now >= (rollouts.deadline_of(deployment, found) or math.inf):
        said = ("False", "ProgressDeadlineExceeded", f"{what} has timed out progressing.")
    return found if said is None else rollouts.set_condition(found, name, *said, now)


def _is_over(progressing: Json | None, status: Json) -> bool:
    """A finished rollout stays finished while no pod of another template comes."""
    if progressing is None or progressing["reason"] != "NewReplicaSetAvailable":
        return False
    return bool(status.get("replicas", 0) == status.get("updatedReplicas", 0))
