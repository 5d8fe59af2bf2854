"""One look at a PostgreSQL server from outside, over one read-only connection.

Every part is a statement of its own, bounded in time, and fails by itself: what cannot be read is
`Unread`, with the missing privilege. None takes a lock on a table, so that none waits in the very
queue that it shall describe: sizes of tables come from the catalogue.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from psycopg import Connection, conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.database_session_sql import DIGEST, PROTECTED, Protection
from tasks.clients.errors import ClientError, Denied, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.database_readings import (
    Archiver,
    Checkpoints,
    Database,
    DatabaseReadings,
    Disk,
    DiskSample,
    Prepared,
    Replication,
    Server,
    Session,
    Slot,
    Standby,
    Statement,
    Table,
    Unread,
)
from tasks.domain.query_shape import query_shape

STATISTICS = "pg_read_all_stats"
_QUERY_BYTES = 2000
_QUERY_LIMIT = 200
_NAME_LIMIT = 64
_REASON_LIMIT = 200
_MOST_SESSIONS = 5000
_STATEMENT_SECONDS = 2.0
_GROWTH_SECONDS = 1.0
_CHECKPOINTER_SINCE = 17_00_00

_SERVER = """
SELECT current_setting('server_version_num')::int, pg_postmaster_start_time(),
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int,
       coalesce(current_setting('reserved_connections', true)::int, 0), pg_is_in_recovery(),
       current_setting('archive_mode') <> 'off', pg_size_bytes(current_setting('max_wal_size')),
       coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), '')
"""
_DATABASES = """
SELECT textsend(d.datname::text), textsend(pg_get_userbyid(d.datdba)::text), d.datallowconn,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT')
              OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END,
       coalesce(s.numbackends, 0), d.datconnlimit, age(d.datfrozenxid), mxid_age(d.datminmxid)
  FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
 ORDER BY d.datname LIMIT 500
"""
_MAY_SEE = "SELECT pg_has_role('pg_read_all_stats', 'USAGE'), current_user"
_SESSIONS = f"""
WITH waits AS MATERIALIZED (
    SELECT DISTINCT ON (pid) pid, mode || ' on ' || CASE
             WHEN locktype IN ('relation', 'tuple', 'page', 'extend') THEN
               CASE WHEN database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    THEN relation::regclass::text ELSE 'a table of another database' END
             ELSE locktype END AS waits_for
      FROM pg_locks WHERE NOT granted ORDER BY pid
)
SELECT a.pid, a.backend_start, textsend(a.usename::text), textsend(a.datname::text),
       textsend(a.application_name), host(a.client_addr), a.backend_type, a.state,
       a.wait_event_type || ': ' || a.wait_event, a.xact_start, a.query_start, a.state_change,
       substring(textsend(a.query) FROM 1 FOR {_QUERY_BYTES}), {DIGEST}, {PROTECTED},
       CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE ARRAY[]::int[] END,
       textsend(w.waits_for)
  FROM pg_stat_activity a
  LEFT JOIN pg_roles r ON r.oid = a.usesysid
  LEFT JOIN waits w ON w.pid = a.pid
 WHERE a.backend_start IS NOT NULL
 ORDER BY a.pid LIMIT {_MOST_SESSIONS}
"""  # noqa: S608  constants of ours
_PREPARED = """
SELECT textsend(gid), textsend(owner::text), textsend(database::text), prepared
  FROM pg_prepared_xacts ORDER BY prepared LIMIT 500
"""
_HAS_STATEMENTS = "SELECT to_regclass('pg_stat_statements') IS NOT NULL"
_STATEMENTS = f"""
SELECT substring(textsend(s.query) FROM 1 FOR {_QUERY_BYTES}),
       textsend(coalesce(r.rolname::text, '')), s.calls, s.total_exec_time, s.mean_exec_time,
       s.max_exec_time
  FROM pg_stat_statements s LEFT JOIN pg_roles r ON r.oid = s.userid
 ORDER BY s.total_exec_time DESC LIMIT 20
"""  # noqa: S608  constants of ours
_STANDBYS = """
SELECT textsend(application_name), host(client_addr), state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
  FROM pg_stat_replication WHERE NOT pg_is_in_recovery() ORDER BY pid LIMIT 100
