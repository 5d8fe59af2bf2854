"""Orders, ranges and signed statements of a rebuild: pure, and hostile input."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.ledger import CheckpointError, parse_checkpoint
from tasks.domain.ledger.segments import segments_of
from tasks.domain.ledger.tiles import Tile, tiles_of
from tasks.domain.log_rebuild import (
    MAX_RUNS,
    Ordered,
    affected,
    merged,
    order_digest,
    ranges_in_words,
    runs_of,
)
from tasks.domain.rebuild_statement import digest_in, signed_text

ORIGIN = "audit.example/lab"

tiles = st.builds(Tile, st.integers(0, 3), st.integers(0, 3000))
partial = st.builds(Tile, st.integers(0, 3), st.integers(0, 3000), st.integers(1, 255))
paths = st.one_of(
    tiles.map(lambda tile: tile.path),
    partial.map(lambda tile: tile.path),
    st.integers(0, 9).map(lambda at: f"seg/{at * 65_536}-65536.jsonl.zst"),
    st.integers(0, 99).map(lambda size: f"checkpoints/{size}"),
)


@given(st.sets(paths, max_size=60), st.sets(paths, max_size=60))
def test_an_order_names_exactly_what_was_surveyed(wanted: set[str], others: set[str]) -> None:
    ordered = Ordered(runs_of(wanted))
    assert all(path in ordered for path in wanted)
    assert not any(path in ordered for path in others - wanted)


@settings(max_examples=25)
@given(st.integers(1, 200_000))
def test_a_whole_tree_is_ordered_by_a_few_runs(size: int) -> None:
    wanted = [tile.path for tile in tiles_of(size)]
    assert len(runs_of(wanted)) <= 2 * 4
    ordered = Ordered(runs_of(wanted))
    assert all(path in ordered for path in wanted)


@pytest.mark.parametrize(
    "run",
    [
        "tile/0/000..tile/1/005",
        "tile/0/000..",
        "..tile/0/000",
        "tile/0/000..seg/0-5.jsonl.zst",
        "tile/0/000..tile/0/001.p/3",
        "tile/0/000..tile/0/001..tile/0/002",
        "checkpoints/../x",
        "a" * 300,
        "tile/0/\u202e000",
        "checkpoints/1\n",
    ],
)
def test_a_run_that_is_none_is_refused(run: str) -> None:
    with pytest.raises(BadInput):
        Ordered([run])


def test_an_order_of_too_much_is_refused() -> None:
    with pytest.raises(BadInput, match="at most"):
        Ordered(["checkpoints/1"] * (MAX_RUNS + 1))


@given(st.sets(st.integers(0, 80)))
def test_merged_ranges_hold_the_same_records_and_never_touch(seqs: set[int]) -> None:
    found = merged((seq, seq + 1) for seq in seqs)
    assert {seq for first, end in found for seq in range(first, end)} == seqs
    assert all(one[1] < other[0] for one, other in pairwise(found))


def test_ranges_are_told_inclusive_and_bounded() -> None:
    assert ranges_in_words(((3, 4), (7, 10))) == "3, 7..9"
    assert ranges_in_words([(at * 2, at * 2 + 1) for at in range(30)], 2) == "0, 2, 28 more ranges"
    assert ranges_in_words(()) == "none"


@settings(max_examples=25)
@given(st.integers(1, 300_000))
def test_all_objects_of_a_log_touch_all_its_records(size: int) -> None:
    assert affected([each.path for each in segments_of(size)], size) == ((0, size),)
    assert affected([each.path for each in tiles_of(size)], size) == ((0, size),)
    assert affected(["checkpoints/3", "rebuilt/x", "tile/0/999999"], size) == ()


def test_what_is_signed_about_a_rebuild_is_no_head_of_the_log() -> None:
    text = signed_text(ORIGIN, "statement", b"document")
    with pytest.raises(CheckpointError):
        parse_checkpoint(text)
    assert digest_in(text, ORIGIN, "statement") == sha256(b"document").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        signed_text(ORIGIN, "intent", b"document"),
        signed_text("another", "statement", b"document"),
        f"{ORIGIN}\n12\nAAAA\n",
        "",
        signed_text(ORIGIN, "statement", b"document") + "more\n",
        signed_text(ORIGIN, "statement", b"document").replace("sha256 ", "sha256 ../"),
    ],
)
def test_another_signed_text_is_no_statement(text: str) -> None:
    with pytest.raises(BadInput):
        digest_in(text, ORIGIN, "statement")


def test_the_same_order_is_known_again_in_any_order_of_its_objects() -> None:
    assert order_digest("INC-1", ["a", "b"]) == order_digest("INC-1", ["b", "a"])
    assert order_digest("INC-1", ["a", "b"]) != order_digest("INC-2", ["a", "b"])
