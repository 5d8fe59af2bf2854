"""Our C and hashlib give the same answers; C that does not is not used."""

import subprocess
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger.kernel import KERNEL, Hashlib, ShaExtensions, chosen, difference
from tasks.domain.ledger.lines import Lines
from tests.domain.ledger.sample_log import chained

LINES = st.lists(st.binary(max_size=300), max_size=40)
CALLS = ("leaf_hashes", "pair_hashes", "first_unchained", "split", "copy_rows", "read_event")
HASHLIB = Hashlib()


def c_module() -> ModuleType:
    """Our C, where this machine has it."""
    return cast(
        "ModuleType", pytest.importorskip("tasks.domain.ledger._kernel", exc_type=ImportError)
    )


def native() -> ShaExtensions:
    return ShaExtensions(c_module())


def altered(**calls: object) -> ModuleType:
    """Our C with some of its functions replaced by others."""
    module = c_module()
    known = {name: getattr(module, name) for name in CALLS}
    return cast("ModuleType", SimpleNamespace(**{**known, **calls}))


@given(lines=LINES)
def test_every_line_has_the_leaf_hash_of_hashlib(lines):
    assert native().leaf_hashes(lines) == HASHLIB.leaf_hashes(lines)


@pytest.mark.parametrize("length", [*range(130), 435, 65_535, 1 << 20])
def test_no_length_of_a_line_is_hashed_otherwise(length):
    lines = [b"x" * length, b"", b"y" * (length + 1)]
    expected = b"".join(sha256(b"\0" + line).digest() for line in lines)
    assert native().leaf_hashes(lines) == HASHLIB.leaf_hashes(lines) == expected


@given(level=st.binary(max_size=640).map(lambda data: data[: len(data) // 64 * 64]))
def test_every_pair_has_the_node_hash_of_hashlib(level):
    assert native().pair_hashes(level) == HASHLIB.pair_hashes(level)


@given(text=st.text("ab\n", max_size=60), most=st.integers(0, 20), longest=st.integers(0, 20))
def test_both_find_the_same_lines_and_the_same_rest(text, most, longest):
    ours = native().split(text.encode(), most, longest)
    theirs = HASHLIB.split(text.encode(), most, longest)
    assert (list(ours[0]), ours[1]) == (list(theirs[0]), theirs[1])


@given(at=st.integers(0, 11), byte=st.integers(0, 90), bit=st.integers(0, 7))
def test_both_see_every_bit_that_breaks_a_link(at, byte, bit):
    lines = chained(12)
    changed = bytearray(lines[at])
    changed[byte % len(changed)] ^= 1 << bit
    lines[at] = bytes(changed)
    leaves = HASHLIB.leaf_hashes(lines)
    assert native().is_chained(lines, leaves) is HASHLIB.is_chained(lines, leaves)


@pytest.mark.parametrize("cut", [*range(80), 200])
def test_a_line_that_ends_in_its_link_is_not_chained(cut):
    lines = chained(2)
    lines[1] = lines[1][:cut]
    leaves = HASHLIB.leaf_hashes(lines)
    assert native().is_chained(lines, leaves) is HASHLIB.is_chained(lines, leaves)


def test_threads_share_the_kernel():
    lines = [b"%d" % number * 50 for number in range(3000)]
    expected = HASHLIB.leaf_hashes(lines)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: native().leaf_hashes(lines), range(16))) == {expected}


@pytest.mark.parametrize(
    "spans",
    [
        array("q", [0, 6]).tobytes(),
        array("q", [-1, 2]).tobytes(),
        array("q", [3, 2]).tobytes(),
        array("q", [0, 2**63 - 1]).tobytes(),
        array("q", [0, 2, 1]).tobytes(),
        b"odd",
    ],
)
def test_spans_that_lead_out_of_the_text_are_refused(spans):
    module = c_module()
    with pytest.raises(ValueError, match="spans"):
        module.leaf_hashes(b"12345", spans)
    with pytest.raises(ValueError, match="spans"):
        module.first_unchained(b"12345", spans, bytes(32))


def test_hashes_that_do_not_fit_are_refused():
    module = c_module()
    with pytest.raises(ValueError, match="64 bytes"):
        module.pair_hashes(bytes(96))
    with pytest.raises(ValueError, match="for each line"):
        module.first_unchained(b"12", Lines.of([b"1", b"2"]).spans, bytes(63))


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ({"leaf_hashes": lambda _, spans: bytes(2 * len(spans))}, "other leaf hashes"),
        ({"pair_hashes": lambda level: level[::2]}, "other node hashes"),
        ({"first_unchained": lambda *_: -1}, "links of a chain"),
        ({"first_unchained": lambda *_: 3}, "links of a chain"),
        ({"split": lambda *_: (b"", 0)}, "other lines"),
        ({"copy_rows": lambda *_: (b"", True, [b""], 0)}, "other rows"),
        ({"read_event": lambda _: (b"",) * 8}, "other parts"),
        ({"split": None}, "self-test"),
        ({"leaf_hashes": lambda *_: 1 // 0}, "self-test"),
    ],
)
def test_c_that_fails_its_self_test_is_not_used(calls, reason):
    kernel, why = chosen(altered(**calls), "")
    assert isinstance(kernel, Hashlib)
    assert reason in why


def test_c_that_is_wrong_about_one_length_only_is_not_used():
    module = c_module()

    def wrong(text, spans):
        hashes = bytearray(module.leaf_hashes(text, spans))
        places = array("q", spans)
        for at in range(0, len(places), 2):
            if places[at + 1] - places[at] == 55:
                hashes[16 * at] ^= 1
        return bytes(hashes)

    kernel, why = chosen(altered(leaf_hashes=wrong), "")
    assert isinstance(kernel, Hashlib)
    assert "leaf hashes" in why


def test_right_c_is_used():
    kernel, why = chosen(c_module(), "")
    assert (kernel.name, why) == ("sha-ni", "")
    assert difference(kernel, seed=7) == ""


def test_without_c_hashlib_does_the_work_and_says_why():
    kernel, why = chosen(None, "no compiler")
    assert (kernel.name, why) == ("hashlib", "no compiler")


WITHOUT_C = """
import sys
sys.modules["tasks.domain.ledger._kernel"] = None
from tasks.domain.ledger.kernel import KERNEL, WHY_NOT_NATIVE
from tasks.domain.ledger.segments import pack, unpack
from tests.domain.ledger.sample_log import chained
lines = chained(50)
assert [line for part in unpack(pack(lines), 50) for line in part] == lines
print(KERNEL.name, WHY_NOT_NATIVE)
"""


def test_a_process_without_the_module_says_so_and_reads_segments():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_C], capture_output=True, check=True, text=True
    )
    assert ended.stdout.startswith("hashlib the C kernel is not there")


