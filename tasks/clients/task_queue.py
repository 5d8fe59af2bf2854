"""Celery's queues in Redis or Valkey (7 or newer), read by scripts that cannot write.

A message may have half a gigabyte and be made by anybody: it stays on the server, which answers
with lengths, digests and, where it is small, the oldest message alone.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import redis

from tasks.clients import cache as client_of
from tasks.clients.errors import Malformed
from tasks.domain.alertmanager import clean
from tasks.domain.task_queue import (
    PRIORITIES,
    HeldTasks,
    QueueReading,
    QueueSample,
    compared,
    sent_at,
)
from tasks.sections.systems import CacheSettings

_TAIL = 500
_MESSAGE_LIMIT = 64 * 1024
_SHOWN = 60

_QUEUE = """
local kind = redis.call('TYPE', KEYS[1]).ok
local now = redis.call('TIME')
if kind ~= 'list' then return {kind, now[1], now[2]} end
local length = redis.call('LLEN', KEYS[1])
local tail = {}
local oldest = ''
for place = 1, math.min(length, tonumber(ARGV[1])) do
  local message = redis.call('LINDEX', KEYS[1], -place)
  if place == 1 and #message <= tonumber(ARGV[2]) then oldest = message end
  tail[place] = redis.sha1hex(#message .. string.sub(message, 1, 512) .. string.sub(message, -2048))
end
return {kind, now[1], now[2], length, tail, oldest}
"""
_HELD = """
local kind = redis.call('TYPE', KEYS[1]).ok
local now = redis.call('TIME')
if kind ~= 'zset' then return {kind, now[1], now[2]} end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {kind, now[1], now[2], redis.call('ZCARD', KEYS[1]), first[2] or ''}
"""


def read_queues(
    cache: CacheSettings, names: Sequence[str], sent_header: str, sample_seconds: float
) -> tuple[QueueReading, ...]:
    """Two looks at each queue, `sample_seconds` apart.

    Raises Transient, Denied, or Malformed: a key that holds something else than a list is none of
    Celery's queues, and what it holds is unknown.
    """
    with client_of.asking(cache, "the queues") as client:
        before = {name: _lists(client, name, sent_header) for name in names}
        time.sleep(sample_seconds)
        after = {name: _lists(client, name, sent_header) for name in names}
    return tuple(
        compared(clean(name, _SHOWN), list(zip(before[name], after[name], strict=True)))
        for name in names
    )


def read_held(cache: CacheSettings, key: str) -> HeldTasks:
    """The tasks that workers have taken and not finished; none when there is no such key."""
    with client_of.asking(cache, "the tasks in work") as client:
        kind, at, *found = _run(client, _HELD, key)
    if kind == "none":
        return HeldTasks(0, None)
    if kind != "zset":
        raise _of_another_kind(key, "sorted set", kind)
    count, score = found
    try:
        since = float(score)
    except (TypeError, ValueError):
        since = math.nan
    return HeldTasks(int(count), max(0.0, at - since) if math.isfinite(since) else None)


def _lists(client: redis.Redis, name: str, sent_header: str) -> list[QueueSample]:
    return [_sample(client, f"{name}{priority}", sent_header) for priority in PRIORITIES]


def _sample(client: redis.Redis, key: str, sent_header: str) -> QueueSample:
    kind, at, *found = _run(client, _QUEUE, key, _TAIL, _MESSAGE_LIMIT)
    if kind == "none":  # Redis keeps no empty lists
        return QueueSample(at, 0)
    if kind != "list":
        raise _of_another_kind(key, "list", kind)
    length, tail, oldest = found
    digests = tuple(each.decode("ascii") for each in tail)
    return QueueSample(at, int(length), digests, sent_at(oldest, sent_header))


def _run(client: redis.Redis, script: str, key: str, *more: int) -> list[Any]:
    """[kind, the server's clock, ...]."""
    try:
        found: Any = client.eval_ro(script, 1, key, *map(str, more))
        kind, seconds, micros, *rest = found
        return [kind.decode("ascii", "replace"), int(seconds) + int(micros) / 1e6, *rest]
    except redis.ResponseError as error:
        if isinstance(error, redis.exceptions.NoPermissionError):
            raise
        text = clean(str(error), 200)
        raise Malformed(f"expected a server of version 7 or newer, found: {text}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise Malformed("expected the script's answer, found what no Redis says") from error


def _of_another_kind(key: str, expected: str, kind: str) -> Malformed:
    return Malformed(
        f"expected {clean(key, _SHOWN)} to be a {expected}, found a {clean(kind, _SHOWN)}: "
        "correct RUNBOOK_SCALING__QUEUES"
    )
