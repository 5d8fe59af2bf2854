"""The status of a pod as the kubelet reports it, from what it knows of the containers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.lab.kubernetes.clock import stamp
from deployments.lab.kubernetes.containers import Container, State, terminated
from deployments.lab.kubernetes.documents import NODE_ADDRESS, condition_of
from deployments.lab.kubernetes.kinds import Json

_TYPES = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod runs and since when."""

    address: str
    started: float


def quality_of(pod: Json) -> str:
    """QosClass."""
    found = [each["resources"] for each in pod["spec"]["containers"]]
    if not any(each.get("requests") or each.get("limits") for each in found):
        return "BestEffort"
    even = all(
        each.get("limits", {}).get(what)
        and each.get("requests", each["limits"]).get(what) == each["limits"][what]
        for each in found
        for what in ("cpu", "memory")
    )
    return "Guaranteed" if even else "Burstable"


def unscheduled(pod: Json, why: str, now: float) -> Json:
    """Of a pod that no node takes."""
    status = {**pod["status"], "phase": "Pending", "qosClass": quality_of(pod)}
    condition = _condition(
        pod, "PodScheduled", "False", now, {"reason": "Unschedulable", "message": why}
    )
    return {**status, "conditions": [condition]}


def status_of(pod: Json, containers: Sequence[Container], place: Place, now: float) -> Json:
    """Of a pod on its node."""
    unready = [each.name for each in containers if not each.ready]
    finished = all(each.state is State.ENDED for each in containers)
    begun = any(each.identity for each in containers) or finished
    why: Json = {}
    if finished:
        why = {"reason": "PodCompleted"}
    elif unready:
        names = " ".join(unready)
        text = f"containers with unready status: [{names}]"
        why = {"reason": "ContainersNotReady", "message": text}
    made = begun or any(each.state is State.NO_IMAGE for each in containers)
    is_ready = "False" if unready else "True"
    values = {"PodReadyToStartContainers": "True" if made else "False", "Ready": is_ready}
    values["ContainersReady"] = is_ready
    addresses: Json = {"hostIP": NODE_ADDRESS, "hostIPs": [{"ip": NODE_ADDRESS}]}
    if made:
        addresses |= {"podIP": place.address, "podIPs": [{"ip": place.address}]}
    return {
        "observedGeneration": pod["metadata"]["generation"],
        "phase": _phase(containers),
        "conditions": [
            _condition(pod, name, values.get(name, "True"), now, why if "Ready" in name else {})
            if name != "PodReadyToStartContainers"
            else _condition(pod, name, values[name], now, {})
            for name in _TYPES
        ],
        **addresses,
        "startTime": stamp(place.started),
        "containerStatuses": [
            _container(each, spec)
            for each, spec in zip(containers, pod["spec"]["containers"], strict=True)
        ],
        "qosClass": quality_of(pod),
    }


def _phase(containers: Sequence[Container]) -> str:
    if all(each.state is State.ENDED for each in containers):
        good = all(each.last is not None and each.last.code == 0 for each in containers)
        return "Succeeded" if good else "Failed"
    waits = any(each.state in {State.CREATING, State.NO_IMAGE} for each in containers)
    return "Pending" if waits else "Running"


def _condition(pod: Json, name: str, value: str, now: float, why: Json) -> Json:
    before = condition_of(pod, name)
    since = stamp(now)
    if before is not None and before["status"] == value:
        since = before["lastTransitionTime"]
    return {
        "type": name,
        "observedGeneration": pod["metadata"]["generation"],
        "status": value,
        "lastProbeTime": None,
        "lastTransitionTime": since,
        **(why if value == "False" or "Completed" in why.get("reason", "") else {}),
    }


def _container(container: Container, spec: Json) -> Json:
    runs = container.state is State.RUNNING
    waiting = container.waiting()
    ended = None if container.last is None else {"terminated": terminated(container.last)}
    if waiting is not None:
        state: Json = {"waiting": waiting}
    elif runs:
        state = {"running": {"startedAt": stamp(container.since)}}
    else:
        state = ended or {}
    before = ended if ended is not None and container.state is not State.ENDED else {}
    status: Json = {
        "name": container.name,
        "state": state,
        "lastState": before,
        "ready": container.ready,
        "restartCount": container.restarts,
        "image": container.image,
        "imageID": f"sha256:{_digest(container.image)}" if container.identity else "",
    }
    if container.identity:
        status["containerID"] = container.identity
    status["started"] = runs
    if runs:
        if spec["resources"].get("requests"):
            status["allocatedResources"] = spec["resources"]["requests"]
        status["resources"] = spec["resources"]
    if spec.get("volumeMounts"):
        status["volumeMounts"] = spec["volumeMounts"]
    return status


def _digest(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()
