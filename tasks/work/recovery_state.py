"""What a recovery remembers of what it put where, so that the next run fetches only the rest.

A line of JSON for each file, appended once the file has its name; the last line of a path counts.
Nobody believes it: local bytes are hashed again in every run, and only a file that still has the
SHA-256 that we wrote, of an object that still has the same ETag, is left as it is. A state that is
cut off, or belongs to another source, costs time and nothing else. Memory: 300 bytes a file.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from io import BufferedReader, FileIO
from typing import Any

from tasks.clients.local_folder import LocalFile, LocalFolder

_NAME = "state.jsonl"
_NEW = "state.new"
_VERSION = 1
_MAX_LINE = 16 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"([0-9a-f]{32})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kept:
    """What we put under `path`: SHA-256 (hex) of it, and which listed object it stands for.

    An empty `object_id`: none was listed; it came from an older version, or was rebuilt.
    """

    path: str
    object_id: str
    sha256: str


def object_id(etag: str, size: int) -> str:
    """By which one state of one object is known again."""
    return blake2b(f"{size} {etag}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class RecoveryState:
    """The state of one source in one target. One thread only."""

    def __init__(self, folder: LocalFolder, source: str) -> None:
        self._folder = folder
        self._source = source
        self._known: dict[str, tuple[bytes, bytes]] = {}
        folder.forget(_NEW)
        self._file = folder.open_state(_NAME)
        if self._read():
            self._rewrite()

    def close(self) -> None:
        """Close the file; what was kept stays."""
        self._file.close()

    def made(self, path: str) -> str | None:
        """SHA-256 (hex) of what we put there last; None when we never did."""
        known = self._known.get(path)
        return known[1].hex() if known is not None else None

    def is_current(self, path: str, etag: str, size: int, found: LocalFile | None) -> bool:
        """Whether what lies there is still what we put there of this very object."""
        known = self._known.get(path)
        return (
            known is not None
            and found is not None
            and known[0] == bytes.fromhex(object_id(etag, size))
            and known[1].hex() == found.sha256
        )

    def mended(self, path: str, sha256: str) -> None:
        """Remember what we put there in place of the object that is listed, or of none."""
        known = self._known.get(path)
        self.keep([Kept(path, known[0].hex() if known is not None else "", sha256)])

    def keep(self, entries: Iterable[Kept]) -> None:
        """Remember what has its name now."""
        lines = []
        for each in entries:
            self._known[each.path] = _packed(each)
            lines.append(_line(each))
        self._folder.write_state(self._file, b"".join(lines))

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def _read(self) -> bool:
        """Take over what is written; whether the file must be written anew."""
        with _lines(self._file) as lines:
            if _parsed(next(lines, b"")) != self._header:
                return True
            for line in lines:
                kept = _kept(_parsed(line))
                if kept is None or not line.endswith(b"\n"):
                    return True
                self._known[kept.path] = _packed(kept)
        return False

    @property
    def _header(self) -> dict[str, Any]:
        return {"version": _VERSION, "source": self._source}

    def _rewrite(self) -> None:
        """The lines that could be read, in a new file: what follows a cut line would be lost."""
        with _lines(self._file) as lines:
            entries = [_kept(_parsed(line)) for line in lines]
        good = (each for each in entries if each is not None)
        kept = [_line(each) for each in good if self._known.get(each.path) == _packed(each)]
        self._file.close()
        with self._folder.open_state(_NEW) as new:
            head = json.dumps(self._header).encode() + b"\n"
            self._folder.write_state(new, head + b"".join(kept))
        self._folder.replace_state(_NAME, _NEW)
        self._file = self._folder.open_state(_NAME)


@contextmanager
def _lines(file: FileIO) -> Iterator[Iterator[bytes]]:
    file.seek(0)
    buffered = BufferedReader(file)
    try:
        yield iter(lambda: buffered.readline(_MAX_LINE), b"")
    finally:
        buffered.detach()


def _line(kept: Kept) -> bytes:
    return json.dumps([kept.path, kept.object_id, kept.sha256]).encode() + b"\n"


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _kept(entry: object) -> Kept | None:
    match entry:
        case [str(path), str(identity), str(sha256)] if _DIGEST.fullmatch(sha256) and _ID.fullmatch(
            identity
        ):
            return Kept(path, identity, sha256)
        case _:
            return None


def _packed(kept: Kept) -> tuple[bytes, bytes]:
    return bytes.fromhex(kept.object_id), bytes.fromhex(kept.sha256)
