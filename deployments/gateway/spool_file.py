"""One spool file: records are added at its end and read from its front, both durably.

How far it has been read is in a small file beside it, replaced atomically; when all is read the
file is emptied. Neither is ever removed: another gateway may be about to lock it. After a kill
a record may be read again, which costs nothing, since a notification is known by its digest.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.gateway.spool_records import (
    Damaged,
    Record,
    Torn,
    Whole,
    count_whole,
    pack,
    piece_at,
)

log = logging.getLogger("gateway.spool")

PRIVATE = 0o600
_OFFSET_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Part:
    """What lies at the front of a file: records in order, the damaged pieces between, the end."""

    records: tuple[Record, ...]
    damaged: tuple[Damaged, ...]
    end: int


class SpoolFile:
    """A file that this process has locked. Its callers see to it that one thread writes at once."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._offset_path = path.with_suffix(".offset")
        size = os.fstat(descriptor).st_size
        self._offset = self._known_offset(size)
        self.records, self._size = count_whole(self._read, self._offset, size)
        if self._size < size:
            log.warning(
                "%s: %d bytes of a record that was never acknowledged are cut off",
                path.name,
                size - self._size,
            )
            os.ftruncate(descriptor, self._size)
            os.fsync(descriptor)

    @classmethod
    def lock(cls, path: Path) -> "SpoolFile | None":
        """Open the file, making it when there is none; None when another process has it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, PRIVATE)
            sync_directory(path.parent)
            return cls(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size(self) -> int:
        """Bytes on the disk, those that were read already included."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether all that was added has been read."""
        return self._offset >= self._size

    def append(self, records: Sequence[Record]) -> None:
        """Add records; on the disk when this returns. OSError: none of them is there."""
        data = b"".join(map(pack, records))
        try:
            _write_all(self._descriptor, data, self._size)
            os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # what stays is written over by the next
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        self.records += len(records)

    def front(self, records: int, size: int) -> Part:
        """The next records, at most so many or so many bytes, but at least one piece."""
        found: list[Record] = []
        damaged: list[Damaged] = []
        at = self._offset
        while at < self._size and len(found) < records and at - self._offset < size:
            piece = piece_at(self._read, at, self._size)
            if isinstance(piece, Whole):
                found.append(piece.record)
                at = piece.end
            else:
                end = self._size if isinstance(piece, Torn) else piece.end
                damaged.append(Damaged(at, end))
                at = end
        return Part(tuple(found), tuple(damaged), at)

    def advance(self, part: Part) -> None:
        """What `front` gave is dealt with: never read it again."""
        if part.end >= self._size:
            os.ftruncate(self._descriptor, 0)
            os.fsync(self._descriptor)  # before the offset: a file shorter than it is read anew
            self._write_offset(0)
            self._offset = self._size = self.records = 0
        else:
            self._write_offset(part.end)
            self._offset = part.end
            self.records = max(0, self.records - len(part.records))

    def keep_aside(self, piece: Damaged) -> tuple[Path, bytes]:
        """Copy a damaged piece beside the file, durably, and return where, with its bytes."""
        data = self._read(piece.start, piece.end - piece.start)
        name = f"{self.path.stem}-{hashlib.sha256(data).hexdigest()[:16]}.damaged"
        target = self.path.with_name(name)
        _replace(target, data)
        return target, data

    def close(self) -> None:
        """Give the file up; its lock ends with it."""
        os.close(self._descriptor)

    def _read(self, offset: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def _known_offset(self, size: int) -> int:
        try:
            text = self._offset_path.read_text("ascii", "replace")[: _OFFSET_DIGITS + 1].strip()
        except FileNotFoundError:
            return 0
        offset = int(text) if text.isascii() and text.isdecimal() else 0
        return offset if offset <= size else 0

    def _write_offset(self, offset: int) -> None:
        _replace(self._offset_path, str(offset).encode())


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, offset = view[written:], offset + written


def _replace(target: Path, data: bytes) -> None:
    fresh = target.with_name(f"{target.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(fresh, flags, PRIVATE)
    try:
        _write_all(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(target)
    sync_directory(target.parent)
