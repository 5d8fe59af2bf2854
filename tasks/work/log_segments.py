"""The record lines of a sealed log as its segments store them; nobody has proven them yet."""

from collections.abc import Iterator, Sequence

from tasks.clients.errors import NotFound
from tasks.domain.ledger import Code, Finding
from tasks.domain.ledger.blocks import block_range
from tasks.domain.ledger.segments import (
    MAX_STORED_BYTES,
    SEGMENT_LINES,
    Segment,
    pick,
    unpack_pieces,
)
from tasks.work.log_files import LogStore
from tasks.work.log_heads import CHECKPOINTS, SIZE_NAME

_NAMED_STRAYS = 5
_NAMED_MARKS = 90


def stored_segments(log: LogStore) -> list[Segment]:
    """The segments that the log has, by their names."""
    parsed = (Segment.parse(path) for path in log.paths("seg/"))
    return [segment for segment in parsed if segment is not None]


def segments_by_block(log: LogStore) -> dict[int, list[Segment]]:
    """The stored segments of each block that has any."""
    found: dict[int, list[Segment]] = {}
    for segment in stored_segments(log):
        found.setdefault(segment.first // SEGMENT_LINES, []).append(segment)
    return found


def strays(log: LogStore) -> list[Finding]:
    """What lies among segments and checkpoints under names that no sealer writes.

    One finding for each folder: how many there are, the first ones by name. They are never read.
    """
    found: list[Finding] = []
    for folder in ("seg/", CHECKPOINTS):
        odd = sorted(path for path in log.paths(folder) if not is_of_a_sealer(path))
        if odd:
            named = ", ".join(ascii(path)[:_NAMED_MARKS] for path in odd[:_NAMED_STRAYS])
            detail = f"not written by a sealer and not read: {named}"
            found.append(Finding(Code.STRAY, log.source, None, len(odd), detail))
    return found


def is_of_a_sealer(path: str) -> bool:
    """Whether a sealer gives such a name to a segment or a checkpoint."""
    name = path.removeprefix(CHECKPOINTS)
    return Segment.parse(path) is not None or (
        name != path and SIZE_NAME.fullmatch(name) is not None
    )


def segment_lines(
    log: LogStore, stored: Segment, wanted: int
) -> Iterator[tuple[int, Sequence[bytes]]]:
    """(first seq, lines) in batches: the first `wanted` lines of a stored segment, unproven.

    SegmentError (after the lines before it) when the segment is damaged.
    """
    seq = stored.first
    end = stored.first + wanted
    for lines in unpack_pieces(log.pieces(stored.path, MAX_STORED_BYTES), stored.count):
        part = lines[: end - seq]
        if part:
            yield seq, part
        seq += len(lines)


def block_lines(
    log: LogStore, available: Sequence[Segment], index: int, size: int
) -> Iterator[tuple[int, Sequence[bytes]]]:
    """(first seq, lines) of block `index` of a log of `size` records, unproven.

    NotFound when no segment of the block is stored, SegmentError as `segment_lines`.
    """
    block = block_range(index, size)
    wanted = Segment(block.start, len(block))
    stored = pick(available, wanted)
    if stored is None:
        raise NotFound(f"{log} has no segment with the records {block.start} and on")
    return segment_lines(log, stored, len(block))
