"""Redis or Valkey of the system under care."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.clients.errors import Denied, Malformed, Transient
from tasks.sections.systems import CacheSettings


def ping(cache: CacheSettings) -> float:
    """`PING`, in seconds until the PONG. Tries once: a check is as fast as its time-out.

    Raises Transient (no answer), Denied (password, missing permission) or Malformed (something
    that is no Redis answered, or the setting is no Redis URL).
    """
    began = time.monotonic()
    with asking(cache, "PONG") as client:
        client.ping()
    return time.monotonic() - began


@contextmanager
def asking(cache: CacheSettings, expected: str) -> Iterator[redis.Redis]:
    """A client whose errors are ours; `expected` is what they say was waited for."""
    try:
        client = redis.Redis.from_url(
            cache.url.get_secret_value(),
            socket_timeout=cache.timeout_seconds,
            socket_connect_timeout=cache.timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise Malformed("expected a redis:// or rediss:// URL, found something else") from error
    try:
        yield client
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise Denied("expected the cache to accept our password, found it refused") from error
    except (redis.exceptions.InvalidResponse, RecursionError) as error:
        raise Malformed(f"expected {expected} of the cache, found what no Redis says") from error
    except redis.RedisError as error:
        raise Transient(
            f"expected {expected} of the cache, found {type(error).__name__}"
        ) from error
    finally:
        client.close()
