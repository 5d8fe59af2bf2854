"""How far pg_restore is: what it has read of the archive, and which entries it has finished.

An archive in custom format does not say how large its tables are, and one table may be nearly all
of it. So the data phase is measured by the bytes that pg_restore and its workers have read (the
kernel counts them), the phase after it by the entries that are done.
"""

import re
import time
from contextlib import suppress
from pathlib import Path

from tasks.clients.warden import family

LOOK_SECONDS = 0.5
"""Between two looks at what has been read."""

_DATA_SHARE = 0.7  # of the time; the rest is indexes and constraints
_ENTRY = re.compile(r"^\d+; \d+ \d+ ([A-Z][A-Z ]*[A-Z]) ")
_DONE = re.compile(r"pg_restore: (?:finished item \d+ |creating )([A-Z][A-Z ]*[A-Z]) ")
_LATE = frozenset({"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "INDEX"})


class Progress:
    """Fed with the lines of `pg_restore --verbose`; asked for the share that is done."""

    def __init__(self, archive: Path, contents: str) -> None:
        kinds = [found[1] for line in contents.splitlines() if (found := _ENTRY.match(line))]
        self._late = sum(kind in _LATE for kind in kinds)
        self._size = _size(archive)
        self._late_done = 0
        self._read: dict[int, int] = {}
        self._looked = 0.0

    def heard(self, line: str) -> None:
        """One line of pg_restore's."""
        found = _DONE.match(line)
        if found is not None and found[1] in _LATE:
            self._late_done += 1

    def share(self, pid: int) -> float | None:
        """From 0 to 1 for the pg_restore below that process id; None when asked too soon again."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        for each in family(pid):
            with suppress(OSError, ValueError):
                self._read[each] = _bytes_read(each)
        data = min(1.0, sum(self._read.values()) / self._size) if self._size else 1.0
        late = min(1.0, self._late_done / self._late) if self._late else data
        if late > 0:
            data = 1.0
        return _DATA_SHARE * data + (1 - _DATA_SHARE) * late


def _size(archive: Path) -> int:
    if archive.is_dir():
        return sum(each.stat().st_size for each in archive.iterdir())
    return archive.stat().st_size


def _bytes_read(pid: int) -> int:
    """What it has read so far, from files and the server (which says little)."""
    for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0
