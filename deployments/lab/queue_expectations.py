"""What must be true after tasks have piled up: the workers take more than arrives, and no harm."""

from deployments.lab.cluster_expectations import names_the_cause, only_done, pods_are_ready
from deployments.lab.expectations import Check, Situation
from deployments.lab.kubernetes.manifests import API, WORKERS
from tasks.domain.scale_plan import SCALE_WORKERS

_WATCHED_SECONDS = 45.0
_SMALL = 100
_WORKERS_BEFORE = 2
_API_REPLICAS = 3


def of_queue_backlog(now: Situation) -> list[Check]:
    """There are more workers, all ready, the queue is soon as good as empty, and the API as was."""
    life = now.lab.cluster_life
    before = life.queue.depth()
    drained = life.until(
        lambda: (depth := life.queue.depth()) is not None and depth < _SMALL, _WATCHED_SECONDS
    )
    api = life.replicas(API)
    return [
        names_the_cause(now),
        pods_are_ready(now, WORKERS, _WORKERS_BEFORE + 1),
        Check("the backlog is gone", drained, f"{before} waited, then {life.queue.depth()}"),
        Check("the API has the replicas that it had", api == _API_REPLICAS, f"{api}"),
        only_done(now, SCALE_WORKERS),
    ]
