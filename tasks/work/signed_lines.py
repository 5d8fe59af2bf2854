"""Record lines from segments, each proven by its signed leaf hash."""

from collections.abc import Iterator

from tasks.clients.errors import NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import HASH_SIZE, Checkpoint, leaf_hashes
from tasks.domain.ledger.segments import (
    SEGMENT_LINES,
    Segment,
    SegmentError,
    pick,
    segments_of,
)
from tasks.work.log_files import LogStore
from tasks.work.log_segments import segment_lines, stored_segments
from tasks.work.signed_tree import signed_leaves


def signed_lines(
    log: LogStore, checkpoint: Checkpoint, first: int, last: int, *, leaves: bytes | None = None
) -> Iterator[tuple[int, bytes]]:
    """(seq, line) of the records `first` <= seq < `last`, each proven by its signed leaf.

    `leaves`: what `signed_leaves` returned, to spare reading the tiles again. NotProven names the
    segment (and the seq) that is missing or damaged; another source may still have the records.
    """
    if not 0 <= first <= last <= checkpoint.size:
        raise BadInput(f"expected 0 <= first <= last <= {checkpoint.size}, found {first}, {last}")
    leaves = signed_leaves(log, checkpoint) if leaves is None else leaves
    available = stored_segments(log)
    for wanted in segments_of(last, since=first):
        whole = Segment(wanted.first, min(SEGMENT_LINES, checkpoint.size - wanted.first))
        stored = pick(available, whole)
        if stored is None or stored.count < wanted.count:
            raise NotProven(f"{log}: {whole.path} is missing, with records {wanted.first} and on")
        yield from _proven(log, stored, wanted.count, first, leaves)


def _proven(
    log: LogStore, stored: Segment, wanted: int, first: int, leaves: bytes
) -> Iterator[tuple[int, bytes]]:
    try:
        for start, lines in segment_lines(log, stored, wanted):
            signed = leaves[start * HASH_SIZE : (start + len(lines)) * HASH_SIZE]
            found = leaf_hashes(lines)
            if found != signed:
                at = next(
                    at
                    for at in range(len(lines))
                    if found[at * HASH_SIZE : (at + 1) * HASH_SIZE]
                    != signed[at * HASH_SIZE : (at + 1) * HASH_SIZE]
                )
                raise NotProven(f"{log}: {stored.path}: record {start + at} is not as signed")
            yield from ((start + at, line) for at, line in enumerate(lines) if start + at >= first)
    except (SegmentError, NotFound) as error:
        raise NotProven(f"{log}: {stored.path} cannot be read whole: {error}") from error
