"""Tiles (C2SP tlog-tiles): the tree cut into files of 256 hashes.

Tile `N` of level `L` holds the hashes of the perfect subtrees of 256**L leaves numbered
N * 256 ... N * 256 + 255. Its path is `tile/<L>/<N>` with N in groups of three digits, all but
the last marked by `x` (1234067 is `x001/x234/067`); a tile that is not full yet ends in
`.p/<width>`. Full tiles never change; partial ones are superseded, not rewritten.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.domain.errors import BadInput
from tasks.domain.ledger.hashing import HASH_SIZE
from tasks.domain.ledger.tree import MerkleTree

TILE_WIDTH = 256
TILE_HEIGHT = 8
MAX_LEVEL = 63
_MAX_PATH = 64
"""A tree of 2**63 leaves needs fewer characters."""
_PATH = re.compile(
    r"tile/(0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


class TileError(BadInput):
    """A tile's path or size is not what C2SP tlog-tiles allows."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Place of one tile: `width` hashes (1 to 256) of level `level`, number `index`."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not 0 <= self.level <= MAX_LEVEL or self.index < 0 or not 1 <= self.width <= TILE_WIDTH:
            raise TileError(f"no such tile: level {self.level}, {self.index}, width {self.width}")

    @property
    def path(self) -> str:
        """Relative path, forward slashes."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{self.level}/{'/'.join(groups)}{partial}"

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """From a path; TileError for any spelling but the one that `path` gives."""
        match = _PATH.fullmatch(path) if len(path) <= _MAX_PATH else None
        if match is None:
            raise TileError(f"not the path of a tile: {path[:200]!r}")
        level, groups, width = match.groups()
        index = int(groups.replace("x", "").replace("/", ""))
        tile = cls(int(level), index, int(width) if width else TILE_WIDTH)
        if tile.path != path:
            raise TileError(f"not the one way to write a tile's path: {path[:200]!r}")
        return tile


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """Every tile of a tree of `size` leaves that a tree of `since` leaves does not have yet."""
    level = 0
    while size:
        full, rest = divmod(size, TILE_WIDTH)
        for index in range(since // TILE_WIDTH, full):
            yield Tile(level, index)
        if rest and size != since:
            yield Tile(level, full, rest)
        size, since, level = full, since // TILE_WIDTH, level + 1


def leaf_tiles(size: int) -> list[Tile]:
    """The tiles of level 0: together they are the leaf hashes, in order."""
    full, rest = divmod(size, TILE_WIDTH)
    return [Tile(0, index) for index in range(full)] + ([Tile(0, full, rest)] if rest else [])


def tile_data(tree: MerkleTree, tile: Tile) -> bytes:
    """What the tile holds, width * 32 bytes; TileError when the tree is too small for it."""
    start = tile.index * TILE_WIDTH * HASH_SIZE
    data = tree.level(tile.level * TILE_HEIGHT)[start : start + tile.width * HASH_SIZE]
    if len(data) != tile.width * HASH_SIZE:
        raise TileError(f"a tree of {tree.size} leaves has no tile {tile.path}")
    return data
