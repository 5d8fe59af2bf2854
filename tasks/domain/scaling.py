"""How many replicas a workload may get, and by which change: the bounds before anything is done.

Every bound says where it comes from, so that a plan can show which one decided. What could not be
read is no bound but is named: the person who approves sees it. An autoscaler is not fought: where
there is one, its minimum is raised, never beyond its maximum.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.capacity import MANY, fit_in_quota, fit_on_nodes
from tasks.domain.errors import BadInput
from tasks.domain.pods import Node, PodState
from tasks.domain.workloads import Deployment, Hpa, Kind, Pdb, Quota, StatefulSet


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """Our own bounds: replicas at least and at most, and at most so many more at once."""

    least: int
    most: int
    step: int

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.step < 1:
            raise BadInput(
                f"expected replicas of at least 0, a most above the least and a step of 1 or more, "
                f"found {self.least}, {self.most} and {self.step}"
            )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the cluster allows. None: it could not be read, for a reason in `unread`."""

    quotas: Sequence[Quota] | None
    nodes: Sequence[Node] | None
    pods: Sequence[PodState] | None
    hpas: Sequence[Hpa] | None
    pdbs: Sequence[Pdb] | None
    unread: tuple[str, ...] = ()


class Means(StrEnum):
    """Which object is changed."""

    SCALE = "scale"
    AUTOSCALER_MINIMUM = "autoscaler-minimum"


@dataclass(frozen=True, slots=True)
class Bound:
    """At most (or, going down, at least) so many replicas, and why."""

    replicas: int
    source: str


@dataclass(frozen=True, slots=True)
class Scaling:
    """Allowed: from `present` to `replicas` by `means` of the object named `through`.

    `decided_by` is empty when all that was asked for is allowed; `unknown` names what was not read.
    """

    present: int
    replicas: int
    means: Means
    through: str
    resource_version: str
    decided_by: str
    bounds: tuple[Bound, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnoughAlready:
    """It has (or is told to have) so many replicas: nothing to do."""

    replicas: int
    text: str


@dataclass(frozen=True, slots=True)
class CannotScale:
    """No step in this direction is allowed; `text` names what forbids it."""

    text: str
    bounds: tuple[Bound, ...] = ()


Decision = Scaling | EnoughAlready | CannotScale


def scale_up(
    workload: Deployment | StatefulSet, wanted: int, policy: ScalingPolicy, around: Surroundings
) -> Decision:
    """The largest number up to `wanted` that every bound allows."""
    present = workload.replicas
    autoscaler = _autoscaler(workload, around.hpas)
    if isinstance(autoscaler, CannotScale):
        return autoscaler
    floor = max(present, autoscaler.minimum) if autoscaler else present
    if wanted <= floor:
        return EnoughAlready(floor, f"{workload.name} has {floor} replicas: nothing to do")
    bounds = _upper(workload, policy, around)
    if autoscaler:
        source = f"maximum of the autoscaler {autoscaler.name}"
        bounds += (Bound(autoscaler.maximum, source),)
    least = min(bounds, key=lambda each: each.replicas)
    replicas = min(wanted, least.replicas)
    if replicas <= floor:
        text = f"{workload.name} stays at {floor} replicas: {least.source} allows {least.replicas}"
        return CannotScale(text, bounds)
    return Scaling(
        present=floor,
        replicas=replicas,
        means=Means.AUTOSCALER_MINIMUM if autoscaler else Means.SCALE,
        through=autoscaler.name if autoscaler else workload.name,
        resource_version=(autoscaler or workload).resource_version,
        decided_by=least.source if replicas < wanted else "",
        bounds=bounds,
        unknown=around.unread,
    )


def scale_down(
    workload: Deployment | StatefulSet, wanted: int, policy: ScalingPolicy, around: Surroundings
) -> Decision:
    """The smallest number down to `wanted` that policy and disruption budgets allow.

    Not where an autoscaler decides: it would scale up again what is needed, or down by itself.
    """
    present = workload.replicas
    if wanted >= present:
        return EnoughAlready(present, f"{workload.name} has {present} replicas: nothing to do")
    autoscaler = _autoscaler(workload, around.hpas)
    if isinstance(autoscaler, CannotScale):
        return autoscaler
    if autoscaler:
        text = f"the autoscaler {autoscaler.name} decides on {workload.name}: change its bounds"
        return CannotScale(text)
    labels = _pod_labels(workload)
    bounds = (
        Bound(policy.least, "our policy"),
        *(
            Bound(min(each.desired_healthy, present), f"the disruption budget {each.name}")
            for each in around.pdbs or ()
            if each.selector.matches(labels)
        ),
    )
    most = max(bounds, key=lambda each: each.replicas)
    replicas = max(wanted, most.replicas)
    if replicas >= present:
        text = f"{workload.name} stays at {present} replicas: {most.source} wants {most.replicas}"
        return CannotScale(text, bounds)
    return Scaling(
        present=present,
        replicas=replicas,
        means=Means.SCALE,
        through=workload.name,
        resource_version=workload.resource_version,
        decided_by=most.source if replicas > wanted else "",
        bounds=bounds,
        unknown=around.unread,
    )


def _upper(
    workload: Deployment | StatefulSet, policy: ScalingPolicy, around: Surroundings
) -> tuple[Bound, ...]:
    # Pods that are wanted but not there yet will take their share of what is free.
    there = min(workload.current, workload.replicas)
    found = [
        Bound(policy.most, "our policy"),
        Bound(workload.replicas + policy.step, "our policy's step"),
    ]
    for quota in around.quotas or ():
        room = fit_in_quota(quota, workload.template)
        found.append(Bound(there + room, f"the quota {quota.name}"))
    if around.nodes is not None and around.pods is not None:
        room = fit_on_nodes(around.nodes, around.pods, workload.template)
        found.append(Bound(there + room, "the room on the nodes"))
    return tuple(each for each in found if each.replicas < MANY)


def _autoscaler(
    workload: Deployment | StatefulSet, hpas: Iterable[Hpa] | None
) -> Hpa | CannotScale | None:
    kind = Kind.DEPLOYMENT if isinstance(workload, Deployment) else Kind.STATEFUL_SET
    if hpas is None:
        return CannotScale(f"whether an autoscaler decides on {workload.name} is not known")
    mine = [each for each in hpas if each.target_kind == kind and each.target_name == workload.name]
    if len(mine) > 1:
        names = ", ".join(each.name for each in mine)
        return CannotScale(f"{workload.name} has several autoscalers ({names}): mend that first")
    # With no replicas an autoscaler rests: raising its minimum would start nothing.
    return mine[0] if mine and workload.replicas else None


def _pod_labels(workload: Deployment | StatefulSet) -> dict[str, str]:
    metadata = workload.template.content.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return dict(labels) if isinstance(labels, dict) else {}
