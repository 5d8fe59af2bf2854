"""Cancelling a query and ending a session, each only if the session is still the one that was seen.

The check and the signal are one statement: a pid that was given to another session meanwhile, a
session that has gone on to another query or transaction, one that is protected, or that no longer
does what it was to be ended for, gets no signal, and the verdict says which.
"""

from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.database_session_sql import DIGEST, PROTECTED, Protection
from tasks.clients.errors import Malformed
from tasks.domain.signals import Answer, SessionKey, Verdict, Why


class _Signal(StrEnum):
    NONE = "0 < "
    CANCEL = "pg_cancel_backend"
    TERMINATE = "pg_terminate_backend"


_STILL = {
    Why.BLOCKS: """
        NOT EXISTS (SELECT FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock'
                                                     AND a.pid = ANY(pg_blocking_pids(w.pid)))""",
    Why.RUNS: "a.state IS DISTINCT FROM 'active'",
    Why.IDLE: "a.state IS NULL OR NOT (a.state = 'idle' OR a.state LIKE 'idle in transaction%%')",
}
"""What makes the reason void, per reason."""

_ONCE = """
SELECT CASE
         WHEN protected <> '' THEN 'protected'
         WHEN backend_start IS DISTINCT FROM %(backend_start)s THEN 'another session'
         WHEN xact_start IS DISTINCT FROM %(xact_start)s THEN 'another transaction'
         WHEN digest IS DISTINCT FROM %(digest)s THEN 'another query'
         WHEN {exact}state_change IS DISTINCT FROM %(state_change)s THEN 'was at work since'
         WHEN is_void THEN 'no longer'
         WHEN {busy}state IS DISTINCT FROM 'active' THEN 'nothing to cancel'
         WHEN {signal}(pid) THEN 'signalled'
         ELSE 'gone' END, protected
  FROM (SELECT a.pid, a.backend_start, a.xact_start, a.state_change, a.state, {digest} AS digest,
               {protected} AS protected, {void} AS is_void
          FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
         WHERE a.pid = %(pid)s OFFSET 0) AS seen
"""


def look(
    connection: Connection[TupleRow], key: SessionKey, why: Why, protection: Protection
) -> Answer:
    """What a signal would be answered, without one: SIGNALLED says that it would be sent."""
    return _send(connection, _Signal.NONE, key, why, protection)


def cancel(
    connection: Connection[TupleRow], key: SessionKey, why: Why, protection: Protection
) -> Answer:
    """Cancel the query of exactly this session; it and its connection stay."""
    return _send(connection, _Signal.CANCEL, key, why, protection)


def terminate(
    connection: Connection[TupleRow], key: SessionKey, why: Why, protection: Protection
) -> Answer:
    """End exactly this session; what its transaction did is rolled back."""
    return _send(connection, _Signal.TERMINATE, key, why, protection)


def _send(
    connection: Connection[TupleRow],
    signal: _Signal,
    key: SessionKey,
    why: Why,
    protection: Protection,
) -> Answer:
    statement = _ONCE.format(
        signal=signal.value,
        digest=DIGEST,
        protected=PROTECTED,
        void=_STILL[why],
        # a blocker whose query was cancelled is still the one, and may still block
        exact="false AND " if why is Why.BLOCKS else "",
        busy="" if signal is _Signal.CANCEL else "false AND ",
    )
    values: dict[str, Any] = {
        "pid": key.pid,
        "backend_start": key.backend_start,
        "xact_start": key.xact_start,
        "digest": key.digest,
        "state_change": key.state_change,
        **protection.parameters(),
    }
    with postgres.translated(f"signal {key}"):
        row = connection.execute(statement.encode(), values).fetchone()
    if row is None:
        return Answer(Verdict.GONE)
    try:
        return Answer(Verdict(row[0]), row[1])
    except ValueError as error:
        raise Malformed(f"expected what became of {key}, found {row[0]!r}") from error
