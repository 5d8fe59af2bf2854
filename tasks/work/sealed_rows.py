"""Rows that may be sealed: each the canonical successor of the one before, from the last head on.

A sealer signs nothing that it did not hash itself, and no break: a signature over damage would make
the damage look proven.
"""

from collections.abc import Iterator

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    GENESIS_PREV,
    RecordError,
    canonical_line,
    leaf_hash,
    lost_leaf,
    parse_line,
)
from tasks.domain.ledger.records import links_after
from tasks.work import audit_table
from tasks.work.audit_table import LineTable

_GENESIS = frozenset({GENESIS_PREV.encode()})


def check_sealed_part(connection: Connection[TupleRow], size: int, table: LineTable) -> None:
    """NotProven when the table is shorter than what is sealed already."""
    held = audit_table.count_below(connection, size, table)
    if held != size:
        raise NotProven(
            f"the table has {held} of the {size} records that are sealed already; restore it"
            " before sealing goes on"
        )


def new_rows(
    connection: Connection[TupleRow], first: int, last_leaf: bytes, table: LineTable
) -> Iterator[tuple[bytes, bytes]]:
    """(line, leaf) of the rows from `first` on; NotProven at the first that may not be sealed."""
    links = _links_after_sealed(connection, first, last_leaf, table)
    expected = first
    for seqs, records in audit_table.stored_rows(connection, first, table=table):
        for seq, line in zip(seqs, records, strict=True):
            if seq != expected:
                raise NotProven(f"expected record {expected} next, found {seq}; nothing is sealed")
            _check_row(seq, line, links)
            leaf = leaf_hash(line)
            links = links_after(line, leaf)
            expected += 1
            yield line, leaf


def _links_after_sealed(
    connection: Connection[TupleRow], first: int, last_leaf: bytes, table: LineTable
) -> frozenset[bytes]:
    """What the first new row may carry as `_prev`.

    The last signed leaf; or what a tombstone in its place allows, one that was signed itself or
    one that stands for the signed record after its loss.
    """
    if first == 0:
        return _GENESIS
    links = frozenset({last_leaf.hex().encode()})
    line = audit_table.stored_record(connection, first - 1, table)
    if line is None:
        return links
    leaf = leaf_hash(line)
    return links | links_after(line, leaf) if last_leaf in (leaf, lost_leaf(line)) else links


def _check_row(seq: int, line: bytes, links: frozenset[bytes]) -> None:
    try:
        event = parse_line(line)
        canonical = canonical_line(event) == line
    except RecordError as error:
        raise NotProven(f"record {seq} is no record: {error}; nothing is sealed") from error
    if not canonical:
        raise NotProven(f"record {seq} is not in canonical form; nothing is sealed")
    stored = event.get("seq")
    if type(stored) is not int or stored != seq:
        raise NotProven(
            f"the row {seq} holds a line of seq {ascii(stored)[:40]}; nothing is sealed"
        )
    if str(event.get("_prev")).encode("ascii", "replace") not in links:
        raise NotProven(
            f"record {seq} is not chained to the record before it: one of the two was altered,"
            " inserted or removed; nothing is sealed"
        )
