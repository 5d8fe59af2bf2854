"""What is damaged in a log's place is named exactly, and put back byte for byte or not at all."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.clients.errors import NotFound
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, MerkleTree, sign_checkpoint, verify_consistency
from tasks.domain.ledger.segments import Segment, pack, unpack
from tasks.domain.log_rebuild import Consistency, Why
from tasks.work.log_heads import latest_head
from tasks.work.log_versions import MOST_TRIED
from tasks.work.rebuilding import Missing, Rebuilt, rebuilt_segment
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, STRANGER, TRUST, chained, plain_leaf
from tests.tasks.rebuilding.conftest import SIZES, Built, Ruin

SIZE = SIZES[-1]
SEGMENT = f"seg/0-{SIZE}.jsonl.zst"
NEWEST = f"checkpoints/{SIZE}"


def whys(ruin: Ruin) -> dict[str, Why]:
    return {one.path: one.why for one in ruin.look()[0].objects}


def lines_of(data: bytes, count: int = SIZE) -> list[bytes]:
    return [line for part in unpack(data, count) for line in part]


def test_a_log_that_is_whole_needs_nothing_and_no_table(ruin: Ruin) -> None:
    ruin.rows.clear()
    found, _ = ruin.look()
    assert found.is_whole
    assert (found.consistency, found.found.size) == (Consistency.CONSISTENT, SIZE)


def test_each_kind_of_damage_is_named_and_put_back(ruin: Ruin) -> None:
    ruin.remove("tile/0/003", SEGMENT, "checkpoints/1500")
    ruin.write("tile/0/004", b"short")
    ruin.write("tile/1/000.p/10", bytes(320))
    ruin.write("tile/0/005", bytes(8192 * 4))
    ruin.versions.kept["checkpoints/1500", "v1"] = ruin.original["checkpoints/1500"]
    assert whys(ruin) == {
        "tile/0/003": Why.MISSING,
        "tile/0/004": Why.WRONG,
        "tile/0/005": Why.WRONG,
        "tile/1/000.p/10": Why.WRONG,
        SEGMENT: Why.MISSING,
        "checkpoints/1500": Why.MISSING,
    }
    for path, data in ruin.mended().items():
        assert data == ruin.original[path]


@pytest.mark.parametrize(
    ("hurt", "why"),
    [
        (lambda data: data[:-9], Why.TORN),
        (lambda data: data + b"more", Why.TORN),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], Why.TORN),
        (lambda data: pack([*lines_of(data)[:-1], b"{}"]), Why.WRONG),
        (lambda data: pack(lines_of(data)[:-1]), Why.TORN),
        (lambda data: pack(lines_of(data)[::-1]), Why.WRONG),
        (lambda _: zstandard.compress(b"0" * (64 << 20)), Why.TORN),
    ],
)
def test_a_damaged_segment_is_made_again_from_rows(ruin: Ruin, hurt: object, why: Why) -> None:
    ruin.write(SEGMENT, hurt(ruin.original[SEGMENT]))
    assert whys(ruin) == {SEGMENT: why}
    assert lines_of(ruin.mended()[SEGMENT]) == ruin.lines


def test_lines_come_from_what_is_left_of_segments_before_the_table_is_asked(ruin: Ruin) -> None:
    ruin.remove(SEGMENT)
    (one,) = ruin.look()[0].objects
    assert one.source == ("1500 lines of seg/0-1500.jsonl.zst, 1100 lines of the table")


def test_segment_and_table_mend_each_other(ruin: Ruin) -> None:
    """The newest segment is lost, the table damaged where an older segment still has the line."""
    ruin.remove(SEGMENT)
    ruin.alter_row(700)
    del ruin.rows[1400]
    assert lines_of(ruin.mended()[SEGMENT]) == ruin.lines


def test_what_neither_has_is_listed_by_its_exact_ranges(ruin: Ruin) -> None:
    ruin.remove(SEGMENT, "tile/0/009")
    ruin.alter_row(1600)
    for seq in (2000, 2001, 2002):
        del ruin.rows[seq]
    found, restorer = ruin.look()
    assert found.lost == ((1600, 1601), (2000, 2003))
    assert [one.path for one in found.objects] == ["tile/0/009"]
    assert restorer.content("tile/0/009")[1] == ruin.original["tile/0/009"]
    assert [one.path for one in found.left] == [SEGMENT]


def test_without_tiles_and_segment_the_chain_names_the_leaf_of_an_altered_row(ruin: Ruin) -> None:
    """Nothing but the table, with two records altered and one removed."""
    shutil.rmtree(ruin.root / "tile")
    shutil.rmtree(ruin.root / "seg")
    ruin.alter_row(10)
    ruin.alter_row(2100)
    del ruin.rows[900]
    found, restorer = ruin.look()
    assert found.lost == ((10, 11), (900, 901), (2100, 2101))
    tiles = [one.path for one in found.objects]
    assert len(tiles) == 12
    for path in tiles:
        assert restorer.content(path)[1] == ruin.original[path]
    assert found.consistency is Consistency.NOTHING


def test_two_neighbours_gone_from_everything_leave_the_tree_unproven(ruin: Ruin) -> None:
    shutil.rmtree(ruin.root / "tile")
    shutil.rmtree(ruin.root / "seg")
    del ruin.rows[900], ruin.rows[901]
    with pytest.raises(NotProven, match="nothing is put back"):
        ruin.look()


def test_a_table_whose_history_was_rewritten_proves_nothing(ruin: Ruin) -> None:
    shutil.rmtree(ruin.root / "tile")
    shutil.rmtree(ruin.root / "seg")
    ruin.rows = dict(enumerate(chained(SIZE, ruin.lines[:1000], session_id="other")))
    with pytest.raises(NotProven, match="reproduces the signed root"):
        ruin.look()


def test_tiles_of_another_history_are_said_to_be_inconsistent(ruin: Ruin) -> None:
    other = MerkleTree([plain_leaf(line) for line in chained(SIZE, ruin.lines[:1000], origin="o")])
    for path in list(ruin.original):
        if path.startswith("tile/0/") and ".p" not in path:
            index = int(path[-3:])
            ruin.write(path, other.level(0)[index * 8192 : (index + 1) * 8192])
    found, restorer = ruin.look()
    assert found.consistency is Consistency.INCONSISTENT
    assert {one.path for one in found.objects} == {f"tile/0/{at:03}" for at in range(3, 10)}
    assert restorer.content("tile/0/003")[1] == ruin.original["tile/0/003"]


def test_the_stored_part_of_the_tree_is_proven_to_be_its_past(ruin: Ruin) -> None:
    ruin.remove("tile/0/004")
    found, _ = ruin.look()
    assert (found.found.size, found.consistency) == (1024, Consistency.CONSISTENT)
    verify_consistency(1024, SIZE, found.found.root, found.head.root, found.proof)


def test_the_newest_head_is_found_behind_a_delete_marker(ruin: Ruin) -> None:
    ruin.remove(NEWEST)
    ruin.versions.kept[NEWEST, "v1"] = b"garbage"
    ruin.versions.kept[NEWEST, "v0"] = ruin.original[NEWEST]
    found, restorer = ruin.look()
    assert found.head.size == SIZE
    assert [(one.path, one.why) for one in found.objects] == [(NEWEST, Why.MISSING)]
    assert restorer.content(NEWEST)[1] == ruin.original[NEWEST]


def test_a_head_that_somebody_kept_brings_back_the_one_that_is_gone(ruin: Ruin) -> None:
    shutil.rmtree(ruin.root / "checkpoints")
    with pytest.raises(NotFound):
        ruin.look()
    found, restorer = ruin.look(ruin.original[NEWEST].decode(), "no note", "")
    assert found.head.size == SIZE
    assert [one.path for one in found.objects] == [NEWEST]
    assert restorer.content(NEWEST)[1] == ruin.original[NEWEST]


def test_a_strangers_head_is_none_and_left_for_a_person(ruin: Ruin) -> None:
    forged = sign_checkpoint(Checkpoint(ORIGIN, 9000, bytes(32)), STRANGER)
    ruin.write("checkpoints/9000", forged.encode())
    found, _ = ruin.look(forged)
    assert (found.head.size, found.objects) == (SIZE, ())
    assert [one.path for one in found.left] == ["checkpoints/9000"]


@pytest.mark.parametrize("size", [1500, SIZE, 1000])
def test_two_signed_histories_stop_everything(ruin: Ruin, size: int) -> None:
    fork = sign_checkpoint(Checkpoint(ORIGIN, size, b"x" * 32), SIGNER)
    ruin.remove("tile/0/003")
    with pytest.raises(NotProven, match="FORK"):
        ruin.look(fork)


def test_hostile_names_and_sizes_in_the_place_change_nothing(ruin: Ruin) -> None:
    for name in ("seg/0-99999.jsonl.zst", "seg/1-5.jsonl.zst", "seg/a", "checkpoints/01"):
        ruin.write(name, b"x")
    for at in range(2601, 2650):
        ruin.write(f"seg/0-{at}.jsonl.zst", zstandard.compress(b"\n" * (1 << 20)))
    ruin.write("checkpoints/7", b"n" * (1 << 20))
    ruin.remove(SEGMENT, "tile/0/001")
    found, restorer = ruin.look()
    assert {one.path for one in found.objects} == {SEGMENT, "tile/0/001"}
    assert lines_of(restorer.content(SEGMENT)[1]) == ruin.lines
    assert restorer.content("tile/0/001")[1] == ruin.original["tile/0/001"]


@pytest.mark.parametrize("first", [10**6, 301])
def test_thousands_of_planted_heads_hide_no_head_and_fill_no_statement(
    ruin: Ruin, first: int
) -> None:
    for number in range(2100):
        ruin.write(f"checkpoints/{first + number}", b"junk")
    for size in SIZES:
        ruin.write(f"checkpoints/{size}", ruin.original[f"checkpoints/{size}"])
    ruin.remove("tile/0/002", "checkpoints/300")
    ruin.versions.kept["checkpoints/300", "v1"] = ruin.original["checkpoints/300"]
    head = latest_head(ruin.log, TRUST)
    found, _ = ruin.look()
    assert (head.checkpoint.size, found.head.size) == (SIZES[-1], SIZES[-1])
    assert bool(head.refused) == (first > SIZES[-1])
    assert [one.path for one in found.objects] == ["checkpoints/300", "tile/0/002"]
    assert len(found.left) == 1001
    planted = 2100 - (first < SIZES[1])  # a signed one lies in the place of one of them
    assert found.left[-1].why.startswith(f"{planted - 1000} more ")


def test_a_segment_is_found_behind_more_versions_than_are_tried(ruin: Ruin) -> None:
    path = f"seg/0-{SIZES[-1]}.jsonl.zst"
    for number in range(MOST_TRIED + 1, 0, -1):  # listed from the newest on
        ruin.versions.kept[path, f"v{number}"] = b"junk %d" % number
    ruin.versions.kept[path, "v0"] = ruin.original[path]
    ruin.write(path, b"junk")
    for each in ruin.original:
        if each.startswith("seg/") and each != path:
            ruin.remove(each)
    ruin.rows.clear()
    found, _ = ruin.look()
    assert (found.lost, [one.path for one in found.objects]) == ((), [path])


def test_bogus_old_versions_do_not_keep_a_right_one_from_being_found(ruin: Ruin) -> None:
    ruin.rows.clear()
    ruin.remove(SEGMENT, "seg/0-1500.jsonl.zst", "seg/0-300.jsonl.zst")
    for at in range(8):
        ruin.versions.kept[SEGMENT, f"bad{at}"] = zstandard.compress(b"{}\n" * at)
    ruin.versions.kept[SEGMENT, "right"] = ruin.original[SEGMENT]
    (one,) = ruin.look()[0].objects
    assert one.source == f"{SIZE} lines of version right of {SEGMENT}"


def test_a_log_of_two_blocks_with_its_upper_tiles_lost(large_ruin: Ruin) -> None:
    ruin = large_ruin
    for path in ruin.original:
        if path.startswith(("tile/1", "tile/2")):
            ruin.remove(path)
    ruin.remove("seg/0-65536.jsonl.zst", "tile/0/200", "tile/0/256")
    ruin.alter_row(65_700)
    mended = ruin.mended()
    assert len(mended) == 6
    for path, data in mended.items():
        if path.startswith("tile"):
            assert data == ruin.original[path]
    assert lines_of(mended["seg/0-65536.jsonl.zst"], 65_536) == ruin.lines[:65_536]


TILES = st.sampled_from(["missing", "zeros", "short", "flipped"])


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_happens_to_tiles_they_come_back_byte_for_byte(
    small: Built, data: st.DataObject
) -> None:
    with TemporaryDirectory() as directory:
        ruin = small.copy(Path(directory) / "log")
        current = [f"tile/0/{at:03}" for at in range(10)] + ["tile/0/010.p/40", "tile/1/000.p/10"]
        chosen = data.draw(st.dictionaries(st.sampled_from(current), TILES, min_size=1))
        for path, how in chosen.items():
            content = ruin.original[path]
            if how == "missing":
                ruin.remove(path)
            else:
                bits = {"zeros": bytes(len(content)), "short": content[:-1]}
                at = data.draw(st.integers(0, len(content) - 1))
                flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
                ruin.write(path, bits.get(how, flipped))
        if data.draw(st.booleans()):
            ruin.remove(*(path for path in ruin.original if path.startswith("seg/")))
        mended = ruin.mended()
        assert set(chosen) <= set(mended)
        for path, content in mended.items():
            if path.startswith("seg/"):
                assert lines_of(content) == ruin.lines
            else:
                assert content == ruin.original[path]
        for path, content in mended.items():
            ruin.write(path, content)
        assert ruin.look()[0].is_whole


def test_a_segment_for_somebody_else_comes_from_rows_that_leaves_prove() -> None:
    lines = chained(5)
    leaves = b"".join(plain_leaf(line) for line in lines)
    rows = [(3, b"altered"), (4, lines[4]), (0, lines[0]), (0, b"twice"), (99, b"far"), (-1, b"")]
    found = rebuilt_segment(Segment(0, 5), leaves, iter([("rows", rows)]))
    assert isinstance(found, Missing)
    assert found.ranges == ((1, 4),)
    others = iter([("rows", rows), ("copy", enumerate(lines)), ("never", None)])  # type: ignore[list-item]  # as it reads
    made = rebuilt_segment(Segment(0, 5), leaves, others)
    assert isinstance(made, Rebuilt)
    assert lines_of(made.data, 5) == lines
    assert made.sources == {"rows": 2, "copy": 3}
