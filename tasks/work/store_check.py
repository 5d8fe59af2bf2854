"""One stretch of a sealed log in its store: segments, tiles and older heads against the tree."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.ledger import (
    HASH_SIZE,
    Code,
    CompactRange,
    Finding,
    MerkleTree,
    NoteError,
    Trust,
)
from tasks.domain.ledger.blocks import (
    BLOCK,
    SignedBlocks,
    block_range,
    root_after,
    whole_block,
)
from tasks.domain.ledger.compare import Comparer
from tasks.domain.ledger.comparison import Comparison
from tasks.domain.ledger.segments import Segment, SegmentError
from tasks.domain.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, tile_data, tiles_of
from tasks.work.heap import keep_freed_memory
from tasks.work.log_files import LogStore
from tasks.work.log_heads import open_head, refusal
from tasks.work.log_segments import block_lines
from tasks.work.reading_ahead import ahead
from tasks.work.signed_tree import partial_tile, tiles_of_block

_BLOCK_LEVELS = 2
"""Tiles of levels 0 and 1 lie below one block each; those above are few and checked at once."""

_PARTS_AHEAD = 4
"""Of about 1 MiB each; more would only wait."""

_CLAIMS_AHEAD = 1
"""Of 2 MiB."""

_TILE_BYTES = TILE_WIDTH * HASH_SIZE
_NAMED_TILES = 3


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What is looked at: the log, its believed tree, the segments and older heads that it lists."""

    log: LogStore
    trust: Trust
    signed: SignedBlocks
    segments: Mapping[int, Sequence[Segment]]
    heads: Sequence[int]

    def blocks(
        self, begin: int, end: int, tell: Callable[[int], None]
    ) -> tuple[Comparison, tuple[Finding, ...]]:
        """Blocks `begin` <= index < `end`: how their records compare, and what is wrong beside.

        One thread reads and unpacks segments, one reads tiles, this one hashes and compares.
        """
        keep_freed_memory()
        size = self.signed.size
        run = _Run(self, _prefix(self.signed, begin))
        first, last = begin * BLOCK, min(size, end * BLOCK)
        comparer = Comparer(self.log.source, self.signed, first, last, visit=run.visit)
        with (
            closing(ahead(self._claims(begin, end), _CLAIMS_AHEAD)) as claims,
            closing(ahead(self._parts(begin, end), _PARTS_AHEAD)) as parts,
        ):
            for part in parts:
                match part:
                    case _Begin():
                        run.claimed = next(claims)
                    case _Batch(seqs, lines):
                        comparer.add(seqs, lines)
                        tell(len(lines))
                    case _Torn(index, error):
                        run.torn(index, error)
                    case _End(index):
                        run.leave(index)
        return comparer.finish(), tuple(run.findings)

    def _claims(self, begin: int, end: int) -> Iterator[bytes | None]:
        """What each block's tiles of level 0 say of its leaves, right or wrong."""
        for index in range(begin, end):
            known = self.signed.block_root(index) is not None
            yield self.signed.claimed(index) if known else None

    def _parts(self, begin: int, end: int) -> Iterator["_Part"]:
        """The blocks' lines as far as they can be read; what stands before damage comes first."""
        for index in range(begin, end):
            yield _Begin(index)
            stored = self.segments.get(index, ())
            try:
                for seq, lines in block_lines(self.log, stored, index, self.signed.size):
                    yield _Batch(range(seq, seq + len(lines)), lines)
            except NotFound:
                pass  # the records that it should hold are found missing
            except (SegmentError, Malformed) as error:
                yield _Torn(index, error)
            yield _End(index)

    def upper_tiles(self) -> list[Finding]:
        """The tiles of level 2 and up, which others read proofs from, hold what the tree gives."""
        count = self.signed.size // BLOCK
        roots = [root for index in range(count) if (root := self.signed.block_root(index))]
        if len(roots) < count:
            return []
        tree = MerkleTree(roots)
        expected = {
            Tile(tile.level + _BLOCK_LEVELS, tile.index, tile.width): tile_data(tree, tile)
            for tile in tiles_of(count)
        }
        return _bad_tiles(self.log, expected, None)


