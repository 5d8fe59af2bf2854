"""A workload's revisions: what `kubectl rollout history` shows, with images and time.

A Deployment's are kept by ReplicaSets, a StatefulSet's by ControllerRevisions. Which of them belong
to it is decided by the uid of their controller, not by labels, which others may carry as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.workloads import (
    ControllerRevision,
    Deployment,
    Owner,
    ReplicaSet,
    Revision,
    StatefulSet,
)


class Why(StrEnum):
    """Why there is no way back, for a caller that decides on it."""

    PAUSED = "paused"
    UNKNOWN_REVISION = "unknown-revision"
    AMBIGUOUS = "ambiguous"
    NO_EVIDENCE = "no-evidence"
    ALREADY_THERE = "already-there"
    BY_HAND = "by-hand"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CannotUndo:
    """Nothing may be undone; `text` says what to do instead."""

    why: Why
    text: str


def deployment_history(
    deployment: Deployment, replica_sets: Iterable[ReplicaSet]
) -> tuple[Revision, ...] | CannotUndo:
    """Its revisions, newest first, of the ReplicaSets that it controls and no others.

    CannotUndo where it is not certain which ones these are.
    """
    found: dict[int, ReplicaSet] = {}
    for each in replica_sets:
        ours = _ours(each.owners, deployment.uid)
        if ours is None:
            return CannotUndo(Why.AMBIGUOUS, _ambiguous(each.name))
        if not ours or each.revision is None:
            continue
        if each.revision in found:
            both = f"{found[each.revision].name} and {each.name}"
            text = f"revision {each.revision} is claimed by {both}: wait for the controller"
            return CannotUndo(Why.AMBIGUOUS, text)
        found[each.revision] = each
    return tuple(
        Revision(
            number=number,
            holder=each.name,
            holder_uid=each.uid,
            images=each.template.images,
            change_cause=each.change_cause,
            created_at=each.created_at,
            current=number == deployment.revision,
            wanted=each.replicas,
            available=each.available,
            template=each.template,
            annotations=each.annotations,
        )
        for number, each in sorted(found.items(), reverse=True)
    )


def stateful_set_history(
    stateful: StatefulSet, revisions: Iterable[ControllerRevision]
) -> tuple[Revision, ...] | CannotUndo:
    """Its revisions, newest first; `available` is what the status says of current and update."""
    found: dict[int, ControllerRevision] = {}
    for each in revisions:
        ours = _ours(each.owners, stateful.uid)
        if ours is None:
            return CannotUndo(Why.AMBIGUOUS, _ambiguous(each.name))
        if ours and each.revision in found:
            both = f"{found[each.revision].name} and {each.name}"
            return CannotUndo(Why.AMBIGUOUS, f"revision {each.revision} is claimed by {both}")
        if ours:
            found[each.revision] = each
    rolled_out = stateful.current_revision == stateful.update_revision
    return tuple(
        Revision(
            number=number,
            holder=each.name,
            holder_uid=each.uid,
            images=each.template.images,
            change_cause=each.change_cause,
            created_at=each.created_at,
            current=each.name == stateful.update_revision,
            wanted=stateful.replicas if each.name == stateful.update_revision else 0,
            available=stateful.ready if rolled_out and each.name == stateful.update_revision else 0,
            template=each.template,
            annotations={},
        )
        for number, each in sorted(found.items(), reverse=True)
    )


def _ours(owners: Sequence[Owner], uid: str) -> bool | None:
    """Whether the workload with this uid controls it; None: it is not certain."""
    controllers = [each.uid for each in owners if each.controller]
    if uid not in {each.uid for each in owners}:
        return False
    return True if controllers == [uid] else None


def _ambiguous(name: str) -> str:
    return f"{name} names this workload as owner, but not as its only controller: mend it by hand"
