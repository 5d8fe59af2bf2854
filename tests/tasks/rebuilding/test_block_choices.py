"""Blocks of which several sources claim different things: the signed root decides."""

from hashlib import sha256

from tasks.domain.ledger import Checkpoint
from tasks.domain.ledger.blocks import BLOCK, root_of_blocks
from tasks.work.block_choices import MOST_CHOICES, are_too_many, chosen_roots

BLOCKS = 13


def root(*of):
    return sha256(repr(of).encode()).digest()


RIGHT = [root("right", index) for index in range(BLOCKS)]
HEAD = Checkpoint("audit.example/lab", BLOCKS * BLOCK, root_of_blocks(BLOCKS * BLOCK, RIGHT))


def claims(**wrong):
    """What each source claims; `wrong` says of which blocks a source is wrong."""
    return [
        {
            source: root(source, index) if index in blocks else RIGHT[index]
            for source, blocks in wrong.items()
        }
        for index in range(BLOCKS)
    ]


def test_one_source_that_is_right_is_found_among_others_that_are_wrong_everywhere() -> None:
    every = range(BLOCKS)
    for found in (
        claims(tiles=every, segments=every, table=()),
        claims(tiles=(), table=every),
    ):
        assert are_too_many(found)
        assert chosen_roots(HEAD, found) == RIGHT


def test_the_few_blocks_that_a_source_has_wrong_are_taken_from_another() -> None:
    found = claims(tiles=(7, 11), table=set(range(BLOCKS)) - {7, 11})
    assert chosen_roots(HEAD, found) == RIGHT


def test_of_few_doubtful_blocks_every_choice_is_tried_and_of_many_it_is_said() -> None:
    few = set(range(12))
    mixed = claims(tiles=range(0, 12, 2), segments=range(1, 12, 2))
    assert 2 ** len(few) == MOST_CHOICES
    assert not are_too_many(mixed)
    assert chosen_roots(HEAD, mixed) == RIGHT
    many = claims(tiles=range(0, BLOCKS, 2), segments=range(1, BLOCKS, 2))
    assert are_too_many(many)
    assert chosen_roots(HEAD, many) is None


def test_a_block_that_nobody_knows_leaves_nothing_to_choose() -> None:
    found = claims(tiles=())
    found[3] = {}
    assert chosen_roots(HEAD, found) is None
    assert not are_too_many(found)
