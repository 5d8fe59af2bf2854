"""What a log needs of the place where it lies: files that are written once.

Apart from the places themselves (`log_directory`, `log_store`), so that a worker process that reads
a directory does not load the libraries of an object store.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol


class LogStore(Protocol):
    """What a sealed log needs of its place. `source` names it in findings."""

    source: str

    def read(self, path: str, limit: int = ...) -> bytes:
        """The file's bytes; NotFound without it, Malformed when it exceeds `limit` bytes."""

    def read_many(self, paths: Iterable[str], limit: int = ...) -> Iterator[bytes]:
        """Many small files in the order asked for, with the errors of `read`."""

    def pieces(self, path: str, limit: int = ...) -> Iterator[bytes]:
        """The file's bytes piece by piece, with the errors of `read`; memory stays bounded."""

    def fetch(self, path: str, target: Path, limit: int = ...) -> None:
        """Stream the file into the new file `target`, with the errors of `read`."""

    def write(self, path: str, data: bytes) -> None:
        """Durable on return, and once: the same bytes again are fine, others are a Conflict."""

    def paths(self, prefix: str) -> list[str]:
        """Every file below the folder `prefix` (`seg/`), relative to the log.

        Names come from outside and may be anything: pick those that are known. `read` refuses a
        path that leads out of the log.
        """
