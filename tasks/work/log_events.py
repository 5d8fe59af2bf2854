"""Events of one type in a restored log, read from the proven lines themselves.

The table's `event_type` column is only derived: nothing signs it.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.domain.ledger import RecordError, parse_line
from tasks.domain.reconciliation_rules import COUNT, at_path

_LINES = (
    "COPY (SELECT seq, record FROM public.audit_records WHERE seq >= {} AND seq < {}"
    " AND position({}::bytea IN record) > 0 ORDER BY seq) TO STDOUT (FORMAT BINARY)"
)
_SIZE = "SELECT coalesce(max(seq) + 1, 0) FROM public.audit_records"


def log_size(connection: Connection[TupleRow]) -> int:
    """The number of records."""
    row = connection.execute(_SIZE).fetchone()
    return int(row[0]) if row is not None else 0


def events_of(
    connection: Connection[TupleRow], event_type: str, first: int, end: int
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(seq, event) of each record of the type in first..end-1, in order."""
    # A line is stored in the one canonical form, so that its own field looks exactly so.
    mark = b'"event_type":"' + event_type.encode() + b'"'
    query = sql.SQL(_LINES).format(int(first), int(end), mark)
    with connection.cursor().copy(query) as copy:
        copy.set_types(["int8", "bytea"])
        for seq, record in copy.rows():
            try:
                event = parse_line(bytes(record))
            except RecordError:
                continue
            if event.get("event_type") == event_type:
                yield seq, event


def amount(event: Mapping[str, Any], path: str) -> Decimal | None:
    """What an event charges; None for what is no finite number of at least zero."""
    if path == COUNT:
        return Decimal(1)
    found = at_path(event, path)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    number = Decimal(repr(found))  # as the line spells it, not as binary stores it
    return number if number.is_finite() and number >= 0 else None
