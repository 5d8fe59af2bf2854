"""The API's JSON of pods, events, nodes and metrics, read into values. Raises BadInput."""

from collections.abc import Iterable, Iterator

from tasks.domain.json_fields import Fields
from tasks.domain.pods import (
    Condition,
    ContainerState,
    Ended,
    Event,
    Node,
    NodeUsage,
    Owner,
    PodState,
    PodUsage,
    Resources,
    Stage,
    Usage,
)
from tasks.domain.quantities import nanocores, whole

_CONTAINERS = 64
_CONDITIONS = 64
_OWNERS = 32
_TAINTS = 64
_MESSAGE = 400
_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def read_pod(value: object) -> PodState:
    """From a Pod."""
    pod = Fields.of("pod", value)
    metadata, spec, status = pod.within("metadata"), pod.within("spec"), pod.within("status")
    conditions = {each.type: each for each in read_conditions(status)}
    scheduled = conditions.get("PodScheduled")
    ready = conditions.get("Ready")
    return PodState(
        namespace=metadata.exact("namespace"),
        name=metadata.exact("name"),
        uid=metadata.exact("uid"),
        resource_version=metadata.exact("resourceVersion"),
        phase=status.text("phase", 40),
        reason=status.text("reason", 100),
        message=status.text("message", _MESSAGE),
        node=spec.exact("nodeName"),
        ready=ready is not None and ready.status == "True",
        unschedulable=scheduled.message if scheduled and scheduled.status == "False" else "",
        created_at=metadata.moment("creationTimestamp"),
        deleting_since=metadata.moment("deletionTimestamp"),
        labels=metadata.pairs("labels"),
        owners=read_owners(metadata),
        containers=tuple(_containers(spec, status)),
        resources=pod_resources(spec),
    )


def read_conditions(status: Fields) -> tuple[Condition, ...]:
    """`conditions` of any status."""
    return tuple(
        Condition(
            type=each.text("type", 100),
            status=each.text("status", 20),
            reason=each.text("reason", 100),
            message=each.text("message", _MESSAGE),
            changed_at=each.moment("lastTransitionTime"),
        )
        for each in status.each("conditions", _CONDITIONS)
    )


def read_owners(metadata: Fields) -> tuple[Owner, ...]:
    """`ownerReferences` of any object."""
    return tuple(
        Owner(each.exact("kind"), each.exact("name"), each.exact("uid"), each.flag("controller"))
        for each in metadata.each("ownerReferences", _OWNERS)
    )


def read_resources(container: Fields) -> Resources:
    """Requests and limits of one container."""
    requests = container.within("resources").pairs("requests")
    limits = container.within("resources").pairs("limits")
    return Resources(
        cpu_request=nanocores(requests["cpu"]) if "cpu" in requests else None,
        memory_request=whole(requests["memory"]) if "memory" in requests else None,
        cpu_limit=nanocores(limits["cpu"]) if "cpu" in limits else None,
        memory_limit=whole(limits["memory"]) if "memory" in limits else None,
    )


def read_probes(container: Fields) -> tuple[str, ...]:
    """Which probes a container declares."""
    return tuple(name.removesuffix("Probe") for name in _PROBES if container.has(name))


def pod_resources(spec: Fields) -> Resources:
    """What the scheduler counts for a pod: all containers together, or the largest init container.

    None where no container declares any. Init containers that go on beside the others (restart
    policy Always) count with them.
    """
    together = [read_resources(each) for each in spec.each("containers", _CONTAINERS)]
    first: list[Resources] = []
    for each in spec.each("initContainers", _CONTAINERS):
        stays = each.text("restartPolicy") == "Always"
        (together if stays else first).append(read_resources(each))
    return Resources(
        *(
            _counted((getattr(each, name) for each in together), (getattr(x, name) for x in first))
            for name in Resources.__slots__
        )
    )


def _counted(together: Iterable[int | None], first: Iterable[int | None]) -> int | None:
    running = [each for each in together if each is not None]
    before = [each for each in first if each is not None]
    return max(sum(running), *before, 0) if running or before else None


