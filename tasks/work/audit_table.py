"""Reading a table of record lines as it is stored: one snapshot, in binary, streaming.

`audit_records` of the system under care, or the responder's own journal. Only `seq` and the line
are read, and the stored leaf where a restored table is to have it right. It and everything derived
say nothing about the line, so nothing here depends on them.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import Connection, sql
from psycopg.abc import Buffer
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.copy_out import copied
from tasks.clients.dump_tools import find_program
from tasks.clients.errors import Malformed, NotFound, Transient
from tasks.domain.ledger.kernel import KERNEL
from tasks.domain.ledger.kernel_protocol import HASH_SIZE
from tasks.domain.ledger.records import MAX_LINE_BYTES
from tasks.settings import settings


@dataclass(frozen=True, slots=True)
class LineTable:
    """A table with `seq` and, in the column `line`, the record lines."""

    name: sql.Identifier
    line: sql.Identifier


AUDIT_RECORDS = LineTable(sql.Identifier("public", "audit_records"), sql.Identifier("record"))
JOURNAL = LineTable(sql.Identifier("public", "journal"), sql.Identifier("line"))

_CONNECT_SECONDS = 10.0
_SESSION: tuple[LiteralString, ...] = (
    "SET lock_timeout = '30s'",
    "SET row_security = off",  # an error, rather than rows kept from us
    "SET idle_in_transaction_session_timeout = 0",  # snapshots are shared
)
_ROWS = sql.SQL("SELECT seq, {} FROM {} WHERE {} ORDER BY seq")
_AT_MOST = sql.SQL("substring({} FROM 1 FOR {})")
_BATCH_BYTES = 1024 * 1024
_COPY_HEADER = 19
"""Signature, flags and the length of an extension that no version has yet."""

_END_OF_ROWS = b"\xff\xff"
_BIGINT, _BYTEA = 20, 17


@contextmanager
def reading(dsn: str) -> Iterator[Connection[TupleRow]]:
    """A connection for bulk reading: statements may take long, waiting for a lock may not."""
    with postgres.connect(dsn, timeout_seconds=_CONNECT_SECONDS) as connection:
        for each in _SESSION:
            connection.execute(each)
        yield connection


@contextmanager
def snapshot(connection: Connection[TupleRow], shared: str = "") -> Iterator[str]:
    """All reading inside sees one state of the database, and nothing can be written.

    Yields the name under which other connections see the same state, as `shared`, while this one
    is open.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            yield _shared_snapshot(connection, shared)
        except BaseException:
            # a COPY that was left half-way holds the connection's lock: only closing ends it
            connection.close()
            raise


def _shared_snapshot(connection: Connection[TupleRow], shared: str) -> str:
    if not shared:
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        return str(row[0]) if row else ""
    try:
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(shared))
    except psycopg.Error as error:
        raise Transient(f"the shared snapshot has ended: {str(error)[:200]}") from error
    return shared


def stored_rows(
    connection: Connection[TupleRow],
    first: int | None = None,
    end: int | None = None,
    table: LineTable = AUDIT_RECORDS,
    *,
    bulk: bool = False,
) -> Generator[tuple[Sequence[int], Sequence[bytes]]]:
    """(seqs, records) in batches of about 1 MiB, by seq; `first` <= seq < `end`, or all there are.

    `bulk`: many rows, for which starting psql pays.

    Inside of `snapshot` only, and nothing else can be asked of the connection meanwhile. Raises
    Malformed when the columns have not the types that we read.

    Without a `first` rows below 0 come too, without an `end` those whose seq is NULL.

    NULLs, which the table forbids, come as seq -1 and as the empty record: a dropped constraint is
    for the comparison to report.
    """
    what = [_AT_MOST.format(table.line, MAX_LINE_BYTES + 1)]
    for seqs, (records,) in _batches(connection, table, what, (first, end), bulk=bulk):
        yield seqs, records


def rows_with_leaves(
    connection: Connection[TupleRow], first: int | None = None, end: int | None = None
) -> Generator[tuple[Sequence[int], Sequence[bytes], Sequence[bytes]]]:
    """As `stored_rows` of the audit records, with the leaf hashes that are stored beside them."""
    table = AUDIT_RECORDS
    what = [
        _AT_MOST.format(table.line, MAX_LINE_BYTES + 1),
        _AT_MOST.format(sql.Identifier("leaf"), HASH_SIZE + 1),
    ]
    for seqs, (records, leaves) in _batches(connection, table, what, (first, end), bulk=True):
        yield seqs, records, leaves


