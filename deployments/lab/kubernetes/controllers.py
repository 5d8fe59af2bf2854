"""All controllers together: after each change they work until there is nothing left to do."""

from dataclasses import dataclass, field

from deployments.lab.kubernetes.autoscaling import Autoscalers
from deployments.lab.kubernetes.behaviours import Behaviours
from deployments.lab.kubernetes.budgets import Budgets
from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.deployment_controller import Deployments
from deployments.lab.kubernetes.documents import completed
from deployments.lab.kubernetes.events import Recorder
from deployments.lab.kubernetes.kinds import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Json,
)
from deployments.lab.kubernetes.kubelet import Kubelet
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.pod_status import quality_of
from deployments.lab.kubernetes.quotas import Quotas, Volumes
from deployments.lab.kubernetes.replica_sets import ReplicaSets
from deployments.lab.kubernetes.stateful_sets import StatefulSets
from deployments.lab.kubernetes.store import Store
from deployments.lab.kubernetes.usage import Usage

_MOST_ROUNDS = 500
_OWNERS = {each.kind: each for each in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS)}


@dataclass
class Controllers:
    """kube-controller-manager, scheduler and kubelet in one; `paused` stops them all."""

    store: Store
    clock: Clock
    behaviours: Behaviours
    paused: bool = False
    _due: set[float] = field(default_factory=set)

    def __post_init__(self) -> None:
        store, clock = self.store, self.clock
        self.recorder = Recorder(store, clock)
        self.kubelet = Kubelet(store, clock, self.recorder, self.behaviours, self._wake)
        self.usage = Usage(store, clock, self.kubelet, self.behaviours)
        self.budgets = Budgets(store, clock)
        self.quotas = Quotas(store)
        self.volumes = Volumes(store, clock)
        self.autoscalers = Autoscalers(store, clock, self.usage, self._wake)
        stop = self.stop
        self._all = (
            Deployments(store, clock, self.recorder, self._wake),
            ReplicaSets(store, clock, self.recorder, self.admit, stop, self._wake),
            StatefulSets(store, self.recorder, self.admit, stop),
            self.kubelet,
            self.budgets,
            self.quotas,
            self.volumes,
            self.autoscalers,
        )

    def settle(self) -> None:
        """Until nothing changes any more at this moment."""
        if self.paused:
            return
        for _ in range(_MOST_ROUNDS):
            before = self.store.version
            self._collect()
            for each in self._all:
                each.look()
            if self.store.version == before:
                return
        raise RuntimeError("expected the controllers to come to rest, found that they do not")

    def admit(self, pod: Json, writer: Writer, *, dry: bool = False) -> Json:
        """Make a pod. Raises the 403 of a quota."""
        pod = completed(PODS, pod)
        self.quotas.admit(pod)
        pod["status"] = {"phase": "Pending", "qosClass": quality_of(pod)}
        return self.store.create(PODS, pod, writer, dry=dry)

    def stop(self, pod: Json, grace: float | None = None) -> None:
        """Delete a pod within its own time."""
        own = float(pod["spec"]["terminationGracePeriodSeconds"])
        self.kubelet.stop(pod, own if grace is None else grace)

    def _collect(self) -> None:
        """The garbage: what belonged to an object that is gone."""
        for kind in (REPLICA_SETS, CONTROLLER_REVISIONS, PODS):
            for each in self.store.items(kind):
                head = each["metadata"]
                owners = head.get("ownerReferences", [])
                if not owners or any(self._is_there(head["namespace"], ref) for ref in owners):
                    continue
                if kind is PODS:
                    self.stop(each)
                else:
                    self.store.remove(kind, head["namespace"], head["name"])

    def _is_there(self, namespace: str, reference: Json) -> bool:
        kind = _OWNERS.get(reference["kind"])
        if kind is None:
            return True
        found = self.store.find(kind, namespace, reference["name"])
        return found is not None and found["metadata"]["uid"] == reference["uid"]

    def _wake(self, due: float) -> None:
        if due in self._due:
            return
        self._due.add(due)

        def look() -> None:
            self._due.discard(due)
            self.settle()

        self.clock.at(due, look)
