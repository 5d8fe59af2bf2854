"""A frame is followed to its end however it comes; what is cut, follows or is none is told."""

import itertools
import random

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.ledger.frames import Frame

CONTENT = random.Random(5).randbytes(300_000) + bytes(400_000)
"""Raw, compressed and repeated blocks."""

FRAMES = {
    "sized": zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT),
    "no checksum": zstandard.ZstdCompressor(write_checksum=False).compress(CONTENT),
    "no size": zstandard.ZstdCompressor(write_content_size=False).compress(CONTENT),
    "empty": zstandard.ZstdCompressor(write_checksum=True).compress(b""),
    "single segment": zstandard.ZstdCompressor(write_checksum=True).compress(b"short"),
}
WHICH = st.sampled_from(sorted(FRAMES))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


def read(frame: Frame) -> bytes:
    return b"".join(iter(frame.read, b""))


@given(which=WHICH, cuts=st.lists(st.integers(0, 1 << 30), max_size=8), small=st.integers(0, 40))
def test_however_a_frame_is_cut_its_end_is_found(which, cuts, small):
    data = FRAMES[which]
    frame = Frame(pieces(data, [*cuts, *range(small)]))
    assert read(frame) == data
    assert frame.ended
    assert not frame.is_followed()


@given(which=WHICH, more=st.binary(min_size=1, max_size=30), cuts=st.lists(st.integers(0, 1 << 30)))
def test_what_follows_is_not_read_but_told(which, more, cuts):
    data = FRAMES[which]
    frame = Frame(pieces(data + more, cuts))
    assert read(frame) == data
    assert frame.ended
    assert frame.is_followed()


@given(which=WHICH, kept=st.integers(0, 1 << 30))
def test_a_frame_that_is_cut_off_has_not_ended(which, kept):
    data = FRAMES[which]
    frame = Frame([data[: kept % len(data)]])
    assert read(frame) == data[: kept % len(data)]
    assert not frame.ended


@given(data=st.binary(max_size=200))
def test_anything_else_is_read_to_some_end(data):
    frame = Frame([data[:7], b"", data[7:]])
    assert data.startswith(read(frame))


def test_a_skippable_frame_is_none_and_is_left_unread():
    skippable = (0x184D2A50).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"skip"
    frame = Frame([skippable + FRAMES["sized"]])
    assert len(read(frame)) == 5
    assert frame.is_followed()
