"""The record lines of a sealed log: as they are stored, or proven by their signed leaves."""

from collections.abc import Iterator

from tasks.clients.errors import NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import HASH_SIZE, Checkpoint, Code, Finding, leaf_hashes
from tasks.domain.ledger.segments import (
    MAX_STORED_BYTES,
    SEGMENT_LINES,
    Segment,
    SegmentError,
    pick,
    segments_of,
    unpack,
)
from tasks.work.log_heads import CHECKPOINTS, SIZE_NAME
from tasks.work.log_store import LogStore
from tasks.work.signed_tree import signed_leaves

_NAMED_STRAYS = 5
_NAMED_MARKS = 90


def stored_segments(log: LogStore) -> list[Segment]:
    """The segments that the log has, by their names."""
    parsed = (Segment.parse(path) for path in log.paths("seg/"))
    return [segment for segment in parsed if segment is not None]


def strays(log: LogStore) -> list[Finding]:
    """What lies among segments and checkpoints under names that no sealer writes.

    One finding for each folder: how many there are, the first ones by name. They are never read.
    """
    found: list[Finding] = []
    for folder in ("seg/", CHECKPOINTS):
        odd = sorted(path for path in log.paths(folder) if not _is_ours(path))
        if odd:
            named = ", ".join(ascii(path)[:_NAMED_MARKS] for path in odd[:_NAMED_STRAYS])
            detail = f"not written by a sealer and not read: {named}"
            found.append(Finding(Code.STRAY, log.source, None, len(odd), detail))
    return found


def _is_ours(path: str) -> bool:
    name = path.removeprefix(CHECKPOINTS)
    return Segment.parse(path) is not None or (
        name != path and SIZE_NAME.fullmatch(name) is not None
    )


def segment_lines(log: LogStore, stored: Segment, wanted: int) -> Iterator[tuple[int, list[bytes]]]:
    """(first seq, lines) in batches: the first `wanted` lines of a stored segment, unproven.

    SegmentError (after the lines before it) when the segment is damaged.
    """
    seq = stored.first
    end = stored.first + wanted
    for lines in unpack(log.read(stored.path, MAX_STORED_BYTES), stored.count):
        part = lines[: end - seq]
        if part:
            yield seq, part
        seq += len(lines)


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
