"""Sealing: new rows of a table become segments, tiles and a signed, cosigned checkpoint.

Order of writing: segments, tiles, then, once a quorum of witnesses has cosigned it, the checkpoint.
Until that is there nothing points at the rest, so a crash leaves the old head, and the next run
writes the same files again and completes. Which rows may be sealed: `sealed_rows`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients.errors import Conflict, Malformed
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    HASH_SIZE,
    Checkpoint,
    MerkleTree,
    NoteError,
    NoteSigner,
    Trust,
    sign_checkpoint,
    verify_consistency,
)
from tasks.domain.ledger.segments import SEGMENT_LINES, Segment, SegmentError, pack, unpack
from tasks.domain.ledger.tiles import tile_data, tiles_of
from tasks.work import audit_table
from tasks.work.audit_table import AUDIT_RECORDS, LineTable
from tasks.work.cosigning import NO_WITNESSES, Witnesses, by_log, cosign
from tasks.work.log_files import LogStore
from tasks.work.log_heads import (
    CHECKPOINTS,
    Head,
    cosigned_path,
    latest_head,
    open_head,
    stored_sizes,
)
from tasks.work.sealed_rows import check_sealed_part, new_rows
from tasks.work.signed_lines import signed_lines
from tasks.work.signed_tree import signed_leaves

_SEALING_LOCK = 0x5345414C  # "SEAL": any constant does, it must only be the sealers'
_PARALLEL_WRITES = 8


@dataclass(frozen=True, slots=True)
class SealResult:
    """The head after sealing, and how many records it has more than the one before."""

    checkpoint: Checkpoint
    note: str
    added: int


@dataclass(frozen=True, slots=True)
class Sealer:
    """Where it seals, with which key, and whose signatures the heads need."""

    log: LogStore
    signer: NoteSigner
    trust: Trust
    witnesses: Witnesses = NO_WITNESSES
    table: LineTable = AUDIT_RECORDS


def seal(dsn: str, log: LogStore, signer: NoteSigner, trust: Trust) -> SealResult:
    """Seal every row of `audit_records` that the last checkpoint does not cover; no witnesses."""
    return seal_table(dsn, Sealer(log, signer, trust))


def seal_table(dsn: str, sealer: Sealer) -> SealResult:
    """Seal every row that the last checkpoint does not cover. `dsn`: a role that reads the table.

    One sealer at a time per database. NotProven, and no head written, when the table is shorter
    than the head, when a new row is not the canonical successor of the one before, when the newest
    stored checkpoint lacks what the trust demands, or when a witness contradicts the new one.
    Transient when too few witnesses answer. Without new rows the head is cosigned again when half
    of the trust's `max_age` is over, so that a quiet log does not look abandoned.
    """
    with audit_table.reading(dsn) as connection:
        wait_for_others(connection)
        head = _trusted_head(sealer)
        with audit_table.snapshot(connection):
            return _seal_from(connection, sealer, head)


def wait_for_others(connection: Connection[TupleRow]) -> None:
    """One at a time writes to the log of this database, while the connection is open."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_SEALING_LOCK,))


def _trusted_head(sealer: Sealer) -> Head | None:
    if not stored_sizes(sealer.log):
        return None
    head = latest_head(sealer.log, sealer.trust)
    if head.refused:
        raise NotProven(
            f"{sealer.log}: newer than the good head of {head.checkpoint.size} records there is"
            f" {head.refused[0].detail}; look into it before anything is sealed"
        )
    return head


def _seal_from(connection: Connection[TupleRow], sealer: Sealer, head: Head | None) -> SealResult:
    log, table = sealer.log, sealer.table
    size = head.checkpoint.size if head else 0
    check_sealed_part(connection, size, table)
    old_leaves = signed_leaves(log, head.checkpoint) if head else b""
    rows = new_rows(connection, size, old_leaves[-HASH_SIZE:], table)
    new_leaves = _write_segments(log, head, old_leaves, rows)
    if head is not None and not new_leaves:
        return _kept_fresh(sealer, head, old_leaves)
    tree = MerkleTree(old_leaves + new_leaves)
    checkpoint = Checkpoint(sealer.trust.origin, tree.size, tree.root())
    if head is not None:
        old = head.checkpoint
        proof = tree.consistency_proof(old.size)
        verify_consistency(old.size, tree.size, old.root, checkpoint.root, proof)
    _write_tiles(log, tree, size)
    note = sign_checkpoint(checkpoint, sealer.signer)
    note = cosign(note, tree, size, sealer.trust, sealer.witnesses)
    note = _write_head(sealer, size if head else None, checkpoint, note)
    return SealResult(checkpoint, note, len(new_leaves) // HASH_SIZE)


def _kept_fresh(sealer: Sealer, head: Head, leaves: bytes) -> SealResult:
    """The head as it is, cosigned again when its cosignatures are half as old as they may be."""
    trust, now = sealer.trust, datetime.now(UTC)
    if trust.max_age is None or not sealer.witnesses.urls:
        return SealResult(head.checkpoint, head.note, 0)
    if not replace(trust, max_age=trust.max_age / 2).staleness(head.cosigned, now):
        return SealResult(head.checkpoint, head.note, 0)
    tree = MerkleTree(leaves)
    note = cosign(by_log(head.note, trust), tree, tree.size, trust, sealer.witnesses)
    sealer.log.write(cosigned_path(tree.size, now), note.encode())
    return SealResult(head.checkpoint, note, 0)


def _write_segments(
    log: LogStore, head: Head | None, old_leaves: bytes, rows: Iterator[tuple[bytes, bytes]]
) -> bytes:
    """Write the new lines, after those of the block that is not full yet; the new leaves."""
    size = head.checkpoint.size if head else 0
    start = size - size % SEGMENT_LINES
    lines = [] if head is None else _lines_of(log, head.checkpoint, start, old_leaves)
    new_leaves: list[bytes] = []
    for line, leaf in rows:
        lines.append(line)
        new_leaves.append(leaf)
        if len(lines) == SEGMENT_LINES:
            _write_segment(log, Segment(start, SEGMENT_LINES), lines)
            start, lines = start + SEGMENT_LINES, []
    if lines and new_leaves:
        _write_segment(log, Segment(start, len(lines)), lines)
    return b"".join(new_leaves)


def _lines_of(log: LogStore, checkpoint: Checkpoint, start: int, leaves: bytes) -> list[bytes]:
    """The sealed lines of the block that is not full yet, each proven by its leaf."""
    return [
        line for _, line in signed_lines(log, checkpoint, start, checkpoint.size, leaves=leaves)
    ]


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


def _write_head(sealer: Sealer, old_size: int | None, new: Checkpoint, note: str) -> str:
    """Write the note and return it; the stored one where another sealer was first with this head.

    Conflict when there is any other head: two sealers without a common database are at it.
    """
    log = sealer.log
    newer = [each for each in stored_sizes(log) if old_size is None or each > old_size]
    if newer and newer != [new.size]:
        raise Conflict(f"{log}: checkpoint {newer[-1]} appeared meanwhile; another sealer is at it")
    try:
        log.write(f"{CHECKPOINTS}{new.size}", note.encode())
    except (Conflict, Malformed) as error:
        try:
            stored = open_head(log, new.size, sealer.trust)
        except NoteError as unfit:
            raise Conflict(f"{log}: another checkpoint {new.size} is there: {unfit}") from error
        if stored.checkpoint != new:
            raise
        return stored.note
    return note
