"""What the audit API can say about its own table.

It holds no signing or verifying key: it finds records that do not fit their hash or their
neighbour, not a table that was rewritten as a whole.
"""

import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import psycopg

from tasks.domain.ledger import leaf_hash, tree_root
from tasks.domain.ledger.records import links_after, stored_prev

_ANOMALIES_KEPT = 100
_WINDOW = 5000

_RANGE = "SELECT seq, record, leaf FROM audit_records WHERE seq >= %s AND seq < %s ORDER BY seq"
_CHOSEN = "SELECT seq, record, leaf FROM audit_records WHERE seq = ANY(%s) ORDER BY seq"

StoredRow = tuple[int, bytes, bytes]


@dataclass(slots=True)
class Tally:
    """What a check counted. `anomalies` keeps the first hundred, `found` counts them all."""

    records: int = 0
    found: int = 0
    anomalies: list[dict[str, object]] = field(default_factory=list)

    def note(self, seq: int, kind: str) -> None:
        """One record that is not as it should be."""
        self.found += 1
        if len(self.anomalies) < _ANOMALIES_KEPT:
            self.anomalies.append({"seq": seq, "kind": kind})


def size_of(connection: psycopg.Connection) -> int:
    """Records that the table should hold: one more than its highest seq."""
    row = connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM audit_records").fetchone()
    return int(row[0]) if row else 0


def check_range(connection: psycopg.Connection, first: int, last: int) -> Tally:
    """Hash, neighbour and number of every record with first <= seq < last."""
    tally = Tally()
    before: StoredRow | None = None
    expected = first
    for row in _rows(connection, first, last):
        for missing in range(expected, row[0]):
            tally.note(missing, "missing")
        _check_row(tally, row, before if row[0] == expected else None)
        before, expected = row, row[0] + 1
    for missing in range(expected, last):
        tally.note(missing, "missing")
    return tally


def check_sample(connection: psycopg.Connection, size: int, sample_size: int) -> Tally:
    """Presence and hash of records chosen at random among the first `size`."""
    chosen = set(random.sample(range(size), min(sample_size, size)))
    tally = Tally()
    rows = connection.execute(_CHOSEN, (list(chosen),), binary=True).fetchall()
    for row in rows:
        _check_row(tally, row, None)
        chosen.discard(row[0])
    for missing in sorted(chosen):
        tally.note(missing, "missing")
    return tally


def roots(connection: psycopg.Connection) -> tuple[int, bytes, bytes]:
    """(records, root over the stored leaf hashes, root over the lines as they are now)."""
    stored, computed = bytearray(), bytearray()
    for _, record, leaf in _rows(connection, 0, size_of(connection)):
        stored += leaf
        computed += leaf_hash(record)
    return len(stored) // 32, tree_root(bytes(stored)), tree_root(bytes(computed))


def _check_row(tally: Tally, row: StoredRow, before: StoredRow | None) -> None:
    seq, record, leaf = row
    tally.records += 1
    if leaf_hash(record) != leaf:
        tally.note(seq, "hash")
    elif before is not None:
        prev = stored_prev(record)
        if prev != before[2].hex().encode() and prev not in links_after(before[1], before[2]):
            tally.note(seq, "chain")


def _rows(connection: psycopg.Connection, first: int, last: int) -> Iterator[StoredRow]:
    """In windows: so that a long check holds neither memory nor a snapshot."""
    for start in range(first, last, _WINDOW):
        rows: Iterable[StoredRow] = connection.execute(
            _RANGE, (start, min(start + _WINDOW, last)), binary=True
        ).fetchall()
        yield from rows


class RollingCheck:
    """The last check's result, kept fresh: a window a second, the table again and again.

    A finding counts at once; it is forgotten only by a whole pass (or a full check) without one.
    """

    def __init__(self, dsn: str, records_per_second: int) -> None:
        self._dsn = dsn
        self._step = records_per_second
        self._place = 0
        self._found_in_pass = 0
        self.passed = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rolling-check", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own; 0 records a second means never."""
        if self._step:
            self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def conclude(self, tally: Tally, *, whole: bool) -> None:
        """Take over the result of a check that somebody asked for."""
        if tally.found:
            self.passed = False
        elif whole:
            self.passed, self._found_in_pass, self._place = True, 0, 0

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            try:
                self._look()
            except psycopg.Error:
                continue  # no database, no statement about its records: /health says so

    def _look(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=3) as connection:
            size = size_of(connection)
            last = min(self._place + self._step, size)
            # one record of overlap, so that the link across the windows is checked too
            tally = check_range(connection, max(self._place - 1, 0), last)
        self._found_in_pass += tally.found
        if tally.found:
            self.passed = False
        self._place = last
        if last >= size:
            if not self._found_in_pass:
                self.passed = True
            self._place, self._found_in_pass = 0, 0
