"""Verifying the table `audit_events` of rlhf-audit-trail 0.1, as far as a table of JSONB can be.

JSONB keeps values, not the text that was hashed: it spells numbers anew and orders keys. So a row
whose content, serialised again as the writer did, gives its hash is proven to be what was hashed; a
row that does not may be altered or only spelled otherwise, and is reported as unproven. The table
keeps no signatures and no chain files: the best answer is "nothing contradicts".
"""

import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients.errors import NotFound
from tasks.domain.ledger import Code, Layout, RecordError, Verdict, parse_line
from tasks.domain.ledger.legacy_audit import LegacyAudit
from tasks.domain.ledger.legacy_events import (
    MAX_EVENT_BYTES,
    MAX_SECONDS,
    LegacyEvent,
    digest_of,
    written_form,
)
from tasks.domain.ledger.legacy_manifest import parse_heads
from tasks.work import audit_table
from tasks.work.trusted import Progress

_TABLE = "public.audit_events"
_SOURCE = "table"
_TOLD_ROWS = 1000
_WITHOUT_KEY = "the table keeps no signatures"
_TYPE_OF_TIME = """
SELECT format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = 'timestamp' AND NOT attisdropped
"""
_IS_LEGACY = """
SELECT to_regclass('public.audit_records') IS NULL AND EXISTS
    (SELECT FROM pg_class WHERE oid = to_regclass('public.audit_events') AND relkind IN ('r', 'p'))
"""
_ROWS = sql.SQL("""
COPY (SELECT id::text, session_id::text, event_type::text, {time}::text,
             CASE WHEN octet_length(event_data::text) <= {limit} THEN event_data::text END,
             integrity_hash::text, previous_hash::text
      FROM public.audit_events) TO STDOUT (FORMAT BINARY)
""")


class _Row(NamedTuple):
    """One row, each column as text or None."""

    event_id: str | None
    session_id: str | None
    event_type: str | None
    timestamp: str | None
    data: str | None
    integrity_hash: str | None
    previous_hash: str | None


def is_legacy_table(dsn: str) -> bool:
    """Whether the database has the migration's `audit_events` and no sealed `audit_records`."""
    with audit_table.reading(dsn) as connection:
        row = connection.execute(_IS_LEGACY).fetchone()
    return row is not None and bool(row[0])


def verify_legacy_table(
    dsn: str, *, head: str | None = None, progress: Progress | None = None
) -> Verdict:
    """Every row of `audit_events`. `dsn`: a role that may read it; `head` as for `verify_legacy`.

    NotFound without such a table; errors of reaching the server are raised. Memory: some 300 bytes
    a row.
    """
    began = time.perf_counter()
    heads = frozenset[bytes]() if head is None else parse_heads(head)
    audit = LegacyAudit(_SOURCE, has_key=False, without_key=_WITHOUT_KEY)
    rows = unproven = size = 0
    with audit_table.reading(dsn) as connection, audit_table.snapshot(connection):
        for row in _stored_rows(connection):
            rows += 1
            size += len(row.data or "")
            unproven += _take(audit, row)
            if progress is not None and rows % _TOLD_ROWS == 0:
                progress(rows, rows)
    if unproven:
        detail = "serialised again they do not give their hash: altered, or only spelled otherwise"
        audit.add(Code.UNPROVEN, detail, count=unproven)
    outcome = audit.finish(heads=heads, has_flushes=False)
    return Verdict(
        status=outcome.status,
        source=_SOURCE,
        records=rows,
        signed=0,
        findings=outcome.findings,
        root=outcome.root,
        seconds=time.perf_counter() - began,
        bytes=size,
        reason=outcome.reason,
        layout=Layout.LEGACY,
    )


def _stored_rows(connection: Connection[TupleRow]) -> Iterator[_Row]:
    found = connection.execute(_TYPE_OF_TIME, (_TABLE,)).fetchone()
    if found is None:
        raise NotFound(f"expected the table {_TABLE} with a column timestamp, found none")
    is_time = str(found[0]).startswith("timestamp")
    column = "extract(epoch FROM timestamp)" if is_time else "timestamp"
    query = _ROWS.format(time=sql.SQL(column), limit=MAX_EVENT_BYTES)
    with connection.cursor().copy(query) as copy:
        copy.set_types(["text"] * len(_Row._fields))
        for row in copy.rows():
            yield _Row(*row)


def _take(audit: LegacyAudit, row: _Row) -> bool:
    """Add the row; whether it stays unproven."""
    try:
        event, is_proven, is_linked = _event(row)
    except RecordError as error:
        audit.add(Code.UNPARSEABLE, f"row {ascii(row.event_id)[:80]}: {error}")
        return False
    if not is_linked:
        detail = f"row {ascii(row.event_id)[:80]}: previous_hash is not the one in its data"
        audit.add(Code.CHAIN_BREAK, detail)
    audit.add_event(event, event.session_id, event.event_id, is_signed=False)
    return not is_proven


def _event(row: _Row) -> tuple[LegacyEvent, bool, bool]:
    """The row's event, whether its content gives its hash, and whether both its links agree."""
    if not (row.event_id and row.session_id and row.event_type and row.data and row.timestamp):
        raise RecordError("expected id, session, type, time and at most 1 MiB of data, found NULL")
    data = parse_line(row.data.encode("utf-8"))
    stored = digest_of(row.integrity_hash)
    link = data.get("_previous_hash", row.previous_hash)
    previous = None if link is None else digest_of(link)
    seconds = _seconds(row.timestamp)
    members = {
        "event_id": row.event_id,
        "event_type": row.event_type,
        "session_id": row.session_id,
        "timestamp": seconds,
        "data": data,
    }
    is_proven = any(sha256(text).digest() == stored for text in _texts(members, row.previous_hash))
    event = LegacyEvent(
        row.event_id, row.session_id, seconds, stored, stored, previous, None, is_sliced=True
    )
    return event, is_proven, link == row.previous_hash


def _texts(members: dict[str, Any], previous: str | None) -> Iterator[bytes]:
    """What the writer may have hashed: the link stands in the data, or in its column alone."""
    yield written_form(members)
    if previous is not None and "_previous_hash" not in members["data"]:
        yield written_form(members | {"data": members["data"] | {"_previous_hash": previous}})


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise RecordError("expected timestamp as seconds of the epoch") from error
    if not abs(seconds) < MAX_SECONDS:
        raise RecordError("expected timestamp as seconds of the epoch")
    return seconds
