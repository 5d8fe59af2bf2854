"""Where a log may end, and where it only looks so."""

import struct

import pytest

from tasks.domain.wal_ends import PAGE_BYTES, may_end_at

POSITION = 3 * 16 * 1024 * 1024
PAGES = 4


def page(number: int, continued: int = 0, at: int | None = None) -> bytes:
    """A page's header; the first one's is longer."""
    where = POSITION + number * PAGE_BYTES if at is None else at
    flags = bool(continued)
    return struct.pack("<HHIQIxxxx", 0xD118, flags, 1, where, continued).ljust(
        24 if number else 40, b"\0"
    )


def segment(*pages: bytes) -> bytes:
    return b"".join(each.ljust(PAGE_BYTES, b"\0") for each in pages).ljust(
        PAGES * PAGE_BYTES, b"\0"
    )


def record(length: int) -> bytes:
    return struct.pack("<I", length) + b"r" * (length - 4)


def test_zeros_behind_the_last_record_are_the_end() -> None:
    content = segment(page(0) + record(48))
    assert may_end_at(content, 88, POSITION)
    assert may_end_at(content, 81, POSITION)  # records are aligned to eight bytes
    assert may_end_at(content, len(content), POSITION)
    assert may_end_at(segment(page(0) + b"r" * (PAGE_BYTES - 40)), PAGE_BYTES, POSITION)


def test_a_record_that_was_not_replayed_is_no_end() -> None:
    assert not may_end_at(segment(page(0) + record(48) + record(80)), 88, POSITION)
    assert not may_end_at(segment(page(0) + record(48) + record(24)), 40, POSITION)


def test_a_record_whose_length_was_zeroed_is_no_end() -> None:
    assert not may_end_at(segment(page(0) + bytes(4) + record(48)), 40, POSITION)
    whole_page_gone = segment(page(0) + b"r" * (PAGE_BYTES - 40), b"", page(2) + record(64))
    assert not may_end_at(whole_page_gone, PAGE_BYTES, POSITION)
    zeros_then_more = segment(page(0) + record(48), page(1) + record(64))
    assert not may_end_at(zeros_then_more, 88, POSITION)


def test_a_record_that_goes_on_in_the_next_segment_is_the_end() -> None:
    long = 100_000
    left = [long - (PAGE_BYTES - 88) - n * (PAGE_BYTES - 24) for n in range(3)]
    head = page(0) + record(48) + struct.pack("<I", long) + b"l" * (PAGE_BYTES - 92)
    rest = [page(n + 1, left[n]) + b"l" * (PAGE_BYTES - 24) for n in range(3)]
    assert may_end_at(segment(head, *rest), 88, POSITION)
    # a length that a bit was flipped in does not fit what the pages say
    flipped = bytearray(segment(head, *rest))
    flipped[90] ^= 0x04
    assert not may_end_at(bytes(flipped), 88, POSITION)


def test_pages_of_the_files_earlier_use_are_no_log() -> None:
    old = page(1, at=POSITION - 16 * 1024 * 1024) + record(64)
    assert may_end_at(segment(page(0) + record(48), old, old), 88, POSITION)


@pytest.mark.parametrize("length", [1, 23])
def test_a_length_that_no_record_has_is_no_end(length: int) -> None:
    content = segment(page(0) + record(48) + struct.pack("<I", length))
    assert not may_end_at(content, 88, POSITION)
