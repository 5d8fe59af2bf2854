"""How many more pods of a template fit: into the quotas of a namespace, and onto the nodes.

The scheduler goes by requests, not by usage, so that is what is counted. Affinity, spreading and
volumes are not looked at: a bound here is an upper one, and whether the pods really start is
watched afterwards.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from tasks.domain.pods import Node, PodState
from tasks.domain.workloads import Quota, Template

MANY = 10**6
"""More than any bound: what is not declared is not counted."""

_NANO = 10**9
_ENDED = frozenset({"Succeeded", "Failed"})


def fit_in_quota(quota: Quota, template: Template) -> int:
    """More pods that a quota leaves room for; 0 when it counts what the template leaves out."""
    needs = template.resources
    costs = {
        "pods": Fraction(1),
        "count/pods": Fraction(1),
        "cpu": _cores(needs.cpu_request),
        "requests.cpu": _cores(needs.cpu_request),
        "memory": _pieces(needs.memory_request),
        "requests.memory": _pieces(needs.memory_request),
        "limits.cpu": _cores(needs.cpu_limit),
        "limits.memory": _pieces(needs.memory_limit),
    }
    rooms = [MANY]
    for name, hard in quota.hard.items():
        if name not in costs:
            continue
        cost = costs[name]
        left = hard - quota.used.get(name, Fraction(0))
        if cost is None or left <= 0:
            rooms.append(0)  # the API server refuses pods that do not declare it
        elif cost:
            rooms.append(left // cost)
    return min(rooms)


def fit_on_nodes(nodes: Sequence[Node], pods: Iterable[PodState], template: Template) -> int:
    """More pods that the nodes have room for; `pods` are all that run on them, of any namespace.

    Pods that wait for a node yet are counted against the sum.
    """
    selector = _node_selector(template)
    chosen = {each.name: each for each in nodes if each.takes_pods and _chosen(each, selector)}
    cpu = {name: each.cpu for name, each in chosen.items()}
    memory = {name: each.memory for name, each in chosen.items()}
    slots = {name: each.pods for name, each in chosen.items()}
    waiting = 0
    for pod in pods:
        if pod.phase in _ENDED:
            continue
        if not pod.node:
            waiting += 1
        elif pod.node in chosen:
            cpu[pod.node] -= pod.resources.cpu_request or 0
            memory[pod.node] -= pod.resources.memory_request or 0
            slots[pod.node] -= 1
    each_cpu, each_memory = template.resources.cpu_request, template.resources.memory_request
    room = sum(
        max(0, min(slots[name], _times(cpu[name], each_cpu), _times(memory[name], each_memory)))
        for name in chosen
    )
    return max(0, room - waiting)


def _node_selector(template: Template) -> dict[str, str]:
    spec = template.content.get("spec")
    wanted = spec.get("nodeSelector") if isinstance(spec, dict) else None
    return dict(wanted) if isinstance(wanted, dict) else {}


def _chosen(node: Node, selector: dict[str, str]) -> bool:
    return all(node.labels.get(key) == text for key, text in selector.items())


def _times(left: int, each: int | None) -> int:
    return left // each if each else MANY


def _cores(nano: int | None) -> Fraction | None:
    return None if nano is None else Fraction(nano, _NANO)


def _pieces(number: int | None) -> Fraction | None:
    return None if number is None else Fraction(number)
