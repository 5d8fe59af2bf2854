"""The scheduler and the kubelet of the simulated node: pods get a place, start, crash, end."""

import math
from collections.abc import Callable

from deployments.lab.kubernetes.behaviours import Behaviours
from deployments.lab.kubernetes.clock import Clock, stamp
from deployments.lab.kubernetes.containers import Container, State
from deployments.lab.kubernetes.documents import condition_of, is_active
from deployments.lab.kubernetes.events import Recorder
from deployments.lab.kubernetes.kinds import NODES, PODS, Json
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.pod_status import Place, status_of, unscheduled
from deployments.lab.kubernetes.quantities import amount, asked
from deployments.lab.kubernetes.store import Store

_BINDER = Writer("", "binding")
_KUBELET = Writer("kubelet", "status")
_SCHEDULER = Writer("kube-scheduler", "status")
_STOPS_IN = 1.0  # a process that heeds SIGTERM


class Kubelet:
    """Looks at all pods whenever something changed, and when a container's next step is due."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        recorder: Recorder,
        behaviours: Behaviours,
        wake: Callable[[float], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._behaviours = behaviours
        self._wake = wake
        self._running: dict[str, dict[str, Container]] = {}
        self._places: dict[str, Place] = {}
        self._placed = 0
        self._settled: dict[str, tuple[str, float]] = {}
        """By uid: the version at which nothing was left to do, and until when."""

    def look(self) -> None:
        """Bring every pod to where it is by now."""
        for pod in self._store.items(PODS):
            if "nodeName" in pod["spec"]:
                self._attend(pod)
            elif is_active(pod):
                self._schedule(pod)

    def containers(self, pod: Json) -> dict[str, Container]:
        """By name; empty while the pod has no node."""
        return self._running.get(pod["metadata"]["uid"], {})

    def stop(self, pod: Json, grace: float) -> None:
        """Delete a pod: marked now, gone when its processes are."""
        head = pod["metadata"]
        if grace == 0 or "nodeName" not in pod["spec"]:
            self._forget(head["namespace"], head["name"], head["uid"])
            return
        if "deletionTimestamp" in head:
            return
        now = self._clock.seconds()
        marked = self._store.edit(PODS, head["namespace"], head["name"])
        marked["metadata"]["deletionTimestamp"] = stamp(now + grace)
        marked["metadata"]["deletionGracePeriodSeconds"] = int(grace)
        self._store.update(PODS, marked, _BINDER)
        for name, container in self.containers(pod).items():
            if container.state is State.RUNNING:
                self._say(pod, "Killing", f"Stopping container {name}", name)
        self._clock.at(
            now + min(grace, _STOPS_IN),
            lambda: self._forget(head["namespace"], head["name"], head["uid"]),
        )
        self._wake(now + min(grace, _STOPS_IN))

    def look_again(self) -> None:
        """Programs behave differently now: whatever was settled is looked at once more."""
        self._settled.clear()

    def _forget(self, namespace: str, name: str, uid: str) -> None:
        found = self._store.find(PODS, namespace, name)
        if found is not None and found["metadata"]["uid"] == uid:
            self._store.remove(PODS, namespace, name)
        self._running.pop(uid, None)
        self._places.pop(uid, None)
        self._settled.pop(uid, None)

    def _schedule(self, pod: Json) -> None:
        container = pod["spec"]["containers"][0]
        why = self._behaviours.of(pod, container).pending
        node = None if why else self._node_for(pod)
        if node is None:
            nodes = self._store.items(NODES)
            why = why or f"0/{len(nodes)} nodes are available: {self._shortage(pod)}."
            scheduled = condition_of(pod, "PodScheduled")
            if scheduled is None or scheduled.get("message") != why:
                status = unscheduled(pod, why, self._clock.seconds())
                self._write(pod, status, _SCHEDULER)
                self._recorder.scheduled(pod, "FailedScheduling", why, warning=True)
            return
        head = pod["metadata"]
        bound = self._store.edit(PODS, head["namespace"], head["name"])
        bound["spec"]["nodeName"] = node
        pod = self._store.update(PODS, bound, _BINDER)
        text = f"Successfully assigned {head['namespace']}/{head['name']} to {node}"
        self._recorder.scheduled(pod, "Scheduled", text)
        self._attend(pod)

    def _node_for(self, pod: Json) -> str | None:
        for node in self._store.items(NODES):
            ready = condition_of(node, "Ready")
            if ready is None or ready["status"] != "True" or node["spec"].get("unschedulable"):
                continue
            if not self._lacking(pod, node):
                return str(node["metadata"]["name"])
        return None

    def _lacking(self, pod: Json, node: Json) -> list[str]:
        room: Json = node["status"]["allocatable"]
        placed = [
            each
            for each in self._store.items(PODS)
            if each["spec"].get("nodeName") == node["metadata"]["name"]
            and each.get("status", {}).get("phase") not in {"Failed", "Succeeded"}
        ]
        lacking = [
            f"Insufficient {what}"
            for what in ("cpu", "memory")
            if asked(pod, what) > 0
            and sum((asked(each, what) for each in placed), asked(pod, what)) > amount(room[what])
        ]
        return lacking or (["Too many pods"] if len(placed) >= int(room["pods"]) else [])

    def _shortage(self, pod: Json) -> str:
        found: dict[str, int] = {}
        for node in self._store.items(NODES):
            for each in self._lacking(pod, node) or ["node(s) were unschedulable"]:
                found[each] = found.get(each, 0) + 1
        return ", ".join(f"{count} {what}" for what, count in sorted(found.items()))

    def _attend(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        now = self._clock.seconds()
        if uid not in self._running:
            if "deletionTimestamp" in pod["metadata"]:
                return
            self._running[uid] = _created(pod, now)
            self._places[uid] = Place(f"10.244.{self._placed // 250}.{self._placed % 250 + 2}", now)
            self._placed += 1
        version, until = self._settled.get(uid, ("", 0.0))
        if "deletionTimestamp" in pod["metadata"] or (
            version == pod["metadata"]["resourceVersion"] and now < until
        ):
            return
        for spec in pod["spec"]["containers"]:
            container = self._running[uid][spec["name"]]
            container.image = spec["image"]
            how = self._behaviours.of(pod, spec)
            for _ in range(4):  # a step may make the next one due at once
                missing = spec["image"] in self._behaviours.missing
                for each in container.step(now, how, missing=missing):
                    self._say(pod, each.reason, each.message, spec["name"], warning=each.warning)
                if container.wake is None or container.wake > now:
                    break
            if container.wake is not None:
                self._wake(container.wake)
        known = list(self._running[uid].values())
        status = status_of(pod, known, self._places[uid], now)
        if status == pod.get("status"):
            until = min((each.wake for each in known if each.wake is not None), default=math.inf)
            self._settled[uid] = (pod["metadata"]["resourceVersion"], until)
        self._write(pod, status, _KUBELET)

    def _write(self, pod: Json, status: Json, writer: Writer) -> None:
        if status == pod.get("status"):
            return
        head = pod["metadata"]
        changed = self._store.edit(PODS, head["namespace"], head["name"])
        changed["status"] = status
        self._store.update(PODS, changed, writer)

    def _say(
        self, pod: Json, reason: str, message: str, container: str, *, warning: bool = False
    ) -> None:
        self._recorder.record(
            PODS,
            pod,
            reason,
            message,
            "kubelet",
            warning=warning,
            container=container,
            host=pod["spec"]["nodeName"],
        )


def _created(pod: Json, now: float) -> dict[str, Container]:
    head = pod["metadata"]
    return {
        spec["name"]: Container(
            spec["name"],
            spec["image"],
            spec["imagePullPolicy"],
            pod["spec"]["restartPolicy"] == "Always",
            now,
            f"{head['name']}_{head['namespace']}({head['uid']})",
        )
        for spec in pod["spec"]["containers"]
    }
