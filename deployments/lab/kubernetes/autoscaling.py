"""The controller of HorizontalPodAutoscalers: it has the last word on how many replicas run."""

import math
from collections.abc import Callable

from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.documents import is_active, is_ready
from deployments.lab.kubernetes.kinds import (
    AUTOSCALERS,
    DEPLOYMENTS,
    PODS,
    STATEFUL_SETS,
    Json,
)
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.quantities import amount as amount_of
from deployments.lab.kubernetes.quantities import asked
from deployments.lab.kubernetes.selectors import selects
from deployments.lab.kubernetes.store import Store
from deployments.lab.kubernetes.usage import Usage

_PERIOD = 15.0  # the controller manager's own
_TOLERANCE = 0.1
_WRITER = Writer("kube-controller-manager")
_STATUS = Writer("kube-controller-manager", "status")
_TARGETS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}


class Autoscalers:
    """Within minReplicas and maxReplicas, by CPU utilisation where it is asked for.

    Every `sync_seconds`, as --horizontal-pod-autoscaler-sync-period says. Simpler than the real
    one: no window of stabilisation, no other metric than CPU.
    """

    def __init__(
        self, store: Store, clock: Clock, usage: Usage, wake: Callable[[float], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._usage = usage
        self._wake = wake
        self._next = 0.0
        self.sync_seconds = _PERIOD

    def look(self) -> None:
        """At all of them, when it is time again."""
        scalers = self._store.items(AUTOSCALERS)
        now = self._clock.seconds()
        if not scalers:
            return
        if now >= self._next:
            self._next = now + self.sync_seconds
            for each in scalers:
                self._adjust(each)
        self._wake(self._next)

    def _adjust(self, scaler: Json) -> None:
        head, spec = scaler["metadata"], scaler["spec"]
        named = spec["scaleTargetRef"]
        kind = _TARGETS.get(named["kind"])
        if kind is None:
            return
        target = self._store.find(kind, head["namespace"], named["name"])
        if target is None:
            return
        current = target["spec"]["replicas"]
        used = self._utilisation(target)
        least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
        goal = _goal(spec)
        wanted = current
        if current and used is not None and goal and abs(used / goal - 1) > _TOLERANCE:
            wanted = math.ceil(current * used / goal)
        wanted = min(max(wanted, least), most) if current else 0
        if wanted != current:
            changed = self._store.edit(kind, head["namespace"], named["name"])
            changed["spec"]["replicas"] = wanted
            self._store.update(kind, changed, _WRITER)
        status: Json = {"currentReplicas": current, "desiredReplicas": wanted}
        if used is not None and goal:
            resource = {"name": "cpu", "current": {"averageUtilization": used}}
            status["currentMetrics"] = [{"type": "Resource", "resource": resource}]
        if status != scaler.get("status"):
            changed = self._store.edit(AUTOSCALERS, head["namespace"], head["name"])
            changed["status"] = status
            self._store.update(AUTOSCALERS, changed, _STATUS)

    def _utilisation(self, target: Json) -> int | None:
        """CPU in use, in per cent of what is requested; None without figures."""
        namespace = target["metadata"]["namespace"]
        selector = target["spec"]["selector"]
        figures = {each["metadata"]["name"]: each for each in self._usage.pods(namespace)}
        pods = [
            each
            for each in self._store.items(PODS, namespace)
            if is_active(each)
            and is_ready(each)
            and each["metadata"]["name"] in figures
            and selects(selector, each["metadata"].get("labels", {}))
        ]
        requested = sum(asked(each, "cpu") for each in pods)
        if not requested or not self._usage.present:
            return None
        used = sum(
            amount_of(container["usage"]["cpu"])
            for each in pods
            for container in figures[each["metadata"]["name"]]["containers"]
        )
        return round(100 * used / requested)


def _goal(spec: Json) -> int | None:
    for each in spec.get("metrics", []):
        resource = each.get("resource", {})
        if resource.get("name") == "cpu":
            found = resource.get("target", {}).get("averageUtilization")
            return None if found is None else int(found)
    return None
