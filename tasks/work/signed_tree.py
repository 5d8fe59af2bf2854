"""The signed tree of a log, read back from its tiles and believed only if it gives the root."""

from tasks.clients.errors import NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import HASH_SIZE, Checkpoint, tree_root
from tasks.domain.ledger.tiles import TILE_WIDTH, Tile, leaf_tiles
from tasks.work.log_store import LogStore


def signed_leaves(log: LogStore, checkpoint: Checkpoint) -> bytes:
    """All leaf hashes, size * 32 bytes, from the tiles; NotProven unless they give the root."""
    tiles = leaf_tiles(checkpoint.size)
    whole = [tile for tile in tiles if tile.width == TILE_WIDTH]
    parts: list[bytes] = []
    try:
        parts.extend(log.read_many((tile.path for tile in whole), TILE_WIDTH * HASH_SIZE))
        parts.extend(_partial_tile(log, tile) for tile in tiles[len(whole) :])
    except NotFound as error:
        raise NotProven(f"{log}: {tiles[len(parts)].path} is missing: {error}") from error
    for tile, data in zip(tiles, parts, strict=True):
        if len(data) != tile.width * HASH_SIZE:
            raise NotProven(
                f"{log}: {tile.path} has {len(data)} bytes, expected {tile.width * HASH_SIZE}"
            )
    leaves = b"".join(parts)
    root = tree_root(leaves)
    if root != checkpoint.root:
        raise NotProven(
            f"{log}: the tiles of {checkpoint.size} records give root {root.hex()},"
            f" signed is {checkpoint.root.hex()}"
        )
    return leaves


def _partial_tile(log: LogStore, tile: Tile) -> bytes:
    """A partial tile, or that part of the full one, which may have replaced it (tlog-tiles)."""
    limit = TILE_WIDTH * HASH_SIZE
    try:
        return log.read(tile.path, limit)
    except NotFound:
        return log.read(Tile(tile.level, tile.index).path, limit)[: tile.width * HASH_SIZE]
