"""What a throw-away instance may use, and the watch that stops it when it takes more.

PostgreSQL bounds neither: a dump can be small and what it makes endless.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

RESERVE_BYTES = 512 * 1024 * 1024
"""What stays free on the disk whatever an instance wants: others live there too."""

_LOOK_SECONDS = 1.0
_MEGABYTE = 1024 * 1024
_PROGRAM_MB = 512  # address space of the program and its libraries, before any data


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one instance: its directory in bytes, its processes together in megabytes.

    `reserve_bytes` stay free on the disk whatever else fills it.
    """

    disk_bytes: int = 64 * 1024**3
    memory_mb: int = 2048
    reserve_bytes: int = RESERVE_BYTES

    @property
    def shared_buffers_mb(self) -> int:
        """Its cache: an eighth."""
        return max(16, self.memory_mb // 8)

    @property
    def maintenance_mb(self) -> int:
        """For building one index; two are built at once."""
        return max(16, min(256, self.memory_mb // 8))

    @property
    def address_space_mb(self) -> int:
        """Of each of its processes, from their start on."""
        return self.memory_mb + _PROGRAM_MB


class Watch:
    """Looks at the instance each second; `exceeded` says which bound it broke, then kills it."""

    def __init__(self, home: Path, limits: Limits, processes: Callable[[], set[int]]) -> None:
        self.exceeded = ""
        self._home, self._limits, self._processes = home, limits, processes
        self._over = Event()
        self._thread = Thread(target=self._run, name="instance-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.exceeded = self._look()
            if self.exceeded:
                for pid in self._processes():
                    with suppress(ProcessLookupError):
                        os.kill(pid, 9)
                return

    def _look(self) -> str:
        free = shutil.disk_usage(self._home).free
        if free < self._limits.reserve_bytes:
            reserve = self._limits.reserve_bytes
            return f"expected {reserve} bytes to stay free on the disk, found {free}"
        size = directory_bytes(self._home)
        if size > self._limits.disk_bytes:
            return f"expected at most {self._limits.disk_bytes} bytes on disk, found {size}"
        used = sum(_own_memory(pid) for pid in self._processes())
        if used > self._limits.memory_mb * _MEGABYTE:
            return f"expected at most {self._limits.memory_mb} MB of memory, found {used} bytes"
        return ""


def directory_bytes(directory: Path) -> int:
    """Bytes on disk of everything below it; what vanishes meanwhile counts nothing."""
    total = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += directory_bytes(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _own_memory(pid: int) -> int:
    """Bytes that this process alone has in memory: without the cache, which all share."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
