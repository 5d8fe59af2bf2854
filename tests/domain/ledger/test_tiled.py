"""The tree through its tiles gives what the tree in memory gives, and reads little for it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import NotProven
from tasks.domain.ledger import EMPTY_ROOT, MerkleTree, leaf_hash, verify_inclusion
from tasks.domain.ledger.tiled import MissingTile, TiledTree
from tasks.domain.ledger.tiles import Tile, tile_data, tiles_of

LEAVES = [leaf_hash(b"%d" % number) for number in range(70_000)]
SMALL = MerkleTree(LEAVES[:700])
LARGE = MerkleTree(LEAVES)


class Shelf:
    """The tiles of a tree as a log of `size` leaves stores them; counts what is read."""

    def __init__(self, tree, size):
        self.tree, self.size = tree, size
        self.tiles = set(tiles_of(size))
        self.read_tiles = []

    def __call__(self, tile):
        self.read_tiles.append(tile)
        if tile not in self.tiles:
            raise MissingTile(f"{tile.path} does not exist")
        return tile_data(self.tree, tile)

    def seen_as(self, size=None):
        return TiledTree(self.size if size is None else size, self)


def test_every_small_tree_has_the_root_of_the_tree_in_memory():
    for size in range(701):
        assert Shelf(SMALL, size).seen_as().root() == SMALL.root(size)


def test_proofs_of_every_small_size_are_those_of_the_tree_in_memory():
    chance = random.Random(1)
    for size in range(1, 701):
        tiled = Shelf(SMALL, size).seen_as()
        for index in {0, size - 1, chance.randrange(size)}:
            assert tiled.inclusion_proof(index) == SMALL.inclusion_proof(index, size)
        old = chance.randrange(size + 1)
        assert tiled.consistency_proof(old) == SMALL.consistency_proof(old, size)


@given(st.data())
def test_proofs_of_large_trees_are_those_of_the_tree_in_memory(data):
    size = data.draw(st.integers(1, len(LEAVES)))
    older = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, older - 1))
    tiled = Shelf(LARGE, size).seen_as()
    assert tiled.root(older) == LARGE.root(older)
    assert tiled.inclusion_proof(index, older) == LARGE.inclusion_proof(index, older)
    assert tiled.consistency_proof(older) == LARGE.consistency_proof(older, size)


@given(st.data())
def test_every_node_that_exists_is_that_of_the_tree_in_memory(data):
    size = data.draw(st.integers(1, len(LEAVES)))
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    assert Shelf(LARGE, size).seen_as().node(level, index) == LARGE.node(level, index)


@pytest.mark.parametrize(("level", "index"), [(0, 300), (2, 75), (9, 0), (-1, 0), (0, -1)])
def test_a_node_that_does_not_exist_is_refused(level, index):
    with pytest.raises(ValueError, match="no node"):
        Shelf(SMALL, 300).seen_as().node(level, index)


def test_the_empty_tree_reads_nothing():
    shelf = Shelf(SMALL, 0)
    assert shelf.seen_as().root() == EMPTY_ROOT
    assert shelf.read_tiles == []
    with pytest.raises(ValueError, match="no leaf"):
        shelf.seen_as().inclusion_proof(0)


def test_a_proof_reads_a_handful_of_tiles_and_its_neighbour_none_more():
    shelf = Shelf(LARGE, 70_000)
    tiled = shelf.seen_as()
    tiled.inclusion_proof(40_000)
    once = len(shelf.read_tiles)
    assert once <= 5
    tiled.inclusion_proof(40_001)
    assert len(shelf.read_tiles) == once


def test_the_cache_is_bounded_and_does_not_change_what_is_read():
    shelf = Shelf(LARGE, 70_000)
    tiled = shelf.seen_as()
    for index in range(0, 70_000, 256):
        assert tiled.node(0, index) == LEAVES[index]
    assert len(tiled._cache) <= 64
    assert tiled.node(0, 0) == LEAVES[0]


def test_a_partial_tile_that_the_full_one_replaced_is_cut_from_it():
    shelf = Shelf(SMALL, 700)
    shelf.tiles.add(Tile(1, 0, 1))  # kept: its full one is not there yet
    older = shelf.seen_as(300)  # tile/0/001.p/44 is gone, tile/0/001 is there
    assert older.root() == SMALL.root(300)
    assert Tile(0, 1, 44) in shelf.read_tiles
    proof = older.inclusion_proof(299)
    verify_inclusion(299, 300, LEAVES[299], SMALL.root(300), proof)


def test_a_tile_that_is_missing_in_both_forms_is_named():
    shelf = Shelf(SMALL, 300)
    shelf.tiles.discard(Tile(0, 1, 44))
    with pytest.raises(MissingTile, match="tile/0/001 "):
        shelf.seen_as().root()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + data, lambda _: b""]
)
def test_a_tile_of_another_length_is_named(damage):
    shelf = Shelf(SMALL, 300)
    with pytest.raises(NotProven, match=r"tile/0/001\.p/44"):
        TiledTree(300, lambda tile: damage(shelf(tile)) if tile.index else shelf(tile)).root()


def test_a_lying_tile_gives_a_proof_that_does_not_lead_to_the_root():
    shelf = Shelf(SMALL, 300)
    lying = TiledTree(300, lambda tile: bytes(32) + shelf(tile)[32:])
    with pytest.raises(NotProven, match="expected root"):
        verify_inclusion(1, 300, LEAVES[1], SMALL.root(300), lying.inclusion_proof(1))
