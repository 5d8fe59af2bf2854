"""The first page of a WAL segment: whose it is and whether it is the one that its name says.

Little-endian (every platform that PostgreSQL is packaged for): magic u16, flags u16, timeline u32,
position u64, continuation u32, padding u32, and on a segment's first page system identifier u64,
segment size u32, page size u32. Source: src/include/access/xlog_internal.h.
"""

import struct
from dataclasses import dataclass

from tasks.domain.errors import NotProven
from tasks.domain.wal import Segment, check_segment_bytes

HEADER_BYTES = 40

_LAYOUT = struct.Struct("<HHIQIxxxxQII")
_LONG_HEADER = 0x0002
_FAMILY = 0xD000  # of every magic so far; the low digits are the version's


@dataclass(frozen=True, slots=True)
class FirstPage:
    """What a segment says of itself; sizes in bytes, `position` is that of its first byte."""

    magic: int
    timeline: int
    position: int
    system: int
    segment_bytes: int


def read_first_page(head: bytes, name: str) -> FirstPage:
    """The header in the first 40 bytes of segment `name`. Raises NotProven for anything else."""
    if len(head) < HEADER_BYTES:
        raise NotProven(f"WAL segment {name}: expected a page header, found {len(head)} bytes")
    magic, flags, timeline, position, _, system, segment_bytes, _ = _LAYOUT.unpack_from(head)
    if magic & 0xF000 != _FAMILY or not flags & _LONG_HEADER:
        raise NotProven(
            f"WAL segment {name}: expected a WAL page, found magic {magic:04X}: the file is "
            "damaged or something else"
        )
    check_segment_bytes(segment_bytes)
    return FirstPage(magic, timeline, position, system, segment_bytes)


def check_segment(segment: Segment, data_bytes: int, page: FirstPage, like: FirstPage) -> None:
    """Raises NotProven when the file is not the `segment` of the cluster that `like` is of.

    `data_bytes`: the file's size. A timeline's first segment repeats its parent's pages, so the
    page's timeline may be an older one.
    """
    name = segment.name(like.segment_bytes)
    expected = (like.magic, segment.number * like.segment_bytes, like.system, like.segment_bytes)
    found = (page.magic, page.position, page.system, page.segment_bytes)
    if found != expected or page.timeline > segment.timeline or data_bytes != like.segment_bytes:
        raise NotProven(
            f"WAL segment {name}: expected {like.segment_bytes} bytes, magic {like.magic:04X}, "
            f"position {expected[1]:X}, timeline {segment.timeline} at most and system "
            f"{like.system}, found {data_bytes} bytes, {page.magic:04X}, {page.position:X}, "
            f"{page.timeline} and {page.system}: it is damaged or another cluster's"
        )
