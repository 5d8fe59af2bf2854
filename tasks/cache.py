"""Checks of Redis or Valkey."""

from prefect import task

from tasks.clients import cache
from tasks.domain.observation import Health, Observation
from tasks.retries import READ
from tasks.settings import settings
from tasks.work.checks import Seen, observe


@task(name="Check Redis", tags={"runbook:triage.cache"}, **READ)
def check_cache(incident: str) -> Observation:
    """`redis-cli ping`."""

    def probe() -> Seen:
        milliseconds = round(cache.ping(settings().cache) * 1000)
        return Seen(Health.HEALTHY, f"PONG in {milliseconds} ms", {"milliseconds": milliseconds})

    return observe(incident, "triage.cache", "cache", probe)
