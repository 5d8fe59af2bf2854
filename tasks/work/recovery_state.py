"""What a recovery remembers of what it put where, so that the next run fetches only the rest.

A line of JSON for each file, appended once the file has its name; the last line of a path counts.
Nobody believes it: local bytes are hashed again in every run, and only a file that still has the
SHA-256 that we wrote, of an object that still has the same ETag, is left as it is. A state that is
cut off costs time and nothing else. One of another source is refused: a log is judged by all that
lies in its directory, so two copies in one would each be called altered by the other. Memory: some
250 bytes a file, and its name.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from io import BufferedReader, FileIO
from itertools import islice
from typing import Any

from tasks.clients.local_folder import LocalFile, LocalFolder
from tasks.domain.errors import BadInput
from tasks.domain.untrusted import visible

_NAME = "state.jsonl"
_NEW = "state.new"
_VERSION = 1
_MAX_LINE = 16 * 1024
_LINES_AT_ONCE = 1000
_SHA_BYTES = 32
_MENDED = "mended"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"([0-9a-f]{32})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kept:
    """What we put under `path`: SHA-256 (hex) of it, and which listed object it stands for.

    An empty `object_id`: none was listed; it came from an older version, or was rebuilt.
    `is_mended`: the bytes are not those of the listed object.
    """

    path: str
    object_id: str
    sha256: str
    is_mended: bool = False


def object_id(etag: str, size: int) -> str:
    """By which one state of one object is known again."""
    return blake2b(f"{size} {etag}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class RecoveryState:
    """The state of one source in one target. One thread only.

    BadInput when the target holds another source. Of a folder that is only looked at it is read.
    """

    def __init__(self, folder: LocalFolder, source: str) -> None:
        self._folder = folder
        self._own = folder.own
        self._source = source
        self._known: dict[str, bytes] = {}
        self._mended: set[str] = set()
        if self._own.is_filled:
            self._own.forget(_NEW)
        self._file = self._own.open_state(_NAME)
        try:
            if self._file is not None and self._read(self._file) and self._own.is_filled:
                self._rewrite(self._file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; what was kept stays."""
        if self._file is not None:
            self._file.close()

    def made(self, path: str) -> str | None:
        """SHA-256 (hex) of what we put there last; None when we never did."""
        known = self._known.get(path)
        return known[-_SHA_BYTES:].hex() if known is not None else None

    def fetched(self, path: str) -> str | None:
        """SHA-256 (hex) of what we put there last, if those are the bytes of a listed object."""
        return None if path in self._mended else self.made(path)

    def is_current(self, path: str, etag: str, size: int, found: LocalFile | None) -> bool:
        """Whether what lies there is still what we put there of this very object."""
        known = self._known.get(path)
        return (
            known is not None
            and found is not None
            and known == _packed(Kept(path, object_id(etag, size), found.sha256))
        )

    def mended(self, path: str, sha256: str) -> None:
        """Remember what we put there in place of the object that is listed, or of none."""
        listed = self._known.get(path, bytes(_SHA_BYTES))[:-_SHA_BYTES].hex()
        self.keep([Kept(path, listed, sha256, is_mended=True)])

    def keep(self, entries: Iterable[Kept]) -> None:
        """Remember what has its name now."""
        lines = []
        for each in entries:
            self._know(each)
            lines.append(_line(each))
        if self._file is not None and lines:
            self._own.write_state(self._file, b"".join(lines))

    def _know(self, kept: Kept) -> None:
        self._known[kept.path] = _packed(kept)
        if kept.is_mended:
            self._mended.add(kept.path)
        else:
            self._mended.discard(kept.path)

    def _read(self, file: FileIO) -> bool:
        """Take over what is written; whether the file must be written anew."""
        with _lines(file) as lines:
            head = _parsed(next(lines, b""))
            if head != self._header:
                if any(_kept(_parsed(line)) for line in lines):
                    self._require_no_other(head)
                return True
            for line in lines:
                kept = _kept(_parsed(line))
                if kept is None or not line.endswith(b"\n"):
                    return True
                self._know(kept)
        return False

    def _require_no_other(self, head: object) -> None:
        match head:
            case {"source": str(other)} if other != self._source:
                raise BadInput(
                    f"{self._folder.root}: expected a directory for {visible(self._source)}, "
                    f"found what was brought from {visible(other)}: name a directory of its own"
                )

    @property
    def _header(self) -> dict[str, Any]:
        return {"version": _VERSION, "source": self._source}

    def _rewrite(self, old: FileIO) -> None:
        """The lines that could be read, in a new file: what follows a cut line would be lost."""
        new = self._own.open_state(_NEW)
        if new is None:
            return
        with old, new, _lines(old) as lines:
            self._own.write_state(new, json.dumps(self._header).encode() + b"\n")
            good = (each for each in (_kept(_parsed(line)) for line in lines) if each is not None)
            kept = (_line(each) for each in good if self._known.get(each.path) == _packed(each))
            while some := b"".join(islice(kept, _LINES_AT_ONCE)):
                self._own.write_state(new, some)
        self._own.replace_state(_NAME, _NEW)
        self._file = self._own.open_state(_NAME)


@contextmanager
def _lines(file: FileIO) -> Iterator[Iterator[bytes]]:
    file.seek(0)
    buffered = BufferedReader(file)
    try:
        yield iter(lambda: buffered.readline(_MAX_LINE), b"")
    finally:
        buffered.detach()


def _line(kept: Kept) -> bytes:
    entry = [kept.path, kept.object_id, kept.sha256, *([_MENDED] if kept.is_mended else [])]
    return json.dumps(entry).encode() + b"\n"


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _kept(entry: object) -> Kept | None:
    match entry:
        case [str(path), str(identity), str(sha256), *rest] if (
            _DIGEST.fullmatch(sha256) and _ID.fullmatch(identity) and rest in ([], [_MENDED])
        ):
            return Kept(path, identity, sha256, is_mended=bool(rest))
        case _:
            return None


def _packed(kept: Kept) -> bytes:
    """The object's id, if any, and the SHA-256."""
    return bytes.fromhex(kept.object_id + kept.sha256)
