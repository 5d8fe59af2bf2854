"""Faults of Celery's workers: nothing is broken, but tasks arrive faster than they are taken."""

from deployments.lab.damage import Damage
from deployments.lab.kubernetes.manifests import WORKERS
from deployments.lab.parts import Parts

_PER_WORKER = 20.0
_ARRIVING = 60.0
_AT_ONCE = 1500


def queue_backlog(lab: Parts) -> Damage:
    """An import of annotations sends more tasks than the two workers take."""
    life = lab.cluster_life
    life.gather_baseline()
    life.queue.per_worker = _PER_WORKER
    life.queue.arriving = _ARRIVING
    life.queue.put(_AT_ONCE)
    workers = life.ready(WORKERS)
    return Damage(
        f"{_ARRIVING:.0f} tasks a second arrive, {workers} workers take "
        f"{workers * _PER_WORKER:.0f}, and {_AT_ONCE} wait",
        cause="queue.too-few-workers",
    )
