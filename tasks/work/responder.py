"""Connections to the responder's own PostgreSQL, and its schema.

Only the responder's server is reached through this module; the patient's has its own client. The
intake's promise (durable before the 2xx) rests on fsync and synchronous_commit being on there.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from tasks.clients.errors import Transient
from tasks.settings import settings

_POOL_MAX = 8
_WAIT_SECONDS = 3.0  # a sender of alerts hears 503 after it, and sends again


_PATIENCE = "-c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
"""A gateway that stands still within a transaction must not stop the others for ever."""

_one_at_a_time = threading.Lock()  # lru_cache lets two first callers both make a pool


def _pool() -> ConnectionPool[Connection[TupleRow]]:
    with _one_at_a_time:
        return _only_pool()


@lru_cache(maxsize=1)
def _only_pool() -> ConnectionPool[Connection[TupleRow]]:
    return ConnectionPool(
        settings().responder.dsn.get_secret_value(),
        min_size=1,
        max_size=_POOL_MAX,
        timeout=_WAIT_SECONDS,
        reconnect_timeout=_WAIT_SECONDS,  # then each caller tries anew; else pauses grow
        kwargs={"autocommit": True, "application_name": "runbook", "options": _PATIENCE},
        open=True,
    )


class ResponderAway(Transient):
    """Our own database did not answer: nothing is wrong with the system under care."""


@contextmanager
def connection() -> Iterator[Connection[TupleRow]]:
    """A pooled autocommit connection; open a transaction where statements belong together.

    Raises ResponderAway when the server does not answer, goes away inside the block, or is a
    standby that only reads.
    """
    try:
        with _pool().connection() as pooled:
            yield pooled
    except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise ResponderAway(
            f"expected the responder's PostgreSQL to answer, found {type(error).__name__}: "
            "what was not committed is not stored"
        ) from error


def close() -> None:
    """Close the pool; the next use opens a new one (tests, and children before they end)."""
    if _only_pool.cache_info().currsize:
        _pool().close()
        _only_pool.cache_clear()


def migrate() -> None:
    """Create what is missing of our schema; safe to run again and from several processes."""
    schema = files("tasks.work").joinpath("schema.sql").read_bytes()
    with connection() as pooled, pooled.transaction():
        pooled.execute(schema)
