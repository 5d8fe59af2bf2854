"""The spool: where notifications wait on our own disk while PostgreSQL is away.

A directory with a file per gateway, known by its lock. A gateway adds to its own file; it also
drains the files of gateways that are dead, which is what a lock that can be had says. What comes
while something waits is added behind it, so the order is kept.
"""

import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.gateway.spool_file import Part, SpoolFile
from deployments.gateway.spool_records import Damaged, Record, pack
from tasks.domain.errors import BadInput

log = logging.getLogger("gateway.spool")

_NAME = re.compile(r"spool-([0-9]{1,4})\.log")
_FILES = 64  # gateways on one directory, living and dead
_PART_RECORDS = 512
_PART_BYTES = 4 * 1024 * 1024
_LOOK_SECONDS = 30.0  # between two looks for files of gateways that have died


class SpoolFull(Exception):
    """There is no room, by our own limit or the disk's: nothing was added."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A part at the front of one file, to be dealt with and then handed back to `advance`."""

    file: SpoolFile
    part: Part


class Spool:
    """One thread adds, another drains; each may ask how much waits."""

    def __init__(self, directory: Path, limit: int, own: SpoolFile) -> None:
        self._directory = directory
        self._limit = limit
        self._own = own
        self._adopted: list[SpoolFile] = []
        self._lock = threading.Lock()
        self._next_look = 0.0

    @classmethod
    def open(cls, directory: Path, limit: int) -> "Spool":
        """The spool in a directory, made when it is missing. Raises BadInput when it cannot be."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(_FILES):
                own = SpoolFile.lock(directory / f"spool-{number}.log")
                if own is not None:
                    spool = cls(directory, limit, own)
                    spool.adopt()
                    return spool
        except OSError as error:
            raise BadInput(
                f"expected RUNBOOK_GATEWAY__SPOOL as a directory that we may write, found "
                f"{str(directory)[:200]!r}: {error.strerror}"
            ) from error
        raise BadInput(
            f"expected a free spool file in {str(directory)[:200]!r}, found {_FILES} of living "
            "gateways: give each host a directory of its own"
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, in no file of ours."""
        with self._lock:
            return self._own.is_empty and not self._adopted

    @property
    def records(self) -> int:
        """Notifications that wait."""
        with self._lock:
            return sum(file.records for file in (self._own, *self._adopted))

    @property
    def has_room(self) -> bool:
        """Whether it is not full."""
        return self.size < self._limit

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        with self._lock:
            return sum(file.size for file in (self._own, *self._adopted))

    def append(self, records: Sequence[Record]) -> None:
        """Add behind all that waits; on the disk when this returns. Raises SpoolFull."""
        with self._lock:
            if self._own.size + sum(len(pack(record)) for record in records) > self._limit:
                raise SpoolFull(f"expected room below {self._limit} bytes, found {self._own.size}")
            try:
                self._own.append(records)
            except OSError as error:
                raise SpoolFull(f"expected room on the disk, found: {error.strerror}") from error

    def front(self) -> Waiting | None:
        """What is to be dealt with next; None when nothing waits."""
        with self._lock:
            file = self._adopted[0] if self._adopted else self._own
            if file.is_empty:
                return None
            return Waiting(file, file.front(_PART_RECORDS, _PART_BYTES))

    def keep_aside(self, waiting: Waiting, piece: Damaged) -> tuple[Path, bytes]:
        """Copy a damaged piece beside its file and return where, with its bytes."""
        return waiting.file.keep_aside(piece)

    def advance(self, waiting: Waiting) -> None:
        """What `front` gave is committed elsewhere: never give it again."""
        with self._lock:
            waiting.file.advance(waiting.part)
            if waiting.file is not self._own and waiting.file.is_empty:
                self._adopted.remove(waiting.file)
                waiting.file.close()

    def adopt(self) -> None:
        """Lock files that dead gateways left with something in them; a look every half minute."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        with self._lock:
            ours = {file.path for file in (self._own, *self._adopted)}
            for path in sorted(self._directory.iterdir()):
                if path in ours or not _NAME.fullmatch(path.name) or path.is_symlink():
                    continue
                file = SpoolFile.lock(path)
                if file is None:
                    continue
                if file.is_empty:
                    file.close()
                else:
                    log.info("%d notifications of a gateway that died", file.records)
                    self._adopted.append(file)

    def close(self) -> None:
        """Give every file up; what waits in them is there for the next."""
        with self._lock:
            for file in (self._own, *self._adopted):
                file.close()
