"""How far a rollout is: what `kubectl rollout status` would say, in kubectl's order.

The order matters: a status that does not yet speak of the present spec says nothing, a deadline
that was exceeded ends the waiting, and the condition Available is not asked at all, because it
still holds while a rolling update fails.
"""

from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.workloads import Deployment, StatefulSet

DEADLINE = "ProgressDeadlineExceeded"


class Progress(StrEnum):
    """DONE and FAILED are final; the others are waited for."""

    UNOBSERVED = "unobserved"
    FAILED = "failed"
    UPDATING = "updating"
    ENDING_OLD = "ending-old"
    BECOMING_AVAILABLE = "becoming-available"
    UNWATCHABLE = "unwatchable"
    DONE = "done"

    @property
    def final(self) -> bool:
        """Whether waiting changes nothing any more."""
        return self in {Progress.DONE, Progress.FAILED, Progress.UNWATCHABLE}


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """Where a rollout is, and one line for people."""

    progress: Progress
    text: str


def deployment_status(deployment: Deployment) -> RolloutStatus:
    """Of a Deployment as it was read."""
    name, updated = deployment.name, deployment.updated
    if deployment.observed_generation < deployment.generation:
        return RolloutStatus(Progress.UNOBSERVED, f"{name}: waiting for the change to be observed")
    progressing = deployment.condition("Progressing")
    if progressing is not None and progressing.reason == DEADLINE:
        limit = deployment.progress_deadline_seconds
        text = f"{name}: no progress within {limit} s: {progressing.message}"
        return RolloutStatus(Progress.FAILED, text)
    if updated < deployment.replicas:
        text = f"{name}: {updated} of {deployment.replicas} replicas are of the new template"
        return RolloutStatus(Progress.UPDATING, text)
    if deployment.current > updated:
        text = f"{name}: {deployment.current - updated} old replicas are still to end"
        return RolloutStatus(Progress.ENDING_OLD, text)
    if deployment.available < updated:
        text = f"{name}: {deployment.available} of {updated} new replicas are available"
        return RolloutStatus(Progress.BECOMING_AVAILABLE, text)
    return RolloutStatus(Progress.DONE, f"{name}: {updated} of {updated} replicas are rolled out")


def stateful_set_status(stateful: StatefulSet) -> RolloutStatus:
    """Of a StatefulSet as it was read; it knows no deadline, so the caller brings one."""
    name = stateful.name
    if stateful.strategy != "RollingUpdate":
        text = f"{name}: pods change only when they are deleted (strategy {stateful.strategy})"
        return RolloutStatus(Progress.UNWATCHABLE, text)
    if not stateful.observed_generation or stateful.observed_generation < stateful.generation:
        return RolloutStatus(Progress.UNOBSERVED, f"{name}: waiting for the change to be observed")
    if stateful.ready < stateful.replicas:
        text = f"{name}: {stateful.ready} of {stateful.replicas} pods are ready"
        return RolloutStatus(Progress.BECOMING_AVAILABLE, text)
    if stateful.partition:
        return _partitioned(stateful, stateful.partition)
    if stateful.update_revision != stateful.current_revision:
        text = f"{name}: {stateful.updated} of {stateful.replicas} pods are of the new revision"
        return RolloutStatus(Progress.UPDATING, text)
    return RolloutStatus(Progress.DONE, f"{name}: {stateful.ready} pods are rolled out")


def _partitioned(stateful: StatefulSet, partition: int) -> RolloutStatus:
    wanted = max(stateful.replicas - partition, 0)
    text = f"{stateful.name}: {stateful.updated} of {wanted} pods beyond the partition are updated"
    done = stateful.updated >= wanted
    return RolloutStatus(Progress.DONE if done else Progress.UPDATING, text)
