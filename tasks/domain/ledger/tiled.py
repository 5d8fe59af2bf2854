"""The tree of a log read through its tiles: proofs from O(log size) small files, not all leaves.

Nothing that is read here is believed. A proof is made of whatever the tiles say; it counts only
when it leads to the signed root, which the caller verifies (`proofs`).
"""

from collections import OrderedDict
from collections.abc import Callable

from tasks.domain.errors import NotProven
from tasks.domain.ledger.hashing import HASH_SIZE, tree_root
from tasks.domain.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from tasks.domain.ledger.tree import Tree

_CACHED_TILES = 64
"""Of 8 KiB each. A proof for the next record reads the tiles of the one before."""


class MissingTile(NotProven):
    """The log has no such tile: what `read` raises, so that a replaced one is looked for."""


class TiledTree(Tree):
    """The tree of `size` leaves whose tiles `read` gives: width * 32 bytes, or MissingTile.

    A partial tile that is gone is cut from the full one, which may have replaced it (C2SP
    tlog-tiles, "Partial Tiles"). NotProven names a tile that is missing or has another length.
    """

    __slots__ = ("_cache", "_read")

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self.size = size
        self._read = read
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def node(self, level: int, index: int) -> bytes:
        """Hash of leaves [index << level, (index + 1) << level), all of which exist.

        It lies in one tile: the levels between two tiles' are folded from the lower one.
        """
        if level < 0 or index < 0 or (index + 1) << level > self.size:
            raise ValueError(f"a tree of {self.size} leaves has no node {index} of level {level}")
        height = level % TILE_HEIGHT
        first = index << height
        start = first % TILE_WIDTH * HASH_SIZE
        data = self.tile(level // TILE_HEIGHT, first // TILE_WIDTH)
        return tree_root(data[start : start + (HASH_SIZE << height)])

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of tile `index` of `level`, as many of its 256 as this tree has."""
        known = self._cache.get((level, index))
        if known is not None:
            self._cache.move_to_end((level, index))
            return known
        whole = self.size >> level * TILE_HEIGHT
        tile = Tile(level, index, min(TILE_WIDTH, whole - index * TILE_WIDTH))
        data = self._read_partial(tile) if tile.width < TILE_WIDTH else self._read_whole(tile)
        self._cache[level, index] = data
        if len(self._cache) > _CACHED_TILES:
            self._cache.popitem(last=False)
        return data

    def _read_partial(self, tile: Tile) -> bytes:
        try:
            return self._read_whole(tile)
        except MissingTile:
            return self._read_whole(Tile(tile.level, tile.index))[: tile.width * HASH_SIZE]

    def _read_whole(self, tile: Tile) -> bytes:
        data = self._read(tile)
        if len(data) != tile.width * HASH_SIZE:
            raise NotProven(
                f"expected {tile.width * HASH_SIZE} bytes in {tile.path}, found {len(data)}:"
                " the log's tiles are damaged, verify it before anything is proven from it"
            )
        return data
