"""Shards that another machine hashes: it opens log and database itself, with secrets of its own.

What is sent names places, the signed tree's block roots and a range. It holds no secret, because a
scheduler keeps it and shows it, and no records: those go from their store to whoever hashes them.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.domain.ledger import HASH_SIZE, Checkpoint, Trust
from tasks.domain.ledger.blocks import BLOCK, SignedBlocks, block_count
from tasks.domain.ledger.segments import Segment
from tasks.domain.ledger.shards import Part
from tasks.settings import settings
from tasks.work import signed_tree
from tasks.work.log_files import LogStore
from tasks.work.log_places import LogPlace, place_of
from tasks.work.store_check import StoreCheck, StoreJob, check_store


@dataclass(frozen=True, slots=True)
class PlacedTree:
    """A signed tree to be read where the log lies. `roots`: k * 32 bytes; empty: unknown."""

    place: LogPlace
    head: Checkpoint
    roots: bytes

    @classmethod
    def of(cls, log: LogStore, head: Checkpoint, signed: SignedBlocks) -> "PlacedTree":
        """Of what is believed here; BadInput when the log is in this process alone."""
        roots = [signed.block_root(index) for index in range(block_count(signed.size))]
        known = b"".join(root for root in roots if root is not None)
        return cls(place_of(log), head, known if len(known) == len(roots) * HASH_SIZE else b"")

    def open(self) -> tuple[LogStore, SignedBlocks]:
        """The log and its tree; NotProven when the roots that came do not give the signed one."""
        log, size = self.place.open(), self.head.size
        if size and not self.roots:
            return log, SignedBlocks.unknown(size)
        roots = [self.roots[at : at + HASH_SIZE] for at in range(0, len(self.roots), HASH_SIZE)]
        readers = (signed_tree.TileBlocks(log, size), signed_tree.SegmentBlocks(log, size))
        tree = signed_tree.read_tree(log, size)
        return log, SignedBlocks.proven(self.head, roots, *readers, tree=tree)


@dataclass(frozen=True, slots=True)
class PlacedStore:
    """A stretch of the sealed log: what of its listing concerns these blocks."""

    tree: PlacedTree
    trust: Trust
    segments: Mapping[int, Sequence[Segment]]
    heads: Sequence[int]
    begin: int
    end: int

    @classmethod
    def of(cls, tree: PlacedTree, check: StoreCheck, begin: int, end: int) -> "PlacedStore":
        """Blocks `begin` <= index < `end` of what is checked."""
        heads = check.heads
        low = bisect_right(heads, begin * BLOCK) if begin else 0
        near = heads[low : bisect_right(heads, end * BLOCK)]
        listed = {at: check.segments[at] for at in range(begin, end) if at in check.segments}
        return cls(tree, check.trust, listed, near, begin, end)


def check_placed_store(job: PlacedStore) -> Part:
    """The stretch, on the machine that this is."""
    log, signed = job.tree.open()
    check = StoreCheck(log, job.trust, signed, job.segments, job.heads)
    return check_store(StoreJob(check, job.begin, job.end))


@dataclass(frozen=True, slots=True)
class PlacedTable:
    """A stretch of the table, in the snapshot that whoever asks keeps open."""

    tree: PlacedTree
    shared: str
    begin: int
    end: int
    leaves_too: bool


def own_reader() -> str:
    """The DSN by which this process reads the table."""
    return settings().database.reader_dsn.get_secret_value()
