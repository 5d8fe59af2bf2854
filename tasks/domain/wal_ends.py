"""Whether the log may end where a server stopped to replay it, told from the segment's own bytes.

PostgreSQL takes whatever it cannot read for the end of the log: a record with one wrong bit as well
as the zeros behind the last one. Pages are of 8 KiB and begin with a header: magic u16, flags u16,
timeline u32, position u64, and how many bytes of a record that began on an earlier page follow,
u32; a record begins with its length, u32. Little-endian. Sources: access/xlog_internal.h,
access/xlogrecord.h.
"""

import struct

PAGE_BYTES = 8192

_HEADER = struct.Struct("<HHIQI")
_HEADER_BYTES = 24  # of every page but a segment's first, padded
_LONG_HEADER_BYTES = 40
_CONTINUED = 0x0001  # a record of an earlier page goes on here
_FAMILY = 0xD000  # of every magic so far
_LENGTH = struct.Struct("<I")
_LEAST_RECORD = 24


def may_end_at(segment: bytes, offset: int, position: int) -> bool:
    """Whether nothing of the log follows `offset` in the segment whose first byte is `position`.

    True behind the last record, and at a record that goes on in the next segment, as every page
    after its beginning says. False when a record is there that a server should have replayed: it
    is damaged. What is left of an older use of the file (pages with another position) is nothing.
    """
    start = offset + (-offset % 8)
    if start % PAGE_BYTES == 0 and start < len(segment):
        if _page(segment, start, position) is None:
            return not _goes_on(segment, start, position)
        start += _HEADER_BYTES if start else _LONG_HEADER_BYTES
    if start >= len(segment):
        return True
    page_end = start + (-start % PAGE_BYTES)
    length = _LENGTH.unpack_from(segment, start)[0]
    if length == 0:
        blank = not any(segment[start:page_end])
        return blank and not _goes_on(segment, page_end, position)
    if length < _LEAST_RECORD:
        return False
    return _reaches_the_end(segment, page_end, position, length - (page_end - start))


def _reaches_the_end(segment: bytes, page: int, position: int, left: int) -> bool:
    """Whether a record of which `left` bytes are to come at `page` fills the whole rest."""
    while left > 0 and page < len(segment):
        found = _page(segment, page, position)
        if found is None or not found[0] & _CONTINUED or found[1] != left:
            return False
        left -= PAGE_BYTES - _HEADER_BYTES
        page += PAGE_BYTES
    return left > 0


def _goes_on(segment: bytes, page: int, position: int) -> bool:
    return any(
        _page(segment, each, position) is not None for each in range(page, len(segment), PAGE_BYTES)
    )


def _page(segment: bytes, page: int, position: int) -> tuple[int, int] | None:
    """Flags and continued bytes of the page there; None when it is none of this place."""
    if page + _HEADER.size > len(segment):
        return None
    magic, flags, _, at, continued = _HEADER.unpack_from(segment, page)
    if magic & 0xF000 != _FAMILY or at != position + page:
        return None
    return flags, continued
