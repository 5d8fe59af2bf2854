"""metrics.k8s.io: what pods and the node use, as the metrics server tells it."""

from fractions import Fraction

from deployments.lab.kubernetes.behaviours import Behaviours
from deployments.lab.kubernetes.clock import Clock, stamp
from deployments.lab.kubernetes.containers import State
from deployments.lab.kubernetes.kinds import NODES, PODS, Json
from deployments.lab.kubernetes.kubelet import Kubelet
from deployments.lab.kubernetes.quantities import amount
from deployments.lab.kubernetes.store import Store

_FIRST_FIGURE = 15.0  # seconds of running before the first sample pair
_OWN_CPU, _OWN_MEMORY = Fraction(3, 10), 3 * 2**30
API_VERSION = "metrics.k8s.io/v1beta1"


class Usage:
    """Figures from the containers' behaviours; `present` False takes the API away."""

    def __init__(self, store: Store, clock: Clock, kubelet: Kubelet, how: Behaviours) -> None:
        self._store = store
        self._clock = clock
        self._kubelet = kubelet
        self._how = how
        self.present = True

    def pods(self, namespace: str = "") -> list[Json]:
        """PodMetrics of the pods that ran long enough to have any."""
        found = [self._of(each) for each in self._store.items(PODS, namespace)]
        return [each for each in found if each is not None]

    def nodes(self) -> list[Json]:
        """NodeMetrics: the pods and the system's own."""
        cpu, memory = _OWN_CPU, Fraction(_OWN_MEMORY)
        for pod in self.pods():
            for each in pod["containers"]:
                cpu += amount(each["usage"]["cpu"])
                memory += amount(each["usage"]["memory"])
        return [
            {
                "metadata": {
                    "name": each["metadata"]["name"],
                    "creationTimestamp": self._clock.stamp(),
                    "labels": each["metadata"]["labels"],
                },
                "timestamp": self._clock.stamp(),
                "window": "20.169s",
                "usage": {"cpu": _nano(cpu), "memory": f"{int(memory / 1024)}Ki"},
            }
            for each in self._store.items(NODES)
        ]

    def _of(self, pod: Json) -> Json | None:
        now = self._clock.seconds()
        known = self._kubelet.containers(pod)
        running = {name: each for name, each in known.items() if each.state is State.RUNNING}
        if len(running) < len(pod["spec"]["containers"]) or not running:
            return None
        if any(now - each.since < _FIRST_FIGURE for each in running.values()):
            return None
        head = pod["metadata"]
        made = {"name": head["name"], "namespace": head["namespace"]}
        made |= {"creationTimestamp": stamp(now), "labels": head.get("labels", {})}
        containers = []
        for spec in pod["spec"]["containers"]:
            how = self._how.of(pod, spec)
            usage = {"cpu": _nano(amount(how.cpu)), "memory": _kibi(amount(how.memory))}
            containers.append({"name": spec["name"], "usage": usage})
        return {
            "metadata": made,
            "timestamp": stamp(now - 1),
            "window": "14.996s",
            "containers": containers,
        }


def _nano(cores: Fraction) -> str:
    return f"{int(cores * 10**9)}n" if cores else "0"


def _kibi(size: Fraction) -> str:
    return f"{int(size / 1024)}Ki"