"""
_SLOTS = """
SELECT textsend(slot_name::text), active,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::bigint, wal_status
  FROM pg_replication_slots ORDER BY slot_name LIMIT 100
"""
_ARCHIVER = """
SELECT archived_count, failed_count, last_archived_time, last_failed_time, last_failed_wal
  FROM pg_stat_archiver
"""
_CHECKPOINTER = "SELECT num_timed, num_requested, stats_reset FROM pg_stat_checkpointer"
_BACKGROUND_WRITER = "SELECT checkpoints_timed, checkpoints_req, stats_reset FROM pg_stat_bgwriter"
_TABLES = """
SELECT textsend(quote_ident(t.schemaname) || '.' || quote_ident(t.relname)),
       c.relpages::bigint * current_setting('block_size')::bigint, t.n_live_tup, t.n_dead_tup,
       greatest(t.last_vacuum, t.last_autovacuum)
  FROM pg_stat_user_tables t JOIN pg_class c ON c.oid = t.relid
 ORDER BY t.n_dead_tup DESC LIMIT 20
"""
_USED = """
SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint
     + (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir())::bigint
"""

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Look:
    """Where and how to look. `reserved_dsn` has a slot when all others are taken; empty: none.

    `growth_seconds`: how far two looks at the disk lie apart, at least.
    """

    reader_dsn: str
    reserved_dsn: str = ""
    timeout_seconds: float = 5.0
    statement_seconds: float = _STATEMENT_SECONDS
    growth_seconds: float = _GROWTH_SECONDS
    protection: Protection = field(default_factory=Protection)


def read_activity(look: Look) -> DatabaseReadings:
    """Everything that can be read. Never raises for a server that is away or refuses us."""
    refused = ""
    for dsn in filter(None, (look.reader_dsn, look.reserved_dsn)):
        try:
            with _connected(dsn, look) as connection:
                found = _Reader(connection, look).read()
        except Transient as error:
            refused = refused or clean(str(error), _REASON_LIMIT)
            if isinstance(error.__cause__, ConnectionTimeout):
                break  # who says nothing at all has no slot for us either
        except ClientError as error:
            refused = clean(str(error), _REASON_LIMIT)
            break
        else:
            return replace(found, refused_for_slots=bool(refused))
    return DatabaseReadings(at=datetime.now(UTC), unreachable=refused or "no DSN is configured")


def read_sessions(dsn: str, look: Look) -> tuple[datetime, tuple[Session, ...]]:
    """The moment, by the server's clock, and all sessions; raises what went wrong instead."""
    with _connected(dsn, look) as connection:
        reader = _Reader(connection, look)
        return reader.now(), reader.sessions()


@contextmanager
def _connected(dsn: str, look: Look) -> Iterator[Connection[TupleRow]]:
    """Read-only, and waiting for no lock longer than it takes to see that it is taken."""
    with postgres.translated("read the DSN"):
        known = str(conninfo.conninfo_to_dict(dsn).get("options") or "")
        quiet = "-c default_transaction_read_only=on -c lock_timeout=500"
        bounded = conninfo.make_conninfo(dsn, options=f"{known} {quiet}".strip())
    with postgres.connect(
        bounded,
        timeout_seconds=look.timeout_seconds,
        statement_seconds=look.statement_seconds,
    ) as connection:
        yield connection