def test_the_kernel_in_use_is_one_of_the_two():
    assert KERNEL.name in {"sha-ni", "hashlib"}


ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(5, 9)),
        st.one_of(st.none(), st.binary(max_size=30)),
        st.one_of(st.none(), st.binary(max_size=32)),
    ),
    max_size=12,
)


def copied(rows, columns=3):
    """As PostgreSQL sends them, without header and end."""
    sent = b""
    for seq, *others in rows:
        number = None if seq is None else seq.to_bytes(8, signed=True)
        sent += columns.to_bytes(2)
        for value in (number, *others)[:columns]:
            sent += (-1 if value is None else len(value)).to_bytes(4, signed=True) + (value or b"")
    return sent


@given(rows=ROWS, columns=st.integers(1, 3), end=st.sampled_from([b"", b"\xff\xff"]))
def test_rows_of_a_table_are_what_they_were(rows, columns, end):
    for kernel in (native(), HASHLIB):
        seqs, found, rest = kernel.rows(copied(rows, columns) + end, columns)
        assert list(seqs) == [-1 if row[0] is None else row[0] for row in rows]
        for at, column in enumerate(found, 1):
            assert list(column) == [row[at] or b"" for row in rows]
        assert (len(found), rest) == (columns - 1, end)


@given(rows=ROWS, kept=st.integers(0, 1 << 20))
def test_a_row_that_is_cut_off_is_left_for_later(rows, kept):
    text = copied(rows)
    kept %= len(text) + 1
    ours = native().rows(text[:kept], 3)
    theirs = HASHLIB.rows(text[:kept], 3)
    assert (list(ours[0]), ours[2]) == (list(theirs[0]), theirs[2])
    assert text[kept - len(ours[2]) : kept] == ours[2]


@given(rows=ROWS, at=st.integers(0, 1 << 20), byte=st.integers(0, 255))
def test_altered_rows_are_read_alike_or_refused_by_both(rows, at, byte):
    text = bytearray(copied(rows))
    if text:
        text[at % len(text)] = byte
    answers = []
    for kernel in (native(), HASHLIB):
        try:
            seqs, found, rest = kernel.rows(bytes(text), 3)
            answers.append((list(seqs), [list(each) for each in found], rest))
        except ValueError:
            answers.append("refused")
    assert answers[0] == answers[1]


def test_neighbouring_seqs_come_as_a_range():
    assert native().rows(copied([(7, b"a", b""), (8, b"b", b"")]), 3)[0] == range(7, 9)
    assert not isinstance(native().rows(copied([(7, b"a", b""), (9, b"", b"")]), 3)[0], range)