@dataclass(frozen=True, slots=True)
class _Begin:
    """A block begins."""

    index: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Neighbouring lines of the block."""

    seqs: range
    lines: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class _Torn:
    """The rest of the block's segment cannot be read."""

    index: int
    error: SegmentError | Malformed


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing more comes of the block."""

    index: int


_Part = _Begin | _Batch | _Torn | _End


@dataclass(frozen=True, slots=True)
class StoreJob:
    """One stretch for a worker process."""

    check: StoreCheck
    begin: int
    end: int


def check_store(job: StoreJob) -> tuple[Comparison, tuple[Finding, ...]]:
    """The stretch, in whatever process."""
    return job.check.blocks(job.begin, job.end, lambda _: None)


@dataclass(slots=True)
class _Run:
    """Findings of one stretch, while its blocks go by in order."""

    check: StoreCheck
    prefix: CompactRange | None
    findings: list[Finding] = field(default_factory=list)
    claimed: bytes | None = None
    _visited: int = -1

    def visit(self, index: int, tree: MerkleTree) -> None:
        """A block whose lines are as signed: `tree` is what its tiles must hold."""
        self._visited = index
        self._check(index, tree)

    def leave(self, index: int) -> None:
        """The end of a block: one that was not visited is judged by its signed leaves."""
        if self._visited != index:
            block = block_range(index, self.check.signed.size)
            leaves = self.check.signed.leaves(block.start, block.stop)
            self._check(index, None if leaves is None else MerkleTree(leaves))
        root = self.check.signed.block_root(index)
        if self.prefix is None or root is None:
            self.prefix = None
        elif (index + 1) * BLOCK <= self.check.signed.size:
            self.prefix = self.prefix.merge(whole_block(index, root))

    def torn(self, index: int, error: SegmentError | Malformed) -> None:
        """The block's segment cannot be read to its end."""
        block = block_range(index, self.check.signed.size)
        code = error.code if isinstance(error, SegmentError) else Code.SEGMENT_TORN
        detail = f"seg/{block.start}-...: {error}"
        self.findings.append(
            Finding(code, self.check.log.source, block.start, len(block), detail[:500])
        )

    def _check(self, index: int, tree: MerkleTree | None) -> None:
        log, size = self.check.log, self.check.signed.size
        if self.check.signed.block_root(index) is None:
            return  # nothing is known to hold them against; that is one finding about all of them
        below = _tiles_below(index, size)
        block = block_range(index, size)
        if tree is None:
            detail = f"{below[0].path} and on: neither they nor the segment give the block's root"
            self.findings.append(
                Finding(Code.TILES_BAD, log.source, block.start, len(below), detail)
            )
        else:
            # the tiles of level 0 all at once; one by one only to name those that are wrong
            good = self.claimed == tree.level(0)
            kept = [tile for tile in below if tile.level or not good]
            expected = {tile: _data(tree, tile, index) for tile in kept}
            self.findings += _bad_tiles(log, expected, block.start)
        heads = self.check.heads
        begin = bisect_right(heads, block.start) if index else 0
        for head in heads[begin : bisect_right(heads, block.stop)]:
            if head != size:
                self._check_head(head, tree)

    def _check_head(self, size: int, tree: MerkleTree | None) -> None:
        """An older checkpoint verifies and is a prefix of the newest: the log only ever grew."""
        log = self.check.log
        try:
            old = open_head(log, size, self.check.trust, witnessed=False).checkpoint
        except NoteError as error:
            self.findings.append(refusal(log, size, error))
            return
        except NotFound as error:
            detail = f"checkpoints/{size} is listed, but not there: {error}"
            self.findings.append(Finding(Code.BAD_CHECKPOINT, log.source, detail=detail[:500]))
            return
        if tree is None or self.prefix is None:
            return  # the tree is unreadable here, and that is a finding already
        root = root_after(self.prefix, tree.root(size - self.prefix.end))
        if old.root != root:
            detail = f"checkpoints/{size} is signed, but not a part of this history"
            found = root.hex()
            self.findings.append(
                Finding(Code.FORK, log.source, detail=detail, expected=old.root.hex(), found=found)
            )


def _prefix(signed: SignedBlocks, begin: int) -> CompactRange | None:
    prefix = CompactRange.empty()
    for index in range(begin):
        root = signed.block_root(index)
        if root is None:
            return None
        prefix = prefix.merge(whole_block(index, root))
    return prefix


def _tiles_below(index: int, size: int) -> list[Tile]:
    """The block's tiles of level 0, and its one of level 1."""
    tiles = tiles_of_block(index, size)
    width = len(block_range(index, size)) // TILE_WIDTH
    return [*tiles, Tile(1, index, width)] if width else tiles


def _data(tree: MerkleTree, tile: Tile, index: int) -> bytes:
    """What a tile of level 0 or 1 holds, by the tree over the block alone."""
    level = TILE_HEIGHT * tile.level
    start = (tile.index * TILE_WIDTH - (index * BLOCK >> level)) * HASH_SIZE
    return tree.level(level)[start : start + tile.width * HASH_SIZE]


def _bad_tiles(log: LogStore, expected: Mapping[Tile, bytes], first: int | None) -> list[Finding]:
    """At most one finding: how many tiles do not hold what they must, and the first by name."""
    read = log.read_many((tile.path for tile in expected), _TILE_BYTES)
    try:
        if all(next(read) == data for data in expected.values()):
            return []
    except (NotFound, Malformed):
        pass  # which of them, the slower way says
    bad = [tile for tile, data in expected.items() if not _holds(log, tile, data)]
    if not bad:
        return []
    named = ", ".join(tile.path for tile in bad[:_NAMED_TILES])
    detail = f"missing or not what the leaves give: {named}"
    return [Finding(Code.TILES_BAD, log.source, first, len(bad), detail)]


def _holds(log: LogStore, tile: Tile, expected: bytes) -> bool:
    try:
        return partial_tile(log, tile) == expected
    except (NotFound, Malformed):
        return False
