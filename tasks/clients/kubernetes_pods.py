"""Pods: their state, logs, events and usage, and the eviction that restarts one within budgets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.clients.errors import NotFound
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_refusals import Rejected, Resource
from tasks.clients.kubernetes_workloads import read
from tasks.domain.pod_reading import read_event, read_node_usage, read_pod, read_pod_usage
from tasks.domain.pods import Event, NodeUsage, PodState, PodUsage, Stage
from tasks.domain.selectors import Selector

_METRICS = "metrics.k8s.io"
_LOG_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ContainerLog:
    """The last lines of one container; hostile text, and not redacted yet.

    `previous`: of the process before this one. `absent` says why there is no text, and is empty
    when there is one (which may be empty).
    """

    pod: str
    container: str
    previous: bool
    text: str
    absent: str = ""


def pods(api: Api, selector: Selector | None = None) -> list[PodState]:
    """Those of the namespace that a selector means; without one, all."""
    params = {"labelSelector": selector.query} if selector else {}
    found = api.listed(api.here("pods"), "PodList", params)
    return [read(each, read_pod) for each in found.items]


def pods_everywhere(api: Api) -> list[PodState]:
    """Those of every namespace: what the nodes' room is counted against."""
    found = api.listed(Resource("pods"), "PodList")
    return [read(each, read_pod) for each in found.items]


def pod(api: Api, name: str) -> PodState:
    """One by its name; NotFound when there is none."""
    return read(api.read(api.here("pods", name), "Pod"), read_pod)


def log(
    api: Api,
    pod_name: str,
    container: str,
    *,
    lines: int,
    previous: bool = False,
    limit: int = _LOG_BYTES,
) -> ContainerLog:
    """At most so many last lines, and of them at most `limit` bytes, the first ones.

    A container that has not begun, or has no process before this one, is an answer (`absent`).
    """
    wanted = {
        "container": container,
        "tailLines": str(lines),
        "limitBytes": str(limit),
        "timestamps": "true",
    } | ({"previous": "true"} if previous else {})
    try:
        body = api.text(api.here("pods", pod_name, part="log"), wanted, limit)
    except (Rejected, NotFound) as error:
        return ContainerLog(pod_name, container, previous, "", str(error))
    return ContainerLog(pod_name, container, previous, body.decode("utf-8", "replace"))


def logs(api: Api, of: Iterable[PodState], *, lines: int) -> Iterator[ContainerLog]:
    """Of every container that has run, and of the process before where one has ended.

    Logs know no selector: the pods are listed before.
    """
    for each in of:
        for container in each.containers:
            if container.stage is not Stage.WAITING or container.last is not None:
                yield log(api, each.name, container.name, lines=lines)
            if container.last is not None:
                yield log(api, each.name, container.name, lines=lines, previous=True)


def events(api: Api) -> list[Event]:
    """Of the namespace, oldest first; the API keeps them for an hour or so."""
    found = api.listed(api.here("events"), "EventList")
    listed = [read(each, read_event) for each in found.items]
    return sorted(listed, key=lambda each: each.last_at.timestamp() if each.last_at else 0.0)


def pod_usage(api: Api) -> list[PodUsage]:
    """`kubectl top pods`; NotFound where no metrics server is installed.

    A new pod is not in it for its first minute.
    """
    found = api.listed(api.here("pods", group=_METRICS, version="v1beta1"), "PodMetricsList")
    return [read(each, read_pod_usage) for each in found.items]


def node_usage(api: Api) -> list[NodeUsage]:
    """`kubectl top nodes`; NotFound where no metrics server is installed."""
    found = api.listed(Resource("nodes", _METRICS, "v1beta1"), "NodeMetricsList")
    return [read(each, read_node_usage) for each in found.items]


def evict(api: Api, victim: PodState, *, dry_run: bool) -> None:
    """End this very pod (by its uid), if the budgets allow it; its controller makes a new one.

    Raises BudgetSpent when a budget forbids it now, Conflict when the name belongs to a newer pod,
    NotFound when it is gone.
    """
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": victim.name, "namespace": api.namespace},
        "deleteOptions": {"preconditions": {"uid": victim.uid}},
    }
    api.create(api.here("pods", victim.name, part="eviction"), body, dry_run=dry_run)