def _batches(
    connection: Connection[TupleRow],
    table: LineTable,
    what: list[sql.Composed],
    part: tuple[int | None, int | None],
    *,
    bulk: bool,
) -> Iterator[tuple[Sequence[int], list[Sequence[bytes]]]]:
    """Seqs, and the values of each column that is asked for."""
    first, end = part
    bounds: list[sql.Composable] = [sql.SQL("true")]
    if end is not None:
        bounds.append(sql.SQL("seq < {}").format(end))
    if first is not None:
        bounds.append(sql.SQL("seq >= {}").format(first))
    columns = sql.SQL(", ").join(what)
    query = _ROWS.format(columns, table.name, sql.SQL(" AND ").join(bounds))
    # the table's index gives the order; a billion records sorted would fill the server's disk
    connection.execute("SET LOCAL enable_sort = off")
    described = connection.execute(sql.SQL("{} LIMIT 0").format(query))
    _require_types(described.description, len(what))
    with _copied(connection, query, bulk=bulk) as read:
        yield from _rows(read, 1 + len(what))
    if first is not None and end is None:
        # by itself: together with the bound it would have the server read all rows
        without = _ROWS.format(columns, table.name, sql.SQL("seq IS NULL"))
        with _copied(connection, without, bulk=False) as read:
            yield from _rows(read, 1 + len(what))


@contextmanager
def _copied(
    connection: Connection[TupleRow], query: sql.Composed, *, bulk: bool
) -> Iterator[Callable[[], Buffer]]:
    psql = bulk_program() if bulk else None
    if psql is not None:
        with copied(connection, query, psql, _SESSION) as read:
            yield read
        return
    copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
    with connection.cursor() as cursor, cursor.copy(copy) as answer:
        yield answer.read


def bulk_program() -> Path | None:
    """psql; None where it is not installed: the rows come all the same, half as fast."""
    with suppress(NotFound):
        return find_program("psql", settings().database.client_binaries)
    return None


def _rows(
    read: Callable[[], Buffer], columns: int
) -> Iterator[tuple[Sequence[int], list[Sequence[bytes]]]]:
    """The rows of a COPY in binary, batch by batch; `read` gives the next bytes, b"" at last."""
    held: list[Buffer] = []
    passed, is_more = _COPY_HEADER, True
    while is_more:
        size = sum(map(len, held))
        while size < _BATCH_BYTES:
            if not (chunk := read()):
                is_more = False
                break
            held.append(chunk)
            size += len(chunk)
        text = b"".join(held)[passed:]
        try:
            seqs, found, rest = KERNEL.rows(text, columns)
        except ValueError as error:
            raise Malformed(f"PostgreSQL sent what is no COPY in binary: {error}") from error
        held, passed = [rest], 0
        if seqs:
            yield seqs, found
    if held != [_END_OF_ROWS]:
        raise Malformed("expected the end of a COPY, found that it was cut off")


def _require_types(columns: Sequence[psycopg.Column] | None, lines: int) -> None:
    found = [each.type_code for each in columns or ()]
    if found != [_BIGINT, *[_BYTEA] * lines]:
        raise Malformed(
            f"expected seq of type bigint and the line of type bytea, found types {found} "
            "(pg_type.oid): the table was altered"
        )


def stored_record(
    connection: Connection[TupleRow], seq: int, table: LineTable = AUDIT_RECORDS
) -> bytes | None:
    """One record as it is stored; None without it."""
    query = sql.SQL("SELECT {} FROM {} WHERE seq = %s").format(table.line, table.name)
    row = connection.execute(query, (seq,), binary=True).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


def is_table(connection: Connection[TupleRow], *, table: LineTable = AUDIT_RECORDS) -> bool | None:
    """Whether it is a table, and not a view that may show each role other rows; None without it."""
    query = "SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass(%s)"
    row = connection.execute(query, (table.name.as_string(connection),)).fetchone()
    return None if row is None else bool(row[0])


def counts_by_block(
    connection: Connection[TupleRow], end: int, block: int, table: LineTable = AUDIT_RECORDS
) -> dict[int, int]:
    """How many rows each block of `block` seqs has, for seqs below `end`; those below 0 at -1."""
    query = sql.SQL(
        "SELECT CASE WHEN seq < 0 THEN -1 ELSE seq / {} END AS block, count(*) FROM {}"
        " WHERE seq < {} GROUP BY 1"
    ).format(block, table.name, end)
    return {int(number): int(count) for number, count in connection.execute(query).fetchall()}


def count_below(
    connection: Connection[TupleRow], seq: int, table: LineTable = AUDIT_RECORDS
) -> int:
    """How many rows the table has with a smaller seq, from 0."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE seq >= 0 AND seq < %s").format(table.name)
    row = connection.execute(query, (seq,)).fetchone()
    return int(row[0]) if row else 0
