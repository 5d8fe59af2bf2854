"""What proves a sealed log, looked through and made again from what is proven.

A stored segment is proven by its lines alone: each hashes to its signed leaf. No digest of the
stored bytes is written down anywhere, and a zstd frame that was packed again may differ from the
first one; its lines may not. Tiles are made again byte for byte (C2SP tlog-tiles). Checkpoints are
never made: a copy whose signatures hold is looked for among older versions and what others kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.clients.errors import NotFound
from tasks.domain.ledger import HASH_SIZE, leaf_hash
from tasks.domain.ledger.segments import Segment, pack
from tasks.domain.log_rebuild import Range, merged
from tasks.work import audit_table
from tasks.work.audit_table import AUDIT_RECORDS, LineTable
from tasks.work.believed_tree import Lines, ReadLines, until_damage

__all__ = [
    "Missing",
    "Rebuilt",
    "proven_lines",
    "rebuilt_segment",
    "table_source",
]


@dataclass(frozen=True, slots=True)
class Missing:
    """Records whose line no source has as it was signed."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A segment as it may be stored; how many of its lines came from which source."""

    segment: Segment
    data: bytes
    sources: Mapping[str, int]

    @property
    def source(self) -> str:
        """In words: from where it is proven."""
        return ", ".join(f"{count} lines of {name}" for name, count in self.sources.items())


def rebuilt_segment(
    segment: Segment, leaves: bytes, sources: Iterator[tuple[str, Lines]]
) -> Rebuilt | Missing:
    """The segment, its lines proven by `leaves` (count * 32 bytes, signed), or what is missing.

    Sources are asked one after the other, and only while lines are missing; what cannot be read of
    one is looked for in the next. Memory: the lines of one segment.
    """
    lines, counts = proven_lines(segment.first, leaves, sources)
    gaps = merged(
        (segment.first + at, segment.first + at + 1)
        for at, line in enumerate(lines)
        if line is None
    )
    if gaps:
        return Missing(gaps)
    return Rebuilt(segment, pack([line for line in lines if line is not None]), counts)


def proven_lines(
    first: int, leaves: bytes, sources: Iterator[tuple[str, Lines]]
) -> tuple[list[bytes | None], dict[str, int]]:
    """The lines from seq `first` on that hash to their leaves, and how many each source gave."""
    count = len(leaves) // HASH_SIZE
    lines: list[bytes | None] = [None] * count
    wanted = count
    counts: dict[str, int] = {}
    for name, read in sources:
        for seq, line in until_damage(read):
            at = seq - first
            if not 0 <= at < count or lines[at] is not None:
                continue
            if leaf_hash(line) == leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE]:
                lines[at] = line
                counts[name] = counts.get(name, 0) + 1
                wanted -= 1
        if not wanted:
            break
    return lines, counts


def table_source(dsn: str, table: LineTable = AUDIT_RECORDS) -> ReadLines:
    """Rows of the table, each asked for in a snapshot of its own; none without the table."""

    def read(first: int, end: int) -> Lines:
        try:
            with audit_table.reading(dsn) as connection, audit_table.snapshot(connection):
                for seqs, records in audit_table.stored_rows(connection, first, end, table):
                    yield from zip(seqs, records, strict=True)
        except NotFound:
            return

    return read
