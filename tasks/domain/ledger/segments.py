"""Segments: the record lines themselves, `seg/<first>-<count>.jsonl.zst`.

A segment starts at a multiple of 65,536 and holds up to that many lines, each ended by one
newline, as a single zstd frame with checksum. The last, shorter one is written again, larger,
under another name by the next sealing. Names need no trust: every line is compared with its signed
leaf hash.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

import zstandard

from tasks.domain.errors import BadInput
from tasks.domain.ledger.frames import Frame
from tasks.domain.ledger.kernel import KERNEL
from tasks.domain.ledger.records import MAX_LINE_BYTES
from tasks.domain.ledger.verdicts import Code

SEGMENT_LINES = 65_536
MAX_STORED_BYTES = 2 * 1024**3

_LEVEL = 3
_MAX_WINDOW = 8 * 1024 * 1024
_PIECE = 1024 * 1024
_LARGEST_BLOCK = 128 * 1024
_NAME = re.compile(r"seg/(0|[1-9][0-9]{0,18})-([1-9][0-9]{0,4})\.jsonl\.zst", re.ASCII)


class SegmentError(BadInput):
    """The stored segment is damaged; `code` says how."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """`count` lines from seq `first`, a multiple of 65,536."""

    first: int
    count: int

    @property
    def path(self) -> str:
        """Relative path, forward slashes."""
        return f"seg/{self.first}-{self.count}.jsonl.zst"

    @classmethod
    def parse(cls, path: str) -> "Segment | None":
        """From a path; None for anything that no sealer writes."""
        match = _NAME.fullmatch(path)
        if match is None:
            return None
        segment = cls(int(match[1]), int(match[2]))
        aligned = segment.first % SEGMENT_LINES == 0 and segment.count <= SEGMENT_LINES
        return segment if aligned else None


def segments_of(size: int, since: int = 0) -> list[Segment]:
    """The segments of a log of `size` records that one of `since` records does not have yet."""
    if size == since:
        return []
    first = since - since % SEGMENT_LINES
    return [
        Segment(each, min(SEGMENT_LINES, size - each)) for each in range(first, size, SEGMENT_LINES)
    ]


def pick(available: Iterable[Segment], wanted: Segment) -> Segment | None:
    """The stored segment to read `wanted` from: itself, else the shortest that holds it all.

    Failing both the longest of the block, so that a lost newest one still yields what is there.
    """
    block = sorted(each for each in available if each.first == wanted.first)
    whole = [each for each in block if each.count >= wanted.count]
    return whole[0] if whole else (block[-1] if block else None)


def pack(lines: Sequence[bytes]) -> bytes:
    """The stored form; the same lines give the same bytes with the same zstd library."""
    if any(b"\n" in line for line in lines):
        raise BadInput("a record line holds a newline and cannot be put into a segment")
    plain = b"\n".join(lines) + b"\n"
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(plain)


def unpack(data: bytes, count: int) -> Iterator[Sequence[bytes]]:
    """`unpack_pieces` of a segment that is in memory already."""
    return unpack_pieces((data,), count)


def unpack_pieces(stored: Iterable[bytes], count: int) -> Iterator[Sequence[bytes]]:
    """The lines of a segment that comes in pieces, in order, in batches; at most `count` of them.

    SegmentError when the frame is damaged (SEGMENT_DIGEST), or ends early, in the middle of a
    line, with other bytes after it, or with more or fewer lines than its name says (SEGMENT_TORN).
    What came before the damage has been yielded by then. Memory stays bounded: lines over 1 MiB
    and output beyond `count` lines stop the reading.
    """
    seen, rest = 0, b""
    for plain in _decompressed(stored):
        lines, rest = KERNEL.split(b"".join((rest, plain)), count - seen, MAX_LINE_BYTES)
        seen += len(lines)
        if lines:
            yield lines
        if seen == count and rest:
            raise SegmentError(Code.SEGMENT_TORN, f"expected {count} lines, found more")
        if len(rest) > MAX_LINE_BYTES:
            raise SegmentError(Code.SEGMENT_TORN, f"the line {seen} exceeds {MAX_LINE_BYTES}")
    if rest:
        raise SegmentError(Code.SEGMENT_TORN, f"the last line, after {seen}, is cut off")
    if seen < count:
        raise SegmentError(Code.SEGMENT_TORN, f"expected {count} lines, found {seen}")


def _decompressed(stored: Iterable[bytes]) -> Iterator[memoryview]:
    """Plain bytes in pieces of at most 1 MiB, each until the next is asked for.

    Unpacked a block at a time, so that all that stands before damage is given out before it.
    """
    frame = Frame(stored)
    source = cast("IO[bytes]", frame)  # of which nothing but `read` is asked
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(source)
    view = memoryview(bytearray(_PIECE))
    filled = 0
    try:
        while got := reader.readinto(view[filled : filled + _LARGEST_BLOCK]):
            filled += got
            if filled == _PIECE:
                yield view
                filled = 0
    except zstandard.ZstdError as error:
        yield view[:filled]
        message = f"the zstd frame is damaged: {error}"
        raise SegmentError(Code.SEGMENT_DIGEST, message) from error
    yield view[:filled]
    if not frame.ended:
        raise SegmentError(Code.SEGMENT_TORN, "the zstd frame ends early")
    if frame.is_followed():
        raise SegmentError(Code.SEGMENT_TORN, "bytes follow the end of the zstd frame")
