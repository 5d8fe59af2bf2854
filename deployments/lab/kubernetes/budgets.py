"""Disruption budgets: how many pods may go, and evictions that keep to it."""

import math

from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.documents import is_active, is_ready
from deployments.lab.kubernetes.kinds import (
    BUDGETS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Json,
)
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.refusals import Refusal, refusal
from deployments.lab.kubernetes.selectors import selects
from deployments.lab.kubernetes.store import Store

_WRITER = Writer("kube-controller-manager", "status")
_OWNERS = {each.kind: each for each in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS)}


class Budgets:
    """Keeps the status of every PodDisruptionBudget."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def look(self) -> None:
        """At all of them."""
        for each in self._store.items(BUDGETS):
            head = each["metadata"]
            pods = self._pods(each)
            expected = self._expected(pods)
            healthy = sum(is_ready(pod) for pod in pods)
            wanted = _wanted(each["spec"], expected)
            allowed = max(healthy - wanted, 0) if expected else 0
            status = {
                "disruptionsAllowed": allowed,
                "currentHealthy": healthy,
                "desiredHealthy": wanted,
                "expectedPods": expected,
                "observedGeneration": head["generation"],
            }
            before = each.get("status", {})
            if all(before.get(key) == value for key, value in status.items()):
                continue
            reason = "SufficientPods" if allowed else "InsufficientPods"
            condition = {
                "type": "DisruptionAllowed",
                "status": "True" if allowed else "False",
                "observedGeneration": head["generation"],
                "lastTransitionTime": self._clock.stamp(),
                "reason": reason,
                "message": "",
            }
            changed = self._store.edit(BUDGETS, head["namespace"], head["name"])
            changed["status"] = {**status, "conditions": [condition]}
            self._store.update(BUDGETS, changed, _WRITER)

    def refusal_of(self, pod: Json) -> Refusal | None:
        """Why a pod may not be evicted now; None when it may."""
        if pod.get("status", {}).get("phase") != "Running":
            return None  # what has not begun, or has ended, serves nobody
        head = pod["metadata"]
        over = [
            each
            for each in self._store.items(BUDGETS, head["namespace"])
            if selects(each["spec"].get("selector"), head.get("labels", {}))
        ]
        if len(over) > 1:
            text = "This pod has more than one PodDisruptionBudget, which the eviction subresource"
            return refusal(500, f"{text} does not support.")
        if not over or over[0].get("status", {}).get("disruptionsAllowed", 0) > 0:
            return None
        if not is_ready(pod) and _lets_unhealthy_go(over[0]):
            return None
        name, status = over[0]["metadata"]["name"], over[0].get("status", {})
        why = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
        return refusal(
            429,
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {"causes": [{"reason": "DisruptionBudget", "message": why}]},
        )

    def _pods(self, budget: Json) -> list[Json]:
        return [
            each
            for each in self._store.items(PODS, budget["metadata"]["namespace"])
            if is_active(each)
            and selects(budget["spec"].get("selector"), each["metadata"].get("labels", {}))
        ]

    def _expected(self, pods: list[Json]) -> int:
        """What the pods' controllers mean to have; pods without one count as they are."""
        sizes: dict[str, int] = {}
        alone = 0
        for pod in pods:
            owner = self._root(pod)
            if owner is None:
                alone += 1
            else:
                sizes[owner["metadata"]["uid"]] = owner["spec"]["replicas"]
        return sum(sizes.values()) + alone

    def _root(self, item: Json) -> Json | None:
        references = item["metadata"].get("ownerReferences", [])
        named = next((each for each in references if each.get("controller")), None)
        if named is None or named["kind"] not in _OWNERS:
            return None
        namespace = item["metadata"]["namespace"]
        owner = self._store.find(_OWNERS[named["kind"]], namespace, named["name"])
        return None if owner is None else self._root(owner) or owner


def _lets_unhealthy_go(budget: Json) -> bool:
    """By default only while the others suffice; else a pod that is not ready yet could be one."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status", {})
    wanted = status.get("desiredHealthy", 0)
    return bool(0 < wanted <= status.get("currentHealthy", 0))


def _wanted(spec: Json, expected: int) -> int:
    if "maxUnavailable" in spec:
        return max(expected - _share(spec["maxUnavailable"], expected), 0)
    return _share(spec.get("minAvailable", 0), expected)


def _share(value: int | str, whole: int) -> int:
    if isinstance(value, int):
        return value
    return math.ceil(int(value.rstrip("%")) * whole / 100)
