"""The segments that a signed root is the root of, when what is stored now is another history.

Somebody who writes over everything leaves a log that is consistent in itself, and that no signed
head covers. What was sealed lies behind it, in older versions; which of them belong together, the
root says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from tasks.domain.ledger import Checkpoint, leaf_hashes, tree_root
from tasks.domain.ledger.blocks import block_count, block_range, root_of_blocks
from tasks.domain.ledger.segments import Segment, pack
from tasks.work.believed_tree import Copies, Lines
from tasks.work.log_files import LogStore
from tasks.work.log_versions import LogVersions

_MOST_TRIES = 4096


@dataclass(frozen=True, slots=True)
class OlderSegment:
    """A segment that is proven: its path, from where it came, and its stored form."""

    path: str
    source: str
    data: bytes


def older_segments(
    log: LogStore, head: Checkpoint, versions: LogVersions
) -> Iterator[OlderSegment]:
    """The segments of the head, one of each block; none when no choice of copies gives its root.

    Memory: the lines of one segment.
    """
    copies = Copies(log, head.size, versions, _no_rows)
    claims = [_roots(copies, index) for index in range(block_count(head.size))]
    chosen = _choice(head, [list(each) for each in claims])
    for index, root in enumerate(chosen):
        name = claims[index][root]
        lines = _lines(copies, index, name)
        segment = Segment(block_range(index, head.size).start, len(lines))
        yield OlderSegment(segment.path, name, pack(lines))


def _roots(copies: Copies, index: int) -> dict[bytes, str]:
    """Root over the block by each copy that has all its lines, and the copy's name."""
    wanted = len(block_range(index, copies.size))
    found: dict[bytes, str] = {}
    for name, read in copies.segments(index):
        lines = _whole(read, wanted)
        if lines:
            found.setdefault(tree_root(leaf_hashes(lines)), name)
    return found


def _lines(copies: Copies, index: int, name: str) -> list[bytes]:
    wanted = len(block_range(index, copies.size))
    return next(_whole(read, wanted) for each, read in copies.segments(index) if each == name)


def _whole(read: Lines, wanted: int) -> list[bytes]:
    lines = [line for _, line in islice(read, wanted)]
    return lines if len(lines) == wanted else []


def _choice(head: Checkpoint, claims: Sequence[Sequence[bytes]]) -> Sequence[bytes]:
    """One root of each block that together give the signed one; none when there is no such."""
    if not all(claims):
        return ()
    for roots in islice(_choices(claims), _MOST_TRIES):
        if root_of_blocks(head.size, roots) == head.root:
            return roots
    return ()


def _choices(claims: Sequence[Sequence[bytes]]) -> Iterator[tuple[bytes, ...]]:
    """The likeliest first: everything as it was first written, or written at one later time."""
    for age in range(1, max(map(len, claims)) + 1):
        yield tuple(each[-min(age, len(each))] for each in claims)
    yield from product(*claims)


def _no_rows(first: int, end: int) -> Lines:
    del first, end
    return ()
