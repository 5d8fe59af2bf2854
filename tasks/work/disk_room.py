"""Room on the disk of a directory that is filled by several threads: some always stays free."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from tasks.clients.local_errors import DiskFull
from tasks.clients.local_folder import LocalFolder, Unfinished

SPARE_BYTES = 16 * 1024 * 1024
"""Room that is left on the disk: a full one hurts others more than us."""


class Room:
    """Gives out new files for which there is room, besides what the others still have to write."""

    def __init__(self, folder: LocalFolder) -> None:
        self._folder = folder
        self._lock = Lock()
        self._promised: dict[str, tuple[int, Unfinished]] = {}

    @contextmanager
    def new_file(self, size: int) -> Iterator[Unfinished]:
        """A file for `size` bytes, as `LocalFolder.new_file` gives it; DiskFull without room."""
        with self._folder.new_file() as file:
            with self._lock:
                due = sum(max(0, whole - each.size) for whole, each in self._promised.values())
                free = self._folder.free_bytes()  # asked for last: what is written counts twice
                if due + size + SPARE_BYTES > free:
                    raise DiskFull(
                        f"{self._folder.root}: expected room for {size:,} bytes, "
                        f"{SPARE_BYTES:,} to spare and {due:,} that are on their way, found "
                        f"{free:,}: make room and run it again; it goes on from here"
                    )
                self._promised[file.name] = (size, file)
            try:
                yield file
            finally:
                with self._lock:
                    del self._promised[file.name]
