"""What must be true after Redis was down: it answers, and its queue is drained again."""

import redis

from deployments.lab.cluster_expectations import names_the_cause, only_done, pods_are_ready
from deployments.lab.cluster_manifests import REDIS
from deployments.lab.expectations import Check, Situation
from tasks.domain.cache_diagnosis import RESTART_CACHE

_SECONDS = 2.0


def of_redis_down(now: Situation) -> list[Check]:
    """Another pod answers."""
    with redis.Redis.from_url(now.lab.cache.url, socket_timeout=_SECONDS) as client:
        try:
            answers = bool(client.ping())
        except redis.RedisError:
            answers = False
    lost = now.incident.plan.will_be_lost if now.incident.plan else ""
    return [
        names_the_cause(now),
        Check("Redis answers", answers),
        Check("the plan has said what goes with the restart", "all keys" in lost, lost[:160]),
        pods_are_ready(now, REDIS, 1),
        only_done(now, RESTART_CACHE),
    ]