def _containers(spec: Fields, status: Fields) -> Iterator[ContainerState]:
    """Every container that is declared, whether a kubelet has spoken of it or not."""
    for declared_in, said_in, init in (
        ("initContainers", "initContainerStatuses", True),
        ("containers", "containerStatuses", False),
    ):
        said = {each.exact("name"): each for each in status.each(said_in, _CONTAINERS)}
        for declared in spec.each(declared_in, _CONTAINERS):
            name = declared.exact("name")
            known = said.get(name, Fields(f"{declared.where}.status", {}))
            yield _container(declared, known, name, init=init)


def _container(declared: Fields, said: Fields, name: str, *, init: bool) -> ContainerState:
    state = said.within("state")
    stage = next((each for each in Stage if state.has(each.value)), Stage.UNKNOWN)
    now = state.within(stage.value)
    return ContainerState(
        name=name,
        image=declared.text("image"),
        init=init,
        ready=said.flag("ready"),
        restarts=said.number("restartCount"),
        stage=stage,
        reason=now.text("reason", 100),
        message=now.text("message", _MESSAGE),
        started_at=now.moment("startedAt"),
        ended=_ended(now) if stage is Stage.TERMINATED else None,
        last=_last(said),
        resources=read_resources(declared),
        probes=read_probes(declared),
    )


def _last(said: Fields) -> Ended | None:
    before = said.within("lastState")
    return _ended(before.within("terminated")) if before.has("terminated") else None


def _ended(terminated: Fields) -> Ended:
    return Ended(
        reason=terminated.text("reason", 100),
        exit_code=terminated.number("exitCode"),
        message=terminated.text("message", _MESSAGE),
        started_at=terminated.moment("startedAt"),
        finished_at=terminated.moment("finishedAt"),
    )


def read_event(value: object) -> Event:
    """From an Event of v1: older reporters fill the timestamps, newer ones eventTime and series."""
    event = Fields.of("event", value)
    about, series = event.within("involvedObject"), event.within("series")
    at = event.moment("eventTime") or event.within("metadata").moment("creationTimestamp")
    return Event(
        kind=about.text("kind", 100),
        name=about.text("name", 253),
        uid=about.exact("uid"),
        warning=event.text("type", 20) == "Warning",
        reason=event.text("reason", 100),
        message=event.text("message", _MESSAGE),
        count=max(event.number("count"), series.number("count"), 1),
        first_at=event.moment("firstTimestamp") or at,
        last_at=series.moment("lastObservedTime") or event.moment("lastTimestamp") or at,
        component=event.text("reportingComponent", 100)
        or event.within("source").text("component", 100),
    )


def read_pod_usage(value: object) -> PodUsage:
    """From a PodMetrics of metrics.k8s.io/v1beta1."""
    usage = Fields.of("pod metrics", value)
    metadata = usage.within("metadata")
    return PodUsage(
        namespace=metadata.exact("namespace"),
        name=metadata.exact("name"),
        at=usage.moment("timestamp"),
        containers={
            each.text("name", 63): _usage(each) for each in usage.each("containers", _CONTAINERS)
        },
    )


def read_node_usage(value: object) -> NodeUsage:
    """From a NodeMetrics of metrics.k8s.io/v1beta1."""
    usage = Fields.of("node metrics", value)
    return NodeUsage(
        usage.within("metadata").exact("name"), usage.moment("timestamp"), _usage(usage)
    )


def _usage(fields: Fields) -> Usage:
    used = fields.pairs("usage")
    return Usage(cpu=nanocores(used.get("cpu", "0")), memory=whole(used.get("memory", "0")))


def read_node(value: object) -> Node:
    """From a Node."""
    node = Fields.of("node", value)
    metadata, spec, status = node.within("metadata"), node.within("spec"), node.within("status")
    can = status.pairs("allocatable")
    ready = any(each.type == "Ready" and each.status == "True" for each in read_conditions(status))
    taints = [each.text("effect", 40) for each in spec.each("taints", _TAINTS)]
    return Node(
        name=metadata.exact("name"),
        labels=metadata.pairs("labels"),
        takes_pods=ready
        and not spec.flag("unschedulable")
        and not _KEEPS_AWAY.intersection(taints),
        cpu=nanocores(can.get("cpu", "0")),
        memory=whole(can.get("memory", "0")),
        pods=whole(can.get("pods", "0")),
    )
