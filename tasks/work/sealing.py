"""Sealing: new rows of the table become segments, tiles and a signed checkpoint.

Order of writing: segments, then tiles, then the checkpoint. Until the checkpoint is there nothing
points at the rest, so a crash leaves the old head, and the next run writes the same files again
and completes. A sealer signs nothing that it did not hash itself, and no break: it refuses with
the seq, because a signature over damage would make the damage look proven.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients.errors import Conflict
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    GENESIS_PREV,
    HASH_SIZE,
    Checkpoint,
    MerkleTree,
    NoteSigner,
    RecordError,
    Trust,
    canonical_line,
    leaf_hash,
    lost_leaf,
    parse_line,
    sign_checkpoint,
    verify_consistency,
)
from tasks.domain.ledger.records import links_after
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, SegmentError, pack, unpack
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tasks.work import audit_table
from tasks.work.log_heads import Head, latest_head, stored_sizes
from tasks.work.log_segments import signed_lines
from tasks.work.log_store import LogStore
from tasks.work.signed_tree import signed_leaves

_SEALING_LOCK = 0x5345414C  # "SEAL": any constant does, it must only be the sealers'
_PARALLEL_WRITES = 8
_GENESIS = frozenset({GENESIS_PREV.encode()})


@dataclass(frozen=True, slots=True)
class SealResult:
    """The head after sealing, and how many records it has more than the one before."""

    checkpoint: Checkpoint
    note: str
    added: int


def seal(dsn: str, log: LogStore, signer: NoteSigner, trust: Trust) -> SealResult:
    """Seal every row that the last checkpoint does not cover. `dsn`: a role that reads the table.

    One sealer at a time per database. NotProven, and nothing signed, when the table is shorter
    than the head, when a new row is not the canonical successor of the one before, or when the
    newest stored checkpoint does not verify.
    """
    with audit_table.reading(dsn) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_SEALING_LOCK,))
        head = _trusted_head(log, trust)
        with audit_table.snapshot(connection):
            return _seal_from(connection, log, signer, trust, head)


def _trusted_head(log: LogStore, trust: Trust) -> Head | None:
    if not stored_sizes(log):
        return None
    head = latest_head(log, trust)
    if head.refused:
        raise NotProven(
            f"{log}: newer than the good head of {head.checkpoint.size} records there is"
            f" {head.refused[0].detail}; look into it before anything is sealed"
        )
    return head


def _seal_from(
    connection: Connection[TupleRow],
    log: LogStore,
    signer: NoteSigner,
    trust: Trust,
    head: Head | None,
) -> SealResult:
    size = head.checkpoint.size if head else 0
    held = audit_table.count_below(connection, size)
    if held != size:
        raise NotProven(
            f"the table has {held} of the {size} records that are sealed already; restore it"
            " before sealing goes on"
        )
    old_leaves = signed_leaves(log, head.checkpoint) if head else b""
    start = size - size % SEGMENT_LINES
    lines = [] if head is None else _lines_of(log, head.checkpoint, start, old_leaves)
    new_leaves: list[bytes] = []
    for line, leaf in _checked_rows(connection, size, old_leaves[-HASH_SIZE:]):
        lines.append(line)
        new_leaves.append(leaf)
        if len(lines) == SEGMENT_LINES:
            _write_segment(log, Segment(start, SEGMENT_LINES), lines)
            start, lines = start + SEGMENT_LINES, []
    if head is not None and not new_leaves:
        return SealResult(head.checkpoint, head.note, 0)
    if lines:
        _write_segment(log, Segment(start, len(lines)), lines)
    tree = MerkleTree(old_leaves + b"".join(new_leaves))
    checkpoint = Checkpoint(trust.origin, tree.size, tree.root())
    if head is not None:
        old = head.checkpoint
        proof = tree.consistency_proof(old.size)
        verify_consistency(old.size, tree.size, old.root, checkpoint.root, proof)
    _write_tiles(log, tree, size)
    note = sign_checkpoint(checkpoint, signer)
    _write_head(log, size if head else None, checkpoint.size, note)
    return SealResult(checkpoint, note, len(new_leaves))


def _lines_of(log: LogStore, checkpoint: Checkpoint, start: int, leaves: bytes) -> list[bytes]:
    """The sealed lines of the block that is not full yet, each proven by its leaf."""
    return [
        line for _, line in signed_lines(log, checkpoint, start, checkpoint.size, leaves=leaves)
    ]


def _checked_rows(
    connection: Connection[TupleRow], first: int, last_leaf: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """(line, leaf) of the rows from `first` on; NotProven at the first that may not be sealed."""
    links = _links_after_sealed(connection, first, last_leaf)
    expected = first
    for seqs, records in audit_table.stored_rows(connection, first):
        for seq, line in zip(seqs, records, strict=True):
            if seq != expected:
                raise NotProven(f"expected record {expected} next, found {seq}; nothing is sealed")
            _check_row(seq, line, links)
            leaf = leaf_hash(line)
            links = links_after(line, leaf)
            expected += 1
            yield line, leaf


def _links_after_sealed(
    connection: Connection[TupleRow], first: int, last_leaf: bytes
) -> frozenset[bytes]:
    """What the first new row may carry as `_prev`.

    The last signed leaf; or what a tombstone in its place allows, one that was signed itself or
    one that stands for the signed record after its loss.
    """
    if first == 0:
        return _GENESIS
    links = frozenset({last_leaf.hex().encode()})
    line = audit_table.stored_record(connection, first - 1)
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


def _write_segment(log: LogStore, segment: Segment, lines: list[bytes]) -> None:
    """Write it; one that an interrupted run left may be packed otherwise, not hold other lines."""
    try:
        log.write(segment.path, pack(lines))
    except Conflict:
        try:
            stored = [
                line for part in unpack(log.read(segment.path), segment.count) for line in part
            ]
        except SegmentError as error:
            raise NotProven(
                f"{log}: {segment.path} was written before, damaged: {error}"
            ) from error
        if stored != lines:
            raise


def _write_tiles(log: LogStore, tree: MerkleTree, since: int) -> None:
    with ThreadPoolExecutor(_PARALLEL_WRITES) as pool:
        tiles = tiles_of(tree.size, since)
        for _ in pool.map(lambda tile: log.write(tile.path, tile_data(tree, tile)), tiles):
            pass  # re-raises the first error


def _write_head(log: LogStore, old_size: int | None, size: int, note: str) -> None:
    newer = [each for each in stored_sizes(log) if old_size is None or each > old_size]
    if newer and newer != [size]:
        raise Conflict(f"{log}: checkpoint {newer[-1]} appeared meanwhile; another sealer is at it")
    log.write(f"checkpoints/{size}", note.encode())
