"""The signed tree when what stores it is damaged: from tiles, segments, old versions and the table.

Each source makes claims about the leaves of a block; whatever reproduces the signed root is as good
as any other. Where none does whole, a block is put together leaf by leaf: a leaf is also named by
the `_prev` of the record after it, so a row that was altered or removed does not take its leaf
along. Memory: a few blocks of 65,536 leaves, whatever the log's length.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import HASH_SIZE, Checkpoint, MerkleTree, leaf_hash, tree_root
from tasks.domain.ledger.blocks import (
    BLOCK,
    BLOCK_LEVEL,
    ReadBlock,
    SignedBlocks,
    block_count,
    block_range,
)
from tasks.domain.ledger.records import is_tombstone, stored_prev
from tasks.domain.ledger.segments import MAX_STORED_BYTES, Segment, SegmentError, unpack
from tasks.domain.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, tile_data
from tasks.domain.ledger.tree import Tree
from tasks.work.block_choices import are_too_many, chosen_roots
from tasks.work.log_files import LogStore
from tasks.work.log_segments import segment_lines, segments_by_block
from tasks.work.log_versions import KeptVersion, LogVersions, worth_trying
from tasks.work.signed_tree import SegmentBlocks, TileBlocks, signed_tree, tiles_of_block

Lines = Iterable[tuple[int, bytes]]
"""(seq, line), proven by nobody yet."""

ReadLines = Callable[[int, int], Lines]
"""Lines of the records `first` <= seq < `end`, as far as there are any."""

_BLOCK_LEVELS = 2
"""Tiles of levels 0 and 1 lie below one block each."""

_NAMED = 5
_MOST_SEGMENTS = 20
_TILE_BYTES = TILE_WIDTH * HASH_SIZE
_SOFT = (SegmentError, NotFound, Malformed)


class Copies:
    """Everything that may hold a part of the log: `table` gives rows, `versions` old files."""

    def __init__(self, log: LogStore, size: int, versions: LogVersions, table: ReadLines) -> None:
        self.log = log
        self.size = size
        self.versions = versions
        self.table = table
        self.stored = segments_by_block(log)
        self._hidden: dict[int, dict[Segment, list[KeptVersion]]] = {}
        for each in versions.below("seg/"):
            segment = Segment.parse(each.path)
            if segment is not None and not each.is_latest:
                of_block = self._hidden.setdefault(segment.first // BLOCK, {})
                of_block.setdefault(segment, []).append(each)

    def segments(self, index: int) -> Iterator[tuple[str, Lines]]:
        """(name, lines) of what is stored or hidden of a block's segments, the likeliest first."""
        wanted = len(block_range(index, self.size))

        def distance(segment: Segment) -> tuple[int, int]:
            return (0, segment.count) if segment.count >= wanted else (1, -segment.count)

        stored = sorted(self.stored.get(index, ()), key=distance)[:_MOST_SEGMENTS]
        hidden = self._hidden.get(index, {})
        for segment in stored:
            yield segment.path, self._stored_lines(segment)
        for segment in sorted(hidden, key=distance)[:_MOST_SEGMENTS]:
            tried = {each.version_id for each in worth_trying(hidden[segment], MAX_STORED_BYTES)}
            for each in hidden[segment]:  # from the newest on
                if each.version_id in tried:
                    version = each.version_id
                    name = f"version {version} of {segment.path}"
                    yield name, self._hidden_lines(segment, version)

    def _stored_lines(self, segment: Segment) -> Lines:
        end = self.size - segment.first
        return until_damage(
            (seq + at, line)
            for seq, lines in segment_lines(self.log, segment, min(segment.count, end))
            for at, line in enumerate(lines)
        )

    def _hidden_lines(self, segment: Segment, version: str) -> Lines:
        return islice(
            until_damage(self._unpacked(segment, version)), max(0, self.size - segment.first)
        )

    def _unpacked(self, segment: Segment, version: str) -> Lines:
        data = self.versions.read(segment.path, version, MAX_STORED_BYTES)
        lines = (line for batch in unpack(data, segment.count) for line in batch)
        return enumerate(lines, segment.first)


def until_damage(lines: Lines) -> Iterator[tuple[int, bytes]]:
    """The lines before the first that cannot be read."""
    try:
        yield from lines
    except _SOFT:
        return


