"""Whose data a database holds, counted: read only, bounded, and never a person's name in an error.

Names of tables and columns are quoted identifiers, values are parameters. A row whose time is not
known counts as inside every window.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from psycopg import Connection, IsolationLevel, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres

_BATCH = 1000

_COUNT = sql.SQL("""
SELECT count(*), min({time})::timestamptz, max({time})::timestamptz FROM {table}
 WHERE %(since)s::timestamptz IS NULL OR coalesce({time} >= %(since)s::timestamptz, true)
""")
_PEOPLE = sql.SQL("""
SELECT DISTINCT {person}::text FROM {table}
 WHERE (%(since)s::timestamptz IS NULL OR coalesce({time} >= %(since)s::timestamptz, true))
   AND {person} IS NOT NULL
 LIMIT %(most)s
""")
_LINES = "SELECT record FROM public.audit_records ORDER BY seq DESC LIMIT %s"


@contextmanager
def at_one_moment(dsn: str, seconds: float) -> Iterator[Connection[TupleRow]]:
    """A connection whose one transaction reads a single state, and only reads.

    Each statement may take `seconds`. Views are refused: they run their owner's functions.
    """
    with postgres.connect(
        dsn, timeout_seconds=min(seconds, 10.0), statement_seconds=seconds, autocommit=False
    ) as connection:
        postgres.only_read(connection)
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT set_config('TimeZone', 'UTC', true)")
        yield connection


@contextmanager
def apart(connection: Connection[TupleRow], what: str) -> Iterator[None]:
    """One part of the look: when it fails the others go on. Errors are translated."""
    with postgres.translated(what), connection.transaction():
        yield


def rows_since(
    connection: Connection[TupleRow], table: str, time: str, since: datetime | None
) -> tuple[int, datetime | None, datetime | None]:
    """(rows, first, last) since then, of all time without it."""
    query = _COUNT.format(table=_table(table), time=sql.Identifier(time))
    row = connection.execute(query, {"since": since}).fetchone()
    return (0, None, None) if row is None else (int(row[0]), row[1], row[2])


def people_since(
    connection: Connection[TupleRow],
    table: str,
    time: str,
    person: str,
    since: datetime | None,
    most: int,
) -> Iterator[str]:
    """The ids of the distinct people, at most so many; they go no further than a keyed hash."""
    query = _PEOPLE.format(
        table=_table(table), time=sql.Identifier(time), person=sql.Identifier(person)
    )
    with connection.cursor("people") as cursor:
        cursor.itersize = _BATCH
        for (found,) in cursor.execute(query, {"since": since, "most": most}):
            yield str(found)


def newest_lines(connection: Connection[TupleRow], most: int) -> Iterator[list[bytes]]:
    """The lines of the audit log in batches, the newest first, at most so many."""
    with connection.cursor("lines") as cursor:
        cursor.execute(_LINES, (most,))
        while batch := cursor.fetchmany(_BATCH):
            yield [bytes(line) for (line,) in batch]


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split(".", 1))
