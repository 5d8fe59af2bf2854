"""How well the things are that the API needs, told from looks at themselves. Pure."""

from collections.abc import Sequence

from tasks.domain.api_readings import Connections, Need, Unread
from tasks.domain.cache_readings import CacheReadings
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import assess
from tasks.domain.database_readings import DatabaseReadings
from tasks.domain.mending import serious
from tasks.domain.observation import Health

_SERVING = frozenset(
    {
        "db.unreachable",
        "db.unreachable-from-outside",
        "db.starting",
        "db.connections-exhausted",
        "db.lock-storm",
        "db.lock-circle",
        "db.slow-queries",
    }
)
"""Troubles of the database that reach those who use it."""

_COMING = frozenset({"db.disk-filling"})
"""Those that soon will; a backup that is old never does."""

_CACHE_SERVING = frozenset(
    {
        "cache.unreachable",
        "cache.unreachable-from-outside",
        "cache.answers-disagree",
        "cache.starting",
        "cache.memory-full",
        "cache.clients-exhausted",
    }
)


def database_need(seen: DatabaseReadings, causes: Sequence[Cause]) -> Need:
    """How well the database serves the API, by its own diagnosis."""
    found = [each for each in serious(causes) if each.code in _SERVING | _COMING]
    found.sort(key=lambda each: each.code in _COMING)
    if found:
        waits = assess(found) is not None
        return _ailing(found, Health.FAILED if waits else Health.DEGRADED)
    if isinstance(seen.sessions, Unread):
        return Need(Health.UNKNOWN, seen.sessions.reason)
    return Need(Health.HEALTHY, "answers, and nobody waits")


def cache_need(seen: CacheReadings, causes: Sequence[Cause]) -> Need:
    """How well the cache serves the API, by its own diagnosis."""
    found = [each for each in serious(causes) if each.code in _CACHE_SERVING]
    if found:
        return _ailing(found, Health.FAILED if seen.unreachable else Health.DEGRADED)
    if isinstance(seen.state, Unread):
        return Need(Health.UNKNOWN, seen.state.reason)
    return Need(Health.HEALTHY, "answers")


def _ailing(found: Sequence[Cause], health: Health) -> Need:
    return Need(
        health,
        found[0].summary,
        tuple(found),
        hurts=found[0].code not in _COMING,
    )


def connections_of(seen: DatabaseReadings) -> Connections | Unread:
    """How many of its connections are taken, and by whom."""
    if isinstance(seen.server, Unread):
        return Unread(seen.unreachable or seen.server.reason)
    if isinstance(seen.sessions, Unread):
        return Unread(seen.unreachable or seen.sessions.reason)
    by_user: dict[str, int] = {}
    clients = [each for each in seen.sessions if each.is_client]
    for each in clients:
        by_user[each.user or "unknown"] = by_user.get(each.user or "unknown", 0) + 1
    return Connections(len(clients), seen.server.usable, by_user)
