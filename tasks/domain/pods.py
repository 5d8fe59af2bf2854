"""Pods, their containers, events and usage, as far as we look at them: values alone.

Read from the API's JSON by `pod_reading`. Texts to be shown are printable and bounded; names, uids
and versions are kept exactly. CPU is in nanocores, memory in bytes, times in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of a status: `status` is True, False or Unknown, as text."""

    type: str
    status: str
    reason: str
    message: str
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Owner:
    """An ownerReference; at most one of them should say `controller`."""

    kind: str
    name: str
    uid: str
    controller: bool


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits of a container or of a pod; None: not declared."""

    cpu_request: int | None = None
    memory_request: int | None = None
    cpu_limit: int | None = None
    memory_limit: int | None = None


class Stage(StrEnum):
    """Where a container is."""

    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container's process ended."""

    reason: str
    exit_code: int
    message: str
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container of a pod, now; `ended` is the end of this process, `last` of the one before."""

    name: str
    image: str
    init: bool
    ready: bool
    restarts: int
    stage: Stage
    reason: str
    message: str
    started_at: datetime | None
    ended: Ended | None
    last: Ended | None
    resources: Resources
    probes: tuple[str, ...]

    @property
    def out_of_memory(self) -> bool:
        """Whether this process or the one before was killed for its memory."""
        return any(each and each.reason == "OOMKilled" for each in (self.ended, self.last))


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod, now. `ready` is the condition that services go by; `unschedulable` says why not."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    phase: str
    reason: str
    message: str
    node: str
    ready: bool
    unschedulable: str
    created_at: datetime | None
    deleting_since: datetime | None
    labels: Mapping[str, str]
    owners: tuple[Owner, ...]
    containers: tuple[ContainerState, ...]
    resources: Resources

    @property
    def controller(self) -> Owner | None:
        """What makes it anew when it goes; None: nothing does."""
        return next((each for each in self.owners if each.controller), None)


@dataclass(frozen=True, slots=True)
class Event:
    """What a controller or kubelet said about an object; kept by the API for an hour."""

    kind: str
    name: str
    uid: str
    warning: bool
    reason: str
    message: str
    count: int
    first_at: datetime | None
    last_at: datetime | None
    component: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Nanocores and bytes in use."""

    cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class PodUsage:
    """A line of `kubectl top pods --containers`."""

    namespace: str
    name: str
    at: datetime | None
    containers: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """A line of `kubectl top nodes`."""

    name: str
    at: datetime | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class Node:
    """`takes_pods`: ready, not cordoned, without a taint that keeps ordinary pods away."""

    name: str
    labels: Mapping[str, str]
    takes_pods: bool
    cpu: int
    memory: int
    pods: int
