"""Which revisions are known to have worked, and by what: the ground for choosing one to return to.

That a revision comes before a bad one says nothing: it may be the bad one of last time. What counts
is that it was seen serving: now (its ReplicaSet's pods are available, the controller says that it
progressed, a StatefulSet keeps it as current) or earlier, by a sighting of ours.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tasks.domain.pods import ContainerState, PodState
from tasks.domain.rollout_status import DEADLINE
from tasks.domain.workloads import Deployment, Revision, StatefulSet

CRASHING = frozenset({"CrashLoopBackOff", "RunContainerError", "StartError"})
NO_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
    }
)
BAD_CONFIGURATION = frozenset({"CreateContainerConfigError", "CreateContainerError"})

_NAMED = re.compile(r'ReplicaSet "([a-z0-9.-]{1,253})" (?:has|is) ')
_PROGRESSED = "NewReplicaSetAvailable"


class Worth(StrEnum):
    """What is known of a revision."""

    HEALTHY = "healthy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A revision that was seen with all its replicas available, as we kept it.

    It is known by its holder (ReplicaSet or ControllerRevision), whose name stays; its number does
    not.
    """

    holder: str
    available: int
    seen_at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason to believe in a revision, or not to."""

    holder: str
    worth: Worth
    text: str
    at: datetime | None = None


def deployment_evidence(
    deployment: Deployment,
    revisions: Iterable[Revision],
    pods: Iterable[PodState] = (),
    sightings: Iterable[Sighting] = (),
) -> tuple[Evidence, ...]:
    """Everything that speaks for or against a Deployment's revisions."""
    known = {each.holder: each for each in revisions}
    found = [*_seen(known.values(), sightings), *_available(known.values()), *_ailing(known, pods)]
    progressing = deployment.condition("Progressing")
    named = _NAMED.match(progressing.message) if progressing else None
    if progressing is None or named is None or named[1] not in known:
        return tuple(found)
    text = f"{progressing.reason}: {progressing.message}"
    if progressing.reason == DEADLINE:
        found.append(Evidence(named[1], Worth.FAILED, text, progressing.changed_at))
    elif progressing.reason == _PROGRESSED:
        found.append(Evidence(named[1], Worth.HEALTHY, text, progressing.changed_at))
    return tuple(found)


def stateful_set_evidence(
    stateful: StatefulSet,
    revisions: Iterable[Revision],
    pods: Iterable[PodState] = (),
    sightings: Iterable[Sighting] = (),
) -> tuple[Evidence, ...]:
    """The same of a StatefulSet: its current revision was ready on every pod."""
    known = {each.holder: each for each in revisions}
    found = _seen(known.values(), sightings)
    if stateful.current_revision in known:
        text = "the controller keeps it as the current revision: every pod was ready with it"
        found.append(Evidence(stateful.current_revision, Worth.HEALTHY, text))
    # Its pods carry the revision as a label; their owner is the StatefulSet itself.
    for pod in pods:
        holder = pod.labels.get("controller-revision-hash", "")
        if holder in known and (trouble := trouble_of(pod)):
            found.append(Evidence(holder, Worth.FAILED, f"pod {pod.name}: {trouble}"))
    return tuple(found)


def sightings_of(revisions: Iterable[Revision], now: datetime, source: str) -> list[Sighting]:
    """What can be kept for later: the revisions all of whose replicas are available now."""
    return [
        Sighting(each.holder, each.available, now, source)
        for each in revisions
        if each.wanted and each.available >= each.wanted
    ]


def trouble_of(pod: PodState) -> str:
    """What keeps a pod from serving and lies in its template; empty: nothing that is seen here."""
    return next((text for each in pod.containers if (text := _trouble(each))), "")


def _trouble(container: ContainerState) -> str:
    if container.reason in NO_IMAGE | CRASHING | BAD_CONFIGURATION:
        return f"{container.name}: {container.reason} ({container.restarts} restarts)"
    return ""


def _seen(revisions: Iterable[Revision], sightings: Iterable[Sighting]) -> list[Evidence]:
    known = {each.holder for each in revisions}
    return [
        Evidence(
            each.holder,
            Worth.HEALTHY,
            f"{each.available} replicas were available at {each.seen_at:%Y-%m-%d %H:%M} UTC "
            f"({each.source})",
            each.seen_at,
        )
        for each in sightings
        if each.holder in known and each.available > 0
    ]


def _available(revisions: Iterable[Revision]) -> list[Evidence]:
    return [
        Evidence(
            each.holder,
            Worth.HEALTHY,
            f"{each.available} of {each.wanted} replicas are available now",
        )
        for each in revisions
        if each.wanted and each.available >= each.wanted
    ]


def _ailing(known: dict[str, Revision], pods: Iterable[PodState]) -> list[Evidence]:
    found = []
    for pod in pods:
        owner = pod.controller
        revision = known.get(owner.name) if owner else None
        if owner is None or revision is None or revision.holder_uid != owner.uid:
            continue
        if trouble := trouble_of(pod):
            found.append(Evidence(revision.holder, Worth.FAILED, f"pod {pod.name}: {trouble}"))
    return found