class BelievedTree(Tree):
    """Leaves, tiles and roots of a log that reproduce the signed root of `checkpoint`.

    NotProven when no claim does: then nothing may be put back.
    """

    def __init__(self, checkpoint: Checkpoint, copies: Copies) -> None:
        self.size = checkpoint.size
        self.checkpoint = checkpoint
        self.copies = copies
        size, log = checkpoint.size, copies.log
        self._readers: tuple[ReadBlock, ...] = (
            TileBlocks(log, size),
            SegmentBlocks(log, size),
            _TableBlocks(copies),
            _MixedBlocks(copies),
        )
        plain, _ = signed_tree(log, checkpoint)
        roots = [plain.block_root(index) for index in range(block_count(size))]
        known = [root for root in roots if root is not None]
        if len(known) < len(roots):
            known = self._search()
        self.signed = SignedBlocks.proven(checkpoint, known, *self._readers)
        self._upper = MerkleTree(known[: size // BLOCK])
        self._block: tuple[int, MerkleTree] | None = None

    def block(self, index: int) -> MerkleTree:
        """The tree over one block; NotProven when no source gives all its leaves."""
        if self._block is None or self._block[0] != index:
            seqs = block_range(index, self.checkpoint.size)
            leaves = self.signed.leaves(seqs.start, seqs.stop)
            if leaves is None:
                raise NotProven(
                    f"{self.copies.log}: the leaves of records {seqs.start} to {seqs.stop - 1} are "
                    "in no tile, segment, version or table as they were signed"
                )
            self._block = (index, MerkleTree(leaves))
        return self._block[1]

    def tiles_claimed(self, index: int) -> bytes | None:
        """What the stored tiles say of the block's leaves, right or wrong."""
        return self.signed.claimed(index)

    def node(self, level: int, index: int) -> bytes:
        """Hash of leaves [index << level, (index + 1) << level), all of which exist."""
        if level >= BLOCK_LEVEL:
            return self._upper.node(level - BLOCK_LEVEL, index)
        block = (index << level) // BLOCK
        return self.block(block).node(level, index - (block * BLOCK >> level))

    def tile(self, tile: Tile) -> bytes:
        """What the tile must hold, exactly (C2SP tlog-tiles)."""
        if tile.level >= _BLOCK_LEVELS:
            inner = Tile(tile.level - _BLOCK_LEVELS, tile.index, tile.width)
            return tile_data(self._upper, inner)
        height = TILE_HEIGHT * tile.level
        index = (tile.index * TILE_WIDTH << height) // BLOCK
        start = (tile.index * TILE_WIDTH - (index * BLOCK >> height)) * HASH_SIZE
        return self.block(index).level(height)[start : start + tile.width * HASH_SIZE]

    def _search(self) -> list[bytes]:
        """Roots of the blocks, one claim of each, that together give the signed root.

        What is put together leaf by leaf is asked only when what is whole does not suffice.
        """
        *whole, mixed = self._readers
        count = block_count(self.size)
        claims: list[dict[Hashable, bytes]] = [{} for _ in range(count)]
        for readers in (whole, [mixed]):
            for index in range(count):
                self._claim(claims[index], index, readers)
            chosen = chosen_roots(self.checkpoint, claims)
            if chosen is not None:
                return chosen
        if are_too_many(claims):
            raise NotProven(
                f"{self.copies.log}: tiles, segments and table contradict each other in so many of "
                f"{count} blocks that there are too many combinations to try all; of the likeliest "
                f"none reproduces the signed root of {self.size} records. Bring one of the three "
                "back from a backup and look again; nothing is put back"
            )
        unknown = [index for index, found in enumerate(claims) if not found]
        doubtful = unknown or [
            index for index, found in enumerate(claims) if len(set(found.values())) > 1
        ]
        seqs = [block_range(index, self.size) for index in doubtful[:_NAMED]]
        named = ", ".join(f"{each.start} to {each.stop - 1}" for each in seqs) or "all"
        raise NotProven(
            f"{self.copies.log}: nothing that is stored, nor the table, reproduces the signed root "
            f"of {self.size} records; in doubt are the records {named}: nothing is put back"
        )

    def _claim(
        self, claims: dict[Hashable, bytes], index: int, readers: Sequence[ReadBlock]
    ) -> None:
        width = len(block_range(index, self.size)) * HASH_SIZE
        for read in readers:
            claimed = read(index)
            if claimed is not None and len(claimed) == width:
                claims[read] = tree_root(claimed)


class _TableBlocks:
    """A block's leaves from the rows of the table."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies

    def __call__(self, index: int) -> bytes | None:
        """None when rows are missing."""
        seqs = block_range(index, self._copies.size)
        leaves: list[bytes] = []
        for seq, line in self._copies.table(seqs.start, seqs.stop):
            if seq != seqs.start + len(leaves):
                return None
            leaves.append(leaf_hash(line))
        return b"".join(leaves) if len(leaves) == len(seqs) else None


class _MixedBlocks:
    """A block's leaves, each by the votes of everything that names it."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies

    def __call__(self, index: int) -> bytes | None:
        """None when some leaf is named by nothing."""
        seqs = block_range(index, self._copies.size)
        votes: list[Counter[bytes]] = [Counter() for _ in seqs]
        for leaves in self._tiles(index):
            _vote(votes, leaves)
        for _, lines in self._copies.segments(index):
            _vote(votes, _leaves_and_links(lines, seqs))
        end = min(seqs.stop + 1, self._copies.size)  # the record after names the last leaf
        _vote(votes, _leaves_and_links(self._copies.table(seqs.start, end), seqs))
        if not all(votes):
            return None
        return b"".join(each.most_common(1)[0][0] for each in votes)

    def _tiles(self, index: int) -> Iterator[dict[int, bytes]]:
        for tile in tiles_of_block(index, self._copies.size):
            copies = stored_copies(self._copies.log, self._copies.versions, tile.path, _TILE_BYTES)
            for _, data in copies:
                if len(data) == tile.width * HASH_SIZE:
                    start = tile.index * TILE_WIDTH - index * BLOCK
                    yield {
                        start + at: data[at * HASH_SIZE : (at + 1) * HASH_SIZE]
                        for at in range(tile.width)
                    }


def stored_copies(
    log: LogStore,
    versions: LogVersions,
    path: str,
    limit: int,
    known: Sequence[KeptVersion] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """(name, content) of what is stored under the path, then of its older versions.

    `known`: the path's versions, where they were listed already.
    """
    with suppress(NotFound, Malformed):
        yield path, log.read(path, limit)
    kept = versions.below(path) if known is None else known
    hidden = [each for each in kept if each.path == path and not each.is_latest]
    for each in worth_trying(hidden, limit):
        with suppress(NotFound, Malformed):
            yield (
                f"version {each.version_id} of {path}",
                versions.read(path, each.version_id, limit),
            )


def _vote(votes: Sequence[Counter[bytes]], leaves: dict[int, bytes]) -> None:
    for at, leaf in leaves.items():
        votes[at][leaf] += 1


def _leaves_and_links(lines: Lines, seqs: range) -> dict[int, bytes]:
    """One vote of a source for each leaf, by its place in the block.

    The link in the record after counts where that record is itself linked to: then it is what was
    written. So an altered record does not outvote the chain, nor the record after it.
    """
    own: dict[int, bytes] = {}
    linked: dict[int, bytes] = {}
    placed: set[int] = set()  # tombstones: the record after may name what was lost
    for seq, line in lines:
        own[seq] = leaf_hash(line)
        if is_tombstone(line):
            placed.add(seq)
        prev = stored_prev(line)
        if prev is not None:
            linked[seq - 1] = bytes.fromhex(prev.decode()) if _is_hex(prev) else b""
    chosen: dict[int, bytes] = {}
    for seq in seqs:
        link, leaf = linked.get(seq), own.get(seq)
        if (
            link
            and seq not in placed
            and (leaf is None or own.get(seq + 1) == linked.get(seq + 1, own.get(seq + 1)))
        ):
            chosen[seq - seqs.start] = link
        elif leaf is not None:
            chosen[seq - seqs.start] = leaf
    return chosen


def _is_hex(text: bytes) -> bool:
    return all(mark in b"0123456789abcdef" for mark in text)
