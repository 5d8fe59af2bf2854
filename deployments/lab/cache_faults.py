"""Faults of Redis."""

from deployments.lab.cluster_manifests import REDIS
from deployments.lab.damage import Damage
from deployments.lab.parts import Parts
from deployments.lab.server_pods import Ailing


def redis_down(lab: Parts) -> Damage:
    """Valkey hangs: it takes connections and answers none, from outside and in its pod."""
    life = lab.cluster_life
    life.gather_baseline()
    life.ail(REDIS, how=Ailing.HANGS)
    return Damage(
        "Redis hangs: nothing is cached, and no task is queued", cause="cache.unreachable"
    )
