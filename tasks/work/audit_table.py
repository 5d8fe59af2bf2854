"""Reading `audit_records` as it is stored: one repeatable-read snapshot, binary COPY, streaming.

Only `seq` and `record` are read. The stored leaf and everything derived say nothing about the
record, so nothing here depends on them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres

TABLE = sql.Identifier("public", "audit_records")
BATCH_ROWS = 1000

_CONNECT_SECONDS = 10.0
_ROWS = sql.SQL("COPY (SELECT seq, record FROM {} WHERE {} ORDER BY seq) TO STDOUT (FORMAT BINARY)")
_NO_SEQ = -1


@contextmanager
def reading(dsn: str) -> Iterator[Connection[TupleRow]]:
    """A connection for bulk reading: statements may take long, waiting for a lock may not."""
    with postgres.connect(dsn, timeout_seconds=_CONNECT_SECONDS) as connection:
        connection.execute("SET lock_timeout = '30s'")
        yield connection


@contextmanager
def snapshot(connection: Connection[TupleRow]) -> Iterator[None]:
    """All reading inside sees one state of the database, and nothing can be written."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def stored_rows(
    connection: Connection[TupleRow], first: int | None = None
) -> Iterator[tuple[list[int], list[bytes]]]:
    """(seqs, records) in batches of 1,000, by seq; from `first` on, or all there are.

    NULLs, which the table forbids, come as seq -1 and as the empty record: a dropped constraint is
    for the comparison to report.
    """
    condition = sql.SQL("true") if first is None else sql.SQL("seq >= {}").format(first)
    seqs: list[int] = []
    records: list[bytes] = []
    with connection.cursor().copy(_ROWS.format(TABLE, condition)) as copy:
        copy.set_types(["int8", "bytea"])
        for seq, record in copy.rows():
            seqs.append(_NO_SEQ if seq is None else seq)
            records.append(record or b"")
            if len(records) == BATCH_ROWS:
                yield seqs, records
                seqs, records = [], []
    if records:
        yield seqs, records


def stored_record(connection: Connection[TupleRow], seq: int) -> bytes | None:
    """One record as it is stored; None without it."""
    query = sql.SQL("SELECT record FROM {} WHERE seq = %s").format(TABLE)
    row = connection.execute(query, (seq,), binary=True).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


def count_below(connection: Connection[TupleRow], seq: int) -> int:
    """How many rows the table has with a smaller seq, from 0."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE seq >= 0 AND seq < %s").format(TABLE)
    row = connection.execute(query, (seq,)).fetchone()
    return int(row[0]) if row else 0
