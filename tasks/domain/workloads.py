"""What keeps pods running, and what bounds them, as far as we look at it: values alone.

Read from the API's JSON by `workload_reading`. Texts to be shown are printable and bounded; names,
uids, versions, annotations and templates are kept exactly, because they are sent back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

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
from tasks.domain.selectors import Selector

__all__ = [
    "Condition",
    "ContainerSpec",
    "ContainerState",
    "ControllerRevision",
    "Deployment",
    "Ended",
    "Event",
    "Hpa",
    "Kind",
    "Node",
    "NodeUsage",
    "Owner",
    "Pdb",
    "PodState",
    "PodUsage",
    "Quota",
    "ReplicaSet",
    "Resources",
    "Revision",
    "Scale",
    "Selector",
    "Stage",
    "StatefulSet",
    "Template",
    "TemplateWriter",
    "Usage",
]


class Kind(StrEnum):
    """Workloads that we change."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container as a template declares it; `probes` of liveness, readiness, startup."""

    name: str
    image: str
    resources: Resources
    init: bool
    probes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template: `content` exactly as the API gave it, for the way back.

    `resources` are what the scheduler counts for one pod of it.
    """

    content: Mapping[str, Any]
    containers: tuple[ContainerSpec, ...]
    resources: Resources
    restarted_at: str = ""

    @property
    def images(self) -> tuple[str, ...]:
        """Of all containers, in their order."""
        return tuple(each.image for each in self.containers)


@dataclass(frozen=True, slots=True)
class TemplateWriter:
    """A program that wrote fields of a pod template, by managedFields, and when it last did."""

    name: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """`replicas` is what is wanted, `current` what exists, old ones included."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    revision: int | None
    change_cause: str
    created_at: datetime | None
    paused: bool
    replicas: int
    current: int
    updated: int
    ready: int
    available: int
    selector: Selector
    template: Template
    annotations: Mapping[str, str]
    conditions: tuple[Condition, ...]
    progress_deadline_seconds: int
    writers: tuple[TemplateWriter, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type."""
        return next((each for each in self.conditions if each.type == kind), None)


@dataclass(frozen=True, slots=True)
class StatefulSet:
    """`current_revision` is the last one that became ready on every pod."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    created_at: datetime | None
    replicas: int
    current: int
    updated: int
    ready: int
    current_revision: str
    update_revision: str
    strategy: str
    partition: int | None
    selector: Selector
    template: Template
    writers: tuple[TemplateWriter, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """Of a Deployment: one per template. `revisions` are the numbers it had before."""

    namespace: str
    name: str
    uid: str
    revision: int | None
    revisions: tuple[int, ...]
    change_cause: str
    created_at: datetime | None
    owners: tuple[Owner, ...]
    replicas: int
    ready: int
    available: int
    template: Template
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ControllerRevision:
    """Of a StatefulSet: `data` is the strategic merge patch that brings it back."""

    namespace: str
    name: str
    uid: str
    revision: int
    change_cause: str
    created_at: datetime | None
    owners: tuple[Owner, ...]
    template: Template
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Revision:
    """One line of a workload's history.

    `holder` is the ReplicaSet or ControllerRevision that keeps it: its name and uid stay while the
    number changes with every undo. `change_cause` may sit on the wrong revision: show it, decide
    nothing by it.
    """

    number: int
    holder: str
    holder_uid: str
    images: tuple[str, ...]
    change_cause: str
    created_at: datetime | None
    current: bool
    wanted: int
    available: int
    template: Template
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hpa:
    """A HorizontalPodAutoscaler."""

    name: str
    resource_version: str
    target_kind: str
    target_name: str
    minimum: int
    maximum: int
    current: int
    desired: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Pdb:
    """A PodDisruptionBudget; `current` is false until its status speaks of its present spec.

    `always_unhealthy`: pods that are not ready may be evicted whatever the budget says.
    """

    name: str
    selector: Selector
    healthy: int
    desired_healthy: int
    expected: int
    disruptions_allowed: int
    always_unhealthy: bool
    current: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota by resource name, such as `requests.cpu` (cores) and `pods`."""

    name: str
    hard: Mapping[str, Fraction]
    used: Mapping[str, Fraction]


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale subresource; `current` lags behind `replicas`."""

    name: str
    resource_version: str
    replicas: int
    current: int
