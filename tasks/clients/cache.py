"""Redis or Valkey of the system under care."""

import time

import redis

from tasks.clients.errors import Denied, Transient
from tasks.settings import CacheSettings


def ping(cache: CacheSettings) -> float:
    """`PING`, in seconds until the PONG."""
    began = time.monotonic()
    client = redis.Redis.from_url(
        cache.url.get_secret_value(),
        socket_timeout=cache.timeout_seconds,
        socket_connect_timeout=cache.timeout_seconds,
    )
    try:
        client.ping()
    except redis.AuthenticationError as error:
        raise Denied("expected the cache to accept our password, found it refused") from error
    except redis.RedisError as error:
        raise Transient(f"expected PONG from the cache, found {type(error).__name__}") from error
    finally:
        client.close()
    return time.monotonic() - began
