"""What a Redis or Valkey server says of itself (`INFO`), and what monitoring counted last."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import redis

from tasks.clients import prometheus
from tasks.clients.cache import asking
from tasks.clients.errors import Malformed
from tasks.domain.alertmanager import clean
from tasks.domain.cache_readings import OK, CacheState, LastCounted
from tasks.sections.systems import CacheSettings, MetricsSettings

_TEXT = 40
_MOST_DATABASES = 64
_LATEST = 4_102_444_800  # 2100-01-01
_COUNTED = {
    "queued": 'sum(last_over_time(redis_key_size{key="%s"}[1h]))',
    "changes": "max(last_over_time(redis_rdb_changes_since_last_save[1h]))",
}


def read_state(cache: CacheSettings, queues: Sequence[str]) -> tuple[CacheState, dict[str, int]]:
    """Its state, and the length of each of these lists. Raises as `asking` does, and Malformed."""
    with asking(cache, "INFO") as client:
        info = client.info()
        if not isinstance(info, dict):
            raise Malformed(f"expected INFO of the cache, found {type(info).__name__}")
        return state_of(info, saves=_saves(client)), _lengths(client, queues)


def read_info(cache: CacheSettings) -> dict[str, Any]:
    """All of `INFO`, as it is. Raises as `asking` does, and Malformed."""
    with asking(cache, "INFO") as client:
        info = client.info("everything")
        if not isinstance(info, dict):
            raise Malformed(f"expected INFO of the cache, found {type(info).__name__}")
        return info


def last_counted(metrics: MetricsSettings, queue: str) -> LastCounted:
    """What the exporter counted within the last hour. Raises as `readings` does."""
    if not metrics.prometheus_url:
        return LastCounted()
    name = queue.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
    asked = _COUNTED | {"queued": _COUNTED["queued"] % name}
    found = prometheus.readings(metrics, asked, timeout_seconds=metrics.timeout_seconds)
    return LastCounted(**{key: _count(values) for key, values in found.items()})


def _saves(client: redis.Redis) -> bool | None:
    """Whether snapshots are configured; None where CONFIG is not for us, as in managed servers."""
    with suppress(redis.ResponseError):
        found = client.config_get("save")
        save = found.get("save") if isinstance(found, dict) else None
        if isinstance(save, str):
            return bool(save.strip())
    return None


def _lengths(client: redis.Redis, queues: Sequence[str]) -> dict[str, int]:
    found = {}
    for name in queues:
        with suppress(redis.ResponseError):  # loading, or a key of another kind
            length = client.llen(name)
            if isinstance(length, int):
                found[clean(name, _TEXT)] = length
    return found


def state_of(info: Mapping[str, Any], *, saves: bool | None) -> CacheState:
    """From the fields of `INFO`; what is missing or of another kind counts as nothing."""
    return CacheState(
        version=_text(info, "valkey_version") or _text(info, "redis_version"),
        role=_text(info, "role"),
        replica_linked=info.get("master_link_status") == "up",
        loading=_whole(info, "loading") > 0,
        clients=_whole(info, "connected_clients"),
        max_clients=_whole(info, "maxclients"),
        rejected=_whole(info, "rejected_connections"),
        used_memory=_whole(info, "used_memory"),
        max_memory=_whole(info, "maxmemory"),
        policy=_text(info, "maxmemory_policy"),
        evicted=_whole(info, "evicted_keys"),
        oom=_errors(info, "OOM"),
        misconf=_errors(info, "MISCONF"),
        keys=sum(_keys(info.get(f"db{number}")) for number in range(_MOST_DATABASES)),
        bgsave=_text(info, "rdb_last_bgsave_status") or OK,
        saved_at=_moment(info, "rdb_last_save_time"),
        changes=_whole(info, "rdb_changes_since_last_save"),
        saves=saves,
        aof=_whole(info, "aof_enabled") > 0,
        aof_write=_text(info, "aof_last_write_status") or OK,
        aof_rewrite=_text(info, "aof_last_bgrewrite_status") or OK,
    )


def _text(info: Mapping[str, Any], name: str) -> str:
    found = info.get(name, "")
    return clean(str(found), _TEXT)


def _whole(info: Mapping[str, Any], name: str) -> int:
    found = info.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return 0
    return max(0, int(found))


def _errors(info: Mapping[str, Any], name: str) -> int:
    found = info.get(f"errorstat_{name}")
    return _whole(found, "count") if isinstance(found, dict) else 0


def _keys(database: object) -> int:
    return _whole(database, "keys") if isinstance(database, dict) else 0


def _moment(info: Mapping[str, Any], name: str) -> datetime | None:
    seconds = _whole(info, name)
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LATEST else None


def _count(values: Sequence[float]) -> int | None:
    if len(values) != 1 or not math.isfinite(values[0]) or values[0] < 0:
        return None
    return int(values[0])