class _Reader:
    """The parts of one look, over one connection."""

    def __init__(self, connection: Connection[TupleRow], look: Look) -> None:
        self._connection = connection
        self._look = look

    def read(self) -> DatabaseReadings:
        began = time.monotonic()
        now = self.now()
        sessions = self._part(self.sessions)  # first: it is what changes fastest
        first = self._part(self._sample)
        server = self._part(self._server)
        found = DatabaseReadings(
            at=now,
            server=server,
            sessions=sessions,
            databases=self._part(self._databases),
            prepared=self._part(self._prepared),
            statements=self._part(self._statements),
            replication=self._part(self._replication),
            archiver=self._part(self._archiver),
            checkpoints=self._part(lambda: self._checkpoints(server)),
            tables=self._part(self._tables),
        )
        if isinstance(first, Unread):
            return replace(found, disk=first)
        time.sleep(max(0.0, self._look.growth_seconds - (time.monotonic() - began)))
        last = self._part(self._sample)
        return replace(found, disk=last if isinstance(last, Unread) else Disk((first, last)))

    def now(self) -> datetime:
        return datetime.fromisoformat(
            str(self._rows("SELECT clock_timestamp()::timestamptz")[0][0])
        )

    def sessions(self) -> tuple[Session, ...]:
        ((may, role),) = self._rows(_MAY_SEE)
        if not may:
            raise Denied(f"sessions of others: {role} is no member of {STATISTICS}: GRANT it")
        rows = self._rows(_SESSIONS, self._look.protection.parameters())
        return tuple(_session(row) for row in rows)

    def _server(self) -> Server:
        (row,) = self._rows(_SERVER)
        return Server(*row)

    def _databases(self) -> tuple[Database, ...]:
        rows = self._rows(_DATABASES)
        return tuple(Database(_name(name), _name(owner), *more) for name, owner, *more in rows)

    def _prepared(self) -> tuple[Prepared, ...]:
        rows = self._rows(_PREPARED)
        return tuple(
            Prepared(_name(gid), _name(owner), _name(database), at)
            for gid, owner, database, at in rows
        )

    def _statements(self) -> tuple[Statement, ...] | Unread:
        ((there,),) = self._rows(_HAS_STATEMENTS)
        if not there:
            return Unread("pg_stat_statements is not installed in this database")
        rows = self._rows(_STATEMENTS)
        return tuple(Statement(_shape(query), _name(user), *more) for query, user, *more in rows)

    def _replication(self) -> Replication:
        standbys = self._rows(_STANDBYS)
        slots = self._rows(_SLOTS)
        return Replication(
            tuple(
                Standby(_name(name), str(client or "local"), str(state or ""), lag)
                for name, client, state, lag in standbys
            ),
            tuple(
                Slot(_name(name), is_active, retained, str(status or ""))
                for name, is_active, retained, status in slots
            ),
        )

    def _archiver(self) -> Archiver:
        ((archived, failed, last, last_failed, wal),) = self._rows(_ARCHIVER)
        return Archiver(archived, failed, last, last_failed, clean(wal or "", _NAME_LIMIT))

    def _checkpoints(self, server: Server | Unread) -> Checkpoints:
        has_its_own = not isinstance(server, Server) or server.version >= _CHECKPOINTER_SINCE
        (row,) = self._rows(_CHECKPOINTER if has_its_own else _BACKGROUND_WRITER)
        return Checkpoints(*row)

    def _tables(self) -> tuple[Table, ...]:
        return tuple(Table(_text(name), *more) for name, *more in self._rows(_TABLES))

    def _sample(self) -> DiskSample:
        ((used,),) = self._rows(_USED)
        return DiskSample(self.now(), used)

    def _part(self, read: Callable[[], _Read | Unread]) -> _Read | Unread:
        try:
            return read()
        except ClientError as error:
            return Unread(clean(str(error), _REASON_LIMIT))

    def _rows(self, query: str, values: Mapping[str, Any] | None = None) -> list[TupleRow]:
        with postgres.translated("look at the server"):
            return self._connection.execute(query, values).fetchall()


def _session(row: TupleRow) -> Session:
    pid, started, user, database, application, client, kind, state, wait, *times = row[:12]
    query, digest, protected, blockers, waits_for = row[12:]
    return Session(
        pid=pid,
        backend_start=started,
        user=_name(user),
        database=_name(database),
        application=_name(application),
        client=str(client or "local"),
        kind=str(kind or ""),
        state=str(state or ""),
        wait=str(wait or ""),
        xact_start=times[0],
        query_start=times[1],
        state_change=times[2],
        query=_shape(query),
        digest=digest,
        protected=protected,
        blocked_by=tuple(blockers),
        waits_for=_text(waits_for),
    )


def _shape(value: bytes | None) -> str:
    """A query without its values: those are rows, and stay where they are."""
    return query_shape(_text(value), _QUERY_LIMIT)


def _text(value: bytes | None) -> str:
    """Printable and bounded, whatever bytes a client has put there."""
    return clean((value or b"").decode("utf-8", "replace"), _QUERY_BYTES)


def _name(value: bytes | None) -> str:
    return clean((value or b"").decode("utf-8", "replace"), _NAME_LIMIT)
