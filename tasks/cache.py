"""Checks of Redis or Valkey."""

from prefect import task

from tasks.clients import cache
from tasks.clients.pod_answers import redis_says
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe
from tasks.work.seen_twice import seen_twice


@task(name="Check Redis", tags={"runbook:triage.cache"}, **READ)
def check_cache(incident: str) -> Observation:
    """`redis-cli ping` in the pod, and a PING from outside."""

    def probe() -> Seen:
        configured = settings().cache
        return seen_twice(_ping, redis_says, configured.pod, configured.timeout_seconds)

    return observe(incident, "triage.cache", "cache", probe)


def _ping() -> Seen:
    milliseconds = round(cache.ping(settings().cache) * 1000)
    return Seen(Health.HEALTHY, f"PONG in {milliseconds} ms", {"milliseconds": milliseconds})
