"""Which pods may be restarted now: one after the other, within budgets and caps.

A pod that serves nobody may go at once; of the pods that serve, one at a time, and only while all
others are ready. A disruption budget is asked by the eviction itself as well: this is so that a
plan does not promise what the API server will refuse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor

from tasks.domain.errors import BadInput
from tasks.domain.pods import PodState
from tasks.domain.workloads import Pdb


@dataclass(frozen=True, slots=True)
class RestartCaps:
    """Pods of one workload that one remedy restarts: at most this share, and at most this many."""

    share: float
    number: int

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.number < 1:
            raise BadInput(
                f"expected a share up to 1 and a number of 1 or more, found {self.share} and "
                f"{self.number}"
            )

    def of(self, replicas: int) -> int:
        """Both caps together; a workload of one may always have its one pod restarted."""
        return min(self.number, max(1, floor(replicas * self.share)))


@dataclass(frozen=True, slots=True)
class Restarts:
    """Pods to restart in this order; `left_out` says of others why not."""

    pods: tuple[PodState, ...]
    left_out: tuple[str, ...] = ()


def choose_restarts(
    asked: Iterable[PodState], all_pods: Sequence[PodState], replicas: int, caps: RestartCaps
) -> Restarts:
    """Of the pods that a diagnosis names, those that may be restarted: unready ones first.

    Pods that nothing would make anew, and pods on their way out, are left out.
    """
    chosen: list[PodState] = []
    left_out: list[str] = []
    present = {each.uid for each in all_pods}
    for pod in sorted(asked, key=lambda each: (each.ready, each.name)):
        if pod.uid not in present or pod.deleting_since is not None:
            left_out.append(f"{pod.name} is gone or going already")
        elif pod.controller is None:
            left_out.append(f"{pod.name} has no controller: nothing would make it anew")
        elif len(chosen) >= caps.of(replicas):
            left_out.append(f"{pod.name}: the cap of {caps.of(replicas)} restarts is reached")
        else:
            chosen.append(pod)
    return Restarts(tuple(chosen), tuple(left_out))


def why_not_now(
    pod: PodState, all_pods: Sequence[PodState], replicas: int, pdbs: Iterable[Pdb]
) -> str:
    """What forbids restarting this pod at this moment; empty: nothing does."""
    for each in pdbs:
        if each.selector.matches(pod.labels) and (reason := _forbidden(pod, each)):
            return reason
    if not pod.ready:
        return ""
    others = sum(1 for each in all_pods if each.ready and each.uid != pod.uid)
    if others < replicas - 1:
        return f"only {others} of the other {replicas - 1} pods are ready: wait for them"
    return ""


def _forbidden(pod: PodState, pdb: Pdb) -> str:
    if not pdb.current:
        return f"the disruption budget {pdb.name} has not been worked out yet"
    if pod.ready:
        allowed = pdb.disruptions_allowed > 0
        return "" if allowed else f"the disruption budget {pdb.name} allows none now"
    # An unready pod counts against nobody, but by default it may go only while the rest suffices.
    if pdb.always_unhealthy or pdb.healthy >= pdb.desired_healthy or pdb.disruptions_allowed:
        return ""
    return f"the disruption budget {pdb.name} wants {pdb.desired_healthy} healthy pods first"
