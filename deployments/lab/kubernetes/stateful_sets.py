"""The controller of StatefulSets: numbered pods in order, and a ControllerRevision per template."""

from collections.abc import Callable

from deployments.lab.kubernetes.documents import (
    hash_of,
    is_owned_by,
    is_ready,
    owned_by,
    pod_of,
)
from deployments.lab.kubernetes.events import Recorder
from deployments.lab.kubernetes.kinds import CONTROLLER_REVISIONS, PODS, STATEFUL_SETS, Json
from deployments.lab.kubernetes.refusals import Refusal
from deployments.lab.kubernetes.replica_sets import CONTROLLER, CONTROLLER_STATUS, Admission
from deployments.lab.kubernetes.store import Store

_REVISION = "controller-revision-hash"
_INDEX = "apps.kubernetes.io/pod-index"
_POD_NAME = "statefulset.kubernetes.io/pod-name"


class StatefulSets:
    """Level-triggered, OrderedReady: one pod at a time, the next when all before it are ready."""

    def __init__(
        self, store: Store, recorder: Recorder, create: Admission, stop: Callable[[Json], None]
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._create = create
        self._stop = stop

    def look(self) -> None:
        """At all of them."""
        for each in self._store.items(STATEFUL_SETS):
            revision = self._revision(each)
            current = each.get("status", {}).get("currentRevision", revision)
            pods = self._pods(each)
            self._step(each, pods, current, revision)
            self._report(each, self._pods(each), current, revision)

    def _pods(self, owner: Json) -> dict[int, Json]:
        found = self._store.items(PODS, owner["metadata"]["namespace"])
        return {
            int(each["metadata"]["name"].rpartition("-")[2]): each
            for each in found
            if is_owned_by(each, owner)
        }

    def _revision(self, owner: Json) -> str:
        """The name of the present template's ControllerRevision, made or renumbered if need be."""
        head = owner["metadata"]
        template = owner["spec"]["template"]
        data = {"spec": {"template": {**template, "$patch": "replace"}}}
        kept = [
            each
            for each in self._store.items(CONTROLLER_REVISIONS, head["namespace"])
            if is_owned_by(each, owner)
        ]
        latest = max((each["revision"] for each in kept), default=0)
        same = next((each for each in kept if each["data"] == data), None)
        if same is not None:
            if same["revision"] < latest:
                changed = self._store.edit(
                    CONTROLLER_REVISIONS, head["namespace"], same["metadata"]["name"]
                )
                changed["revision"] = latest + 1
                self._store.update(CONTROLLER_REVISIONS, changed, CONTROLLER)
            return str(same["metadata"]["name"])
        name = hash_of(template)
        labels = {**template["metadata"].get("labels", {}), _REVISION: name}
        made = {
            "metadata": {
                "name": f"{head['name']}-{name}",
                "namespace": head["namespace"],
                "labels": labels,
                "ownerReferences": owned_by(STATEFUL_SETS, owner),
            },
            "data": data,
            "revision": latest + 1,
        }
        found = self._store.create(CONTROLLER_REVISIONS, made, CONTROLLER)
        return str(found["metadata"]["name"])

    def _step(self, owner: Json, pods: dict[int, Json], current: str, revision: str) -> None:
        if any("deletionTimestamp" in each["metadata"] for each in pods.values()):
            return
        wanted = owner["spec"]["replicas"]
        partition = owner["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
        for number in range(wanted):
            pod = pods.get(number)
            if pod is None:
                self._add(owner, number, revision if number >= partition else current)
                return
            if not is_ready(pod):  # of an older revision too: only a deletion helps a broken one
                return
        for number in sorted(pods, reverse=True):
            if number >= wanted:
                self._end(owner, pods[number])
                return
        if owner["spec"]["updateStrategy"]["type"] == "OnDelete":
            return
        for number in sorted(pods, reverse=True):
            if number >= partition and _revision_of(pods[number]) != revision:
                self._end(owner, pods[number])
                return

    def _add(self, owner: Json, number: int, revision: str) -> None:
        head = owner["metadata"]
        name = f"{head['name']}-{number}"
        content = self._store.get(CONTROLLER_REVISIONS, head["namespace"], revision)["data"]
        template = {k: v for k, v in content["spec"]["template"].items() if k != "$patch"}
        pod = pod_of(
            template,
            {
                "name": name,
                "generateName": f"{head['name']}-",
                "namespace": head["namespace"],
                "ownerReferences": owned_by(STATEFUL_SETS, owner),
            },
        )
        pod["metadata"]["labels"] |= {_INDEX: str(number), _REVISION: revision, _POD_NAME: name}
        pod["spec"] |= {"hostname": name, "subdomain": owner["spec"].get("serviceName", "")}
        try:
            self._create(pod, CONTROLLER)
        except Refusal as refused:
            text = f"create Pod {name} in StatefulSet {head['name']} failed error: {refused}"
            self._say(owner, "FailedCreate", text, warning=True)
            return
        text = f"create Pod {name} in StatefulSet {head['name']} successful"
        self._say(owner, "SuccessfulCreate", text)

    def _end(self, owner: Json, pod: Json) -> None:
        self._stop(pod)
        name = pod["metadata"]["name"]
        text = f"delete Pod {name} in StatefulSet {owner['metadata']['name']} successful"
        self._say(owner, "SuccessfulDelete", text)

    def _report(self, owner: Json, pods: dict[int, Json], current: str, revision: str) -> None:
        head = owner["metadata"]
        ready = sum(is_ready(each) for each in pods.values())
        updated = sum(_revision_of(each) == revision for each in pods.values())
        if updated == ready == owner["spec"]["replicas"] == len(pods):
            current = revision
        status = {
            "observedGeneration": head["generation"],
            "replicas": len(pods),
            "readyReplicas": ready,
            "currentReplicas": sum(_revision_of(each) == current for each in pods.values()),
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
            "availableReplicas": ready,
        }
        optional = {"readyReplicas", "currentReplicas", "updatedReplicas"}
        status = {key: value for key, value in status.items() if value or key not in optional}
        if status != owner.get("status"):
            changed = self._store.edit(STATEFUL_SETS, head["namespace"], head["name"])
            changed["status"] = status
            self._store.update(STATEFUL_SETS, changed, CONTROLLER_STATUS)

    def _say(self, about: Json, reason: str, message: str, *, warning: bool = False) -> None:
        self._recorder.record(
            STATEFUL_SETS, about, reason, message, "statefulset-controller", warning=warning
        )


def _revision_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"][_REVISION])
