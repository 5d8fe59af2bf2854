"""The controller of ReplicaSets: as many pods as asked for, and what became of them."""

from collections.abc import Callable

from deployments.lab.kubernetes.clock import Clock, seconds_of
from deployments.lab.kubernetes.documents import (
    condition_of,
    is_active,
    is_owned_by,
    is_ready,
    owned_by,
    pod_of,
    suffix,
)
from deployments.lab.kubernetes.events import Recorder
from deployments.lab.kubernetes.kinds import PODS, REPLICA_SETS, Json
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.refusals import Refusal
from deployments.lab.kubernetes.store import Store

CONTROLLER = Writer("kube-controller-manager")
CONTROLLER_STATUS = Writer("kube-controller-manager", "status")


Admission = Callable[[Json, Writer], Json]
"""Makes a pod, with defaults and quota. Raises Refusal."""


class ReplicaSets:
    """Level-triggered: `look` compares what is with what should be, and takes a step."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        recorder: Recorder,
        create: Admission,
        stop: Callable[[Json], None],
        wake: Callable[[float], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._create = create
        self._stop = stop
        self._wake = wake

    def look(self) -> None:
        """At all of them."""
        for each in self._store.items(REPLICA_SETS):
            self._keep(each)

    def _keep(self, replica_set: Json) -> None:
        namespace = replica_set["metadata"]["namespace"]
        pods = [
            each
            for each in self._store.items(PODS, namespace)
            if is_owned_by(each, replica_set) and is_active(each)
        ]
        wanted = replica_set["spec"]["replicas"]
        failure = ""
        for _ in range(wanted - len(pods)):
            failure = self._add(replica_set)
            if failure:
                break
        for each in sorted(pods, key=_worth)[: max(len(pods) - wanted, 0)]:
            self._stop(each)
            text = f"Deleted pod: {each['metadata']['name']}"
            self._say(replica_set, "SuccessfulDelete", text)
        self._report(replica_set, failure)

    def _add(self, replica_set: Json) -> str:
        name = replica_set["metadata"]["name"]
        head = {
            "name": f"{name}-{suffix()}",
            "generateName": f"{name}-",
            "namespace": replica_set["metadata"]["namespace"],
            "ownerReferences": owned_by(REPLICA_SETS, replica_set),
        }
        try:
            made = self._create(pod_of(replica_set["spec"]["template"], head), CONTROLLER)
        except Refusal as refused:
            return str(refused)
        self._say(replica_set, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return ""

    def _report(self, replica_set: Json, failure: str) -> None:
        head = replica_set["metadata"]
        pods = [
            each
            for each in self._store.items(PODS, head["namespace"])
            if is_owned_by(each, replica_set) and is_active(each)
        ]
        needed = replica_set["spec"].get("minReadySeconds", 0)
        labels = replica_set["spec"]["template"]["metadata"]["labels"].items()
        counts = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(
                labels <= each["metadata"].get("labels", {}).items() for each in pods
            ),
            "readyReplicas": sum(is_ready(each) for each in pods),
            "availableReplicas": sum(self._is_available(each, needed) for each in pods),
        }
        status = {key: value for key, value in counts.items() if value or key == "replicas"}
        status["observedGeneration"] = head["generation"]
        before = condition_of(replica_set, "ReplicaFailure")
        if failure:
            if before is None or before["reason"] != "FailedCreate":
                self._say(replica_set, "FailedCreate", f"Error creating: {failure}", warning=True)
                before = {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "lastTransitionTime": self._clock.stamp(),
                    "reason": "FailedCreate",
                    "message": failure,
                }
            status["conditions"] = [before]
        if status != replica_set.get("status"):
            changed = self._store.edit(REPLICA_SETS, head["namespace"], head["name"])
            changed["status"] = status
            self._store.update(REPLICA_SETS, changed, CONTROLLER_STATUS)

    def _is_available(self, pod: Json, needed: int) -> bool:
        ready = condition_of(pod, "Ready")
        if ready is None or ready["status"] != "True":
            return False
        due = seconds_of(ready["lastTransitionTime"]) + needed
        if due > self._clock.seconds():
            self._wake(due)
        return due <= self._clock.seconds()

    def _say(self, about: Json, reason: str, message: str, *, warning: bool = False) -> None:
        self._recorder.record(
            REPLICA_SETS, about, reason, message, "replicaset-controller", warning=warning
        )


def _worth(pod: Json) -> tuple[bool, bool, bool, float]:
    """What goes first when there are too many: without node, pending, not ready, the youngest."""
    return (
        "nodeName" in pod["spec"],
        pod.get("status", {}).get("phase") == "Running",
        is_ready(pod),
        -seconds_of(pod["metadata"]["creationTimestamp"]),
    )
