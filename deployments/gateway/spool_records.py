"""How a notification lies in a spool file: framed, checked, and found again after damage.

A record is a header (magic, lengths, time, SHA-256 of all that follows and of these, CRC-32 of the
header itself), then the source, then the body. The magic holds bytes that no UTF-8 text has, so it
never occurs in a body that was understood. The header's own checksum tells a record that was cut
off while it was written from one whose length was damaged later.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MAGIC = b"\xffSPOOL\xfe\n"
_FIELDS = struct.Struct(">8sIHq")  # magic, bytes of the body, bytes of the source, microseconds
_CRC = struct.Struct(">I")
_DIGEST_BYTES = 32
_HEADER_BYTES = _FIELDS.size + _DIGEST_BYTES + _CRC.size
_SEARCH_BYTES = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SOURCE_LIMIT = 200
_MICROSECOND = timedelta(microseconds=1)

Read = Callable[[int, int], bytes]
"""`read(offset, count)`: that many bytes of a file from there, fewer only at its end."""


@dataclass(frozen=True, slots=True)
class Record:
    """A notification that waits: when it came, from whom, and its body byte for byte."""

    received_at: datetime
    source: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Whole:
    """A record whose checksum is right, and where it ends."""

    record: Record
    end: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that are no record any more, up to where the next one may begin."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Torn:
    """The beginning of a record that was never written to its end, so never acknowledged."""

    start: int


def pack(record: Record) -> bytes:
    """The record as it lies in the file."""
    source = record.source[:_SOURCE_LIMIT].encode("utf-8", "replace")
    micros = (record.received_at - _EPOCH) // _MICROSECOND
    fields = _FIELDS.pack(MAGIC, len(record.body), len(source), micros)
    begin = fields + hashlib.sha256(fields + source + record.body).digest()
    return begin + _CRC.pack(zlib.crc32(begin)) + source + record.body


def piece_at(read: Read, offset: int, size: int) -> Whole | Damaged | Torn:
    """What lies at `offset` of a file of `size` bytes; there must be at least one byte."""
    lengths = _lengths(read(offset, _HEADER_BYTES))
    if lengths is None:
        return Damaged(offset, _next_magic(read, offset + 1, size))
    end = offset + sum(lengths)
    if end > size:
        return Torn(offset)
    data = read(offset, end - offset)
    fields, digest = data[: _FIELDS.size], data[_FIELDS.size : _FIELDS.size + _DIGEST_BYTES]
    content = data[_HEADER_BYTES:]
    if hashlib.sha256(fields + content).digest() != digest:
        return Damaged(offset, end)
    _, _, source_bytes, micros = _FIELDS.unpack(fields)
    record = Record(
        received_at=_EPOCH + micros * _MICROSECOND,
        source=content[:source_bytes].decode("utf-8", "replace"),
        body=content[source_bytes:],
    )
    return Whole(record, end)


def count_whole(read: Read, offset: int, size: int) -> tuple[int, int]:
    """How many records lie from `offset` on, by their headers, and where the last whole one ends.

    Bodies are not looked at: whether they are whole is seen when they are read.
    """
    records = 0
    while offset < size:
        lengths = _lengths(read(offset, _HEADER_BYTES))
        if lengths is None:
            offset = _next_magic(read, offset + 1, size)
        elif offset + sum(lengths) > size:
            break
        else:
            records += 1
            offset += sum(lengths)
    return records, offset


def _lengths(header: bytes) -> tuple[int, int] | None:
    """Bytes of the header and of what follows it; None when this is no header.

    A header that is cut off is one whose record is longer than any file.
    """
    if len(header) < _HEADER_BYTES:
        begins = MAGIC.startswith(header[: len(MAGIC)])
        return (_HEADER_BYTES, 0) if begins else None
    begin, crc = header[: -_CRC.size], header[-_CRC.size :]
    if not begin.startswith(MAGIC) or _CRC.unpack(crc)[0] != zlib.crc32(begin):
        return None
    _, body, source, _ = _FIELDS.unpack_from(begin)
    return _HEADER_BYTES, body + source


def _next_magic(read: Read, offset: int, size: int) -> int:
    while offset < size:
        found = read(offset, _SEARCH_BYTES)
        place = found.find(MAGIC)
        if place >= 0:
            return offset + place
        if offset + len(found) >= size:
            return size
        offset += len(found) - len(MAGIC) + 1
    return size
