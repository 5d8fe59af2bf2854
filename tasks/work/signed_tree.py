"""The signed tree of a log, read back from its tiles and believed only if it gives the root.

Tiles may be damaged while the records are not. Then the same tree is looked for in the leaf tiles
alone, then in the segments themselves; whatever reproduces the signed root is as good as any other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import HASH_SIZE, Checkpoint, leaf_hashes, tree_root
from tasks.domain.ledger.blocks import (
    BLOCK,
    BLOCK_LEVEL,
    ReadBlock,
    SignedBlocks,
    block_count,
    block_range,
)
from tasks.domain.ledger.segments import Segment, SegmentError
from tasks.domain.ledger.tiled import MissingTile, TiledTree
from tasks.domain.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, leaf_tiles
from tasks.work.log_files import LogStore
from tasks.work.log_segments import block_lines, segments_by_block

_ROOTS_LEVEL = BLOCK_LEVEL // TILE_HEIGHT
_TILE_BYTES = TILE_WIDTH * HASH_SIZE


def signed_tree(log: LogStore, checkpoint: Checkpoint) -> tuple[SignedBlocks, str]:
    """The tree, and what is wrong with the tiles that should have given it (empty: nothing).

    When nothing gives the signed root the tree is unknown: a source can then only be compared as a
    whole. Errors of reaching the log are raised.
    """
    size = checkpoint.size
    tree, tiles, lines = read_tree(log, size), TileBlocks(log, size), SegmentBlocks(log, size)
    damage = ""
    ways: tuple[Callable[[], list[bytes]], ...] = (
        (lambda: _roots_of_tiles(log, tree)),
        (lambda: _roots_of_leaves(log, size, tiles)),
        (lambda: _roots_of_leaves(log, size, lines)),
    )
    for roots in ways:
        try:
            return SignedBlocks.proven(checkpoint, roots(), tiles, lines, tree=tree), damage
        except (NotProven, Malformed) as error:
            damage = damage or f"{log}: {error}"
    return SignedBlocks.unknown(size), damage


def signed_leaves(log: LogStore, checkpoint: Checkpoint) -> bytes:
    """All leaf hashes, size * 32 bytes, from the tiles; NotProven unless they give the root."""
    leaves = b"".join(_read_tiles(log, leaf_tiles(checkpoint.size)))
    root = tree_root(leaves)
    if root != checkpoint.root:
        raise NotProven(
            f"{log}: the tiles of {checkpoint.size} records give root {root.hex()},"
            f" signed is {checkpoint.root.hex()}"
        )
    return leaves


@dataclass(frozen=True, slots=True)
class TileReader:
    """What `TiledTree` reads from a log; a class, so that it can be sent to a worker process."""

    log: LogStore

    def __call__(self, tile: Tile) -> bytes:
        """The tile's bytes; MissingTile, or NotProven when it is larger than a tile."""
        try:
            return self.log.read(tile.path, _TILE_BYTES)
        except NotFound as error:
            raise MissingTile(f"{self.log}: {tile.path} is missing: {error}") from error
        except Malformed as error:
            raise NotProven(f"{self.log}: {error}") from error


def read_tree(log: LogStore, size: int) -> TiledTree:
    """The log's tree through its tiles; unproven, see `tiled`."""
    return TiledTree(size, TileReader(log))


class TileBlocks:
    """Reads a block's leaf hashes from its tiles; the block that was read last is kept."""

    def __init__(self, log: LogStore, size: int) -> None:
        self._log = log
        self._size = size
        self._last: tuple[int, bytes | None] = (-1, None)

    def __reduce__(self) -> tuple[type["TileBlocks"], tuple[LogStore, int]]:
        """Sent to a worker process without the kept block."""
        return TileBlocks, (self._log, self._size)

    def __call__(self, index: int) -> bytes | None:
        """Leaf hashes of block `index`, believed by nobody yet."""
        kept, leaves = self._last  # one look: another thread may read the next block meanwhile
        if kept == index:
            return leaves
        try:
            read = b"".join(_read_tiles(self._log, tiles_of_block(index, self._size)))
        except (NotProven, Malformed):
            return None
        self._last = (index, read)
        return read


class SegmentBlocks:
    """Computes a block's leaf hashes from its segment; the segments are listed when first asked."""

    def __init__(self, log: LogStore, size: int) -> None:
        self._log = log
        self._size = size
        self._segments: dict[int, list[Segment]] | None = None

    def __call__(self, index: int) -> bytes | None:
        """Leaf hashes of block `index`, believed by nobody yet."""
        if self._segments is None:
            self._segments = segments_by_block(self._log)
        stored = self._segments.get(index, ())
        try:
            batches = block_lines(self._log, stored, index, self._size)
            return b"".join([leaf_hashes(lines) for _, lines in batches])
        except (SegmentError, NotFound, Malformed):
            return None


def tiles_of_block(index: int, size: int) -> list[Tile]:
    """The tiles of level 0 that hold the block's leaves; the last may be partial."""
    block = block_range(index, size)
    first = block.start // TILE_WIDTH
    return [Tile(0, first + tile.index, tile.width) for tile in leaf_tiles(len(block))]


def _roots_of_tiles(log: LogStore, tree: TiledTree) -> list[bytes]:
    """Block roots from the tiles of level 2; the last, partial block's from a few below."""
    count = tree.size // BLOCK
    tiles = [Tile(_ROOTS_LEVEL, tile.index, tile.width) for tile in leaf_tiles(count)]
    data = b"".join(_read_tiles(log, tiles))
    roots = [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
    if tree.size % BLOCK:
        roots.append(tree.range_hash(count * BLOCK, tree.size))
    return roots


def _roots_of_leaves(log: LogStore, size: int, read: ReadBlock) -> list[bytes]:
    return [_root_of_leaves(log, index, read) for index in range(block_count(size))]


def _root_of_leaves(log: LogStore, index: int, read: ReadBlock) -> bytes:
    leaves = read(index)
    if leaves is None:
        raise NotProven(f"{log}: the leaves of records {index * BLOCK} and on cannot be read whole")
    return tree_root(leaves)


def _read_tiles(log: LogStore, tiles: Sequence[Tile]) -> Iterable[bytes]:
    """What the tiles hold; NotProven names the first that is missing or has another length."""
    whole = [tile for tile in tiles if tile.width == TILE_WIDTH]
    read = log.read_many((tile.path for tile in whole), _TILE_BYTES)
    for tile in tiles:
        try:
            data = next(read) if tile.width == TILE_WIDTH else partial_tile(log, tile)
        except NotFound as error:
            raise NotProven(f"{log}: {tile.path} is missing: {error}") from error
        if len(data) != tile.width * HASH_SIZE:
            raise NotProven(
                f"{log}: {tile.path} has {len(data)} bytes, expected {tile.width * HASH_SIZE}"
            )
        yield data


def partial_tile(log: LogStore, tile: Tile) -> bytes:
    """A partial tile, or that part of the full one, which may have replaced it (tlog-tiles)."""
    try:
        return log.read(tile.path, _TILE_BYTES)
    except NotFound:
        return log.read(Tile(tile.level, tile.index).path, _TILE_BYTES)[: tile.width * HASH_SIZE]
