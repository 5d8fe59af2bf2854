"""How the audit API appends: in order, never the same seq twice, never after a shorter table.

It remembers the end of the log as it acknowledged it. When the database goes away (a restart, the
swap of a recovery) it connects again and compares the table's end with its memory before it goes
on: a table that lost acknowledged records is refused, because appending to it would give their
numbers to other records.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from deployments.lab import side_tables
from deployments.lab.dataset import Head, Row
from tasks.domain.ledger import chain_link, is_tombstone, leaf_hash

HOLD_SECONDS = 30.0
"""How long a request waits for the database before it is told to come again."""

_RECEIPTS_KEPT = 5000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_LAST = "SELECT seq, record FROM audit_records ORDER BY seq DESC LIMIT 1"
_INSERT = (
    "INSERT INTO audit_records (seq, record, leaf, event_type)"
    " SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[], %s::text[])"
)
_LANDED = "SELECT seq, leaf FROM audit_records WHERE seq = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof of an acknowledged event: its place and leaf hash (hex)."""

    seq: int
    leaf: str


class Unavailable(Exception):
    """Nothing was acknowledged; the caller may send the same events again."""


class Appender:
    """The one writer of the table. Safe to call from several threads: they queue."""

    def __init__(
        self,
        dsn: str,
        origin: str,
        hold_seconds: float = HOLD_SECONDS,
        count_error: Callable[[], object] = lambda: None,
    ) -> None:
        """`count_error` is called once for a batch that cannot be written, when that is known.

        That is at once when the table is missing, else when the caller is told to come again: a
        database that is only away for a while, as during a recovery, comes back within the hold.
        """
        self._dsn = dsn
        self._count_error = count_error
        self._origin = origin
        self._hold_seconds = hold_seconds
        self._queue = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._head: Head | None = None
        self._in_doubt: list[tuple[str, Row]] = []
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()

    def head(self) -> Head:
        """The end of the log as this process last acknowledged it. Raises Unavailable."""
        if self._head is None:
            with self._turn(), self._translated():
                self._settle()
        if self._head is None:
            raise Unavailable("the table's end has not been read yet")
        return self._head.copy()

    def append(self, events: Sequence[Mapping[str, Any]]) -> list[Receipt]:
        """Append the events and return their receipts after the commit.

        An event whose id was acknowledged lately is not written again: a caller that did not hear
        the answer may repeat its request. Raises Unavailable.
        """
        until = time.monotonic() + self._hold_seconds
        pause = _FIRST_PAUSE
        is_counted = False
        with self._turn():
            while True:
                try:
                    with self._translated():
                        return self._append_once(events)
                except Unavailable as error:
                    is_over = isinstance(error, _Refused) or time.monotonic() + pause > until
                    if not is_counted and (is_over or _is_missing_table(error)):
                        self._count_error()
                        is_counted = True
                    if is_over:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def close(self) -> None:
        """Close the connection; the memory of the end stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _append_once(self, events: Sequence[Mapping[str, Any]]) -> list[Receipt]:
        connection, head = self._settle()
        new = [event for event in events if event["event_id"] not in self._receipts]
        if new:
            next_head = head.copy()
            rows = [next_head.append(event) for event in new]
            self._in_doubt = [
                (str(event["event_id"]), row) for event, row in zip(new, rows, strict=True)
            ]
            columns = [list(column) for column in zip(*rows, strict=True)]
            with connection.transaction():
                connection.execute(_INSERT, columns)
                side_tables.derive(connection, head.size, next_head.size)
            self._head = next_head
            self._acknowledge(self._in_doubt)
            self._in_doubt = []
        return [self._receipts[str(event["event_id"])] for event in events]

    def _settle(self) -> tuple[psycopg.Connection, Head]:
        """The connection and the end to append to; after a loss, only if nothing is missing."""
        if self._connection is not None and self._head is not None:
            return self._connection, self._head
        connection = self._connection or psycopg.connect(
            self._dsn, autocommit=True, connect_timeout=3, application_name="audit-api"
        )
        self._connection = connection
        table, is_recovered = _end_of(connection, self._origin)
        if self._head is not None:
            _compare(self._head, table, is_recovered=is_recovered)
        self._find_landed(connection)
        self._head = table
        return connection, table

    def _find_landed(self, connection: psycopg.Connection) -> None:
        """Acknowledge what was in doubt and is there; the rest was not written."""
        found = {
            seq: bytes(leaf)
            for seq, leaf in connection.execute(
                _LANDED, ([row.seq for _, row in self._in_doubt],)
            ).fetchall()
        }
        self._acknowledge(
            [(event_id, row) for event_id, row in self._in_doubt if found.get(row.seq) == row.leaf]
        )
        self._in_doubt = []

    def _acknowledge(self, written: Sequence[tuple[str, Row]]) -> None:
        for event_id, row in written:
            self._receipts[event_id] = Receipt(row.seq, row.leaf.hex())
        while len(self._receipts) > _RECEIPTS_KEPT:
            self._receipts.popitem(last=False)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._queue.acquire(timeout=self._hold_seconds):
            raise Unavailable("other requests are still waiting for the database")
        try:
            yield
        finally:
            self._queue.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Any failure drops the connection: the next attempt reads the table's end again."""
        try:
            yield
        except psycopg.Error as error:
            self.close()
            raise Unavailable(f"the database does not answer: {str(error)[:200]}") from error
        except _Refused:
            self.close()
            raise


class _Refused(Unavailable):
    """Waiting does not help: the table must be mended first."""


def _is_missing_table(error: Unavailable) -> bool:
    return isinstance(error.__cause__, psycopg.errors.UndefinedTable)


def _end_of(connection: psycopg.Connection, origin: str) -> tuple[Head, bool]:
    """The table's end, from the stored line itself, and whether that line is a tombstone."""
    row = connection.execute(_LAST).fetchone()
    if row is None:
        return Head(origin), False
    line = bytes(row[1])
    leaf = leaf_hash(line)
    return Head(origin, row[0] + 1, chain_link(line, leaf), leaf), is_tombstone(line)


def _compare(memory: Head, table: Head, *, is_recovered: bool) -> None:
    if table.size < memory.size:
        raise _Refused(
            "the table is shorter than what was acknowledged: "
            f"expected at least {memory.size} records, found {table.size}"
        )
    if table.size == memory.size and table.leaf != memory.leaf and not is_recovered:
        raise _Refused(
            "the table's last record is not the one that was acknowledged: "
            f"expected leaf {memory.leaf.hex()[:16]}, found {table.leaf.hex()[:16]}"
        )
