"""Tiles and segments: names, sizes, and what damaged ones say."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.ledger import Code, MerkleTree, leaf_hash
from tasks.domain.ledger.records import MAX_LINE_BYTES
from tasks.domain.ledger.segments import (
    Segment,
    SegmentError,
    pack,
    pick,
    segments_of,
    unpack,
)
from tasks.domain.ledger.tiles import Tile, TileError, leaf_tiles, tile_data, tiles_of
from tests.domain.ledger.sample_log import chained, packed, sealed_files

LINES = chained(40)
STORED = pack(LINES)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(0, 67), "tile/0/067"),
        (Tile(0, 1067), "tile/0/x001/067"),
        (Tile(1, 1234067, 8), "tile/1/x001/x234/067.p/8"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
    ],
)
def test_tile_paths_are_those_of_the_specification(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/001",
        "tile/0/001/067",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000\n",
    ],
)
def test_any_other_spelling_is_no_tile(path):
    with pytest.raises(TileError):
        Tile.parse(path)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600, 65_536, 65_537, 66_000])
def test_the_tiles_of_a_tree_are_what_a_writer_after_the_specification_makes(size):
    lines = [b"%d" % number for number in range(size)]
    tree = MerkleTree([leaf_hash(line) for line in lines])
    tiles = {tile.path: tile_data(tree, tile) for tile in tiles_of(size)}
    if size <= 600:
        files = sealed_files(lines)
        assert tiles == {path: data for path, data in files.items() if path.startswith("tile/")}
    assert b"".join(tile_data(tree, tile) for tile in leaf_tiles(size)) == tree.level(0)


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_growing_adds_exactly_the_tiles_that_the_smaller_tree_lacks(one, other):
    old, new = sorted((one, other))
    assert set(tiles_of(new)) - set(tiles_of(old)) == set(tiles_of(new, since=old))


def test_a_tree_that_is_too_small_has_no_such_tile():
    with pytest.raises(TileError, match="no tile"):
        tile_data(MerkleTree(b""), Tile(0, 0, 1))


def test_segments_cover_the_log_in_aligned_blocks():
    assert segments_of(0) == []
    assert segments_of(3) == [Segment(0, 3)]
    assert segments_of(65_536) == [Segment(0, 65_536)]
    assert segments_of(65_540, since=65_530) == [Segment(0, 65_536), Segment(65_536, 4)]
    assert segments_of(70_000, since=65_540) == [Segment(65_536, 4464)]
    assert segments_of(5, since=5) == []


@pytest.mark.parametrize(
    "path",
    [
        "seg/0-0.jsonl.zst",
        "seg/00-5.jsonl.zst",
        "seg/5-5.jsonl.zst",
        "seg/0-65537.jsonl.zst",
        "seg/0-5.jsonl",
        "seg/../seg/0-5.jsonl.zst",
        "seg/0-5.jsonl.zst\n",
        "seg/\u0660-5.jsonl.zst",
    ],
)
def test_a_name_that_no_sealer_writes_is_no_segment(path):
    assert Segment.parse(path) is None


def test_a_segment_is_read_from_the_shortest_copy_that_holds_it_all():
    stored = [Segment(0, 10), Segment(0, 20), Segment(0, 30), Segment(65_536, 1)]
    assert pick(stored, Segment(0, 20)) == Segment(0, 20)
    assert pick(stored, Segment(0, 25)) == Segment(0, 30)
    assert pick(stored, Segment(0, 31)) == Segment(0, 30)
    assert pick(stored, Segment(131_072, 1)) is None


def test_lines_survive_packing():
    assert [line for part in unpack(STORED, 40) for line in part] == LINES
    assert [line for part in unpack(packed(LINES), 40) for line in part] == LINES
    assert [line for part in unpack(pack([b""]), 1) for line in part] == [b""]


def test_a_line_with_a_newline_is_not_packed():
    with pytest.raises(BadInput, match="newline"):
        pack([b"a\nb"])


def damage_of(data, count=40):
    with pytest.raises(SegmentError) as damage:
        list(unpack(data, count))
    return damage.value.code


def test_a_truncated_frame_is_torn_wherever_it_ends():
    assert {damage_of(STORED[:end]) for end in range(len(STORED))} == {Code.SEGMENT_TORN}


def test_bytes_after_the_frame_are_reported():
    assert damage_of(STORED + b"x") is Code.SEGMENT_TORN
    assert damage_of(STORED + bytes(5000)) is Code.SEGMENT_TORN
    assert damage_of(STORED + STORED) is Code.SEGMENT_TORN


def test_a_cut_last_line_and_wrong_counts_are_torn():
    plain = b"\n".join(LINES)
    assert damage_of(zstandard.compress(plain)) is Code.SEGMENT_TORN
    assert damage_of(STORED, 39) is Code.SEGMENT_TORN
    assert damage_of(STORED, 41) is Code.SEGMENT_TORN
    assert damage_of(b"") is Code.SEGMENT_TORN


def test_every_changed_byte_of_a_segment_is_reported_or_leaves_the_lines_as_they_were():
    for at in range(len(STORED)):
        changed = bytearray(STORED)
        changed[at] ^= 0x55
        try:
            lines = [line for part in unpack(bytes(changed), 40) for line in part]
        except SegmentError:
            continue
        assert lines == LINES


def test_a_bomb_of_newlines_or_of_one_endless_line_stops_early():
    assert damage_of(zstandard.compress(b"\n" * 200_000_000)) is Code.SEGMENT_TORN
    endless = zstandard.compress(b"x" * (64 * MAX_LINE_BYTES))
    assert damage_of(endless) is Code.SEGMENT_TORN


def test_what_is_no_zstd_at_all_is_reported():
    assert damage_of(b"not zstd, but long enough to be something") is Code.SEGMENT_DIGEST
