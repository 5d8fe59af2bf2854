"""Object keys as paths below a local directory.

Keys are hostile: whoever may write into a bucket chooses them, and a file system takes some of them
for something else.

A key either becomes the path that it spells, part by part, or it is refused with the reason; none
is ever bent into another name, because then two keys could meet in one file.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from tasks.domain.errors import BadInput
from tasks.domain.ledger.legacy_manifest import log_path
from tasks.domain.ledger.segments import Segment
from tasks.domain.ledger.tiles import Tile, TileError

OWN_PREFIX = ".unfinished-"
"""Names that begin so are ours: what is not done yet, and what a recovery keeps to go on with."""

LEGACY_ROOT = "audit_logs/"

_LATELY = 8192
"""Paths whose answer is kept: each is claimed, looked at and written, one soon after another."""

_MAX_PART_BYTES = 255
_MAX_PATH_BYTES = 1024
MAX_PARTS = 100
# controls, format marks (bidi, zero width), surrogates, line and paragraph separators
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.ASCII | re.IGNORECASE)
_NUMBERED = re.compile(
    r"checkpoints/(0|[1-9][0-9]{0,18})|cosigned/[0-9]{1,19}-[0-9]{1,12}|timestamps/[0-9]{1,19}\.tsr"
)


class Why(StrEnum):
    """Why a key is not fetched."""

    EMPTY = "the key names nothing below the source"
    OUTSIDE = "a part of it is . or .."
    EMPTY_PART = "it begins or ends with a slash, or has two in a row"
    BACKSLASH = "it holds a backslash"
    CONTROL = "it holds a control or an invisible character"
    TOO_LONG = "a part of it is longer than 255 bytes, or the whole than 1024"
    RESERVED = "a part of it is a name that this program or a system keeps for itself"
    COLLIDES = "another key has the same name, as this file system tells names"
    FILE_AND_FOLDER = "another key needs the same name, one as a file and one as a folder"


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A key that is not fetched, as it is (never printed unescaped), and why."""

    key: str
    why: Why

    def as_json(self) -> dict[str, str]:
        """JSON-able; json escapes what is not ASCII."""
        return {"key": self.key, "why": self.why.value}


@lru_cache(maxsize=_LATELY)
def refusal(path: str) -> Why | None:
    """Why this path cannot lie below a directory, whatever else does; None when it can."""
    return next((why for why, applies in _CHECKS.items() if applies(path)), None)


def parts_of(path: str) -> list[str]:
    """The parts of a path that `refusal` has nothing against; BadInput for any other."""
    why = refusal(path)
    if why is not None:
        raise BadInput(f"expected a path below the target, found {ascii(path)[:200]}: {why}")
    return path.split("/")


def folded(path: str) -> str:
    """What paths that some file system takes for one have in common (Unicode 3.13, D145)."""
    if path.isascii():
        return path.lower()
    plain = unicodedata.normalize("NFD", path)
    return unicodedata.normalize("NFD", plain.casefold())


def is_of_a_log(path: str) -> bool:
    """Whether a sealer or a logger writes such a name; theirs go before any stray."""
    if Segment.parse(path) is not None or _NUMBERED.fullmatch(path):
        return True
    if path.startswith("tile/"):
        try:
            Tile.parse(path)
        except TileError:
            return False
        return True
    known = log_path(path)
    return known is not None and path.removeprefix(LEGACY_ROOT) == known


class Places:
    """The paths that are taken below one directory. Memory: some 150 bytes for each of them.

    `folds`: the file system there takes names for one that differ by case or Unicode form.
    """

    def __init__(self, *, folds: bool) -> None:
        self._folds = folds
        self._files: set[int] = set()
        self._folders: set[int] = set()
        self._exact: set[int] = set()

    def claim(self, path: str) -> Why | None:
        """Take the path, or why it cannot be had. The first claim of a name wins."""
        why = refusal(path)
        if why is not None:
            return why
        name = folded(path) if self._folds else path
        above = list(map(hash, _folders_above(name)))
        this = hash(name)
        if this in self._files:
            return Why.COLLIDES
        if this in self._folders or not self._files.isdisjoint(above):
            return Why.FILE_AND_FOLDER
        self._files.add(this)
        self._folders.update(above)
        self._exact.add(hash(path))
        return None

    def __contains__(self, path: str) -> bool:
        return hash(path) in self._exact


def _folders_above(path: str) -> Iterator[str]:
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _is_unshowable(path: str) -> bool:
    if path.isascii():
        return not path.isprintable()
    return any(unicodedata.category(mark) in _UNSHOWABLE for mark in path)


def _is_too_long(path: str) -> bool:
    parts = path.split("/")
    longest = max(len(part.encode()) for part in parts)
    whole = len(path.encode())
    return longest > _MAX_PART_BYTES or whole > _MAX_PATH_BYTES or len(parts) > MAX_PARTS


def _is_reserved(part: str) -> bool:
    return folded(part).startswith(OWN_PREFIX) or _DEVICE.fullmatch(part) is not None


_CHECKS: Mapping[Why, Callable[[str], bool]] = {
    Why.EMPTY: lambda path: not path,
    Why.CONTROL: _is_unshowable,  # and lone surrogates: what follows can be encoded
    Why.BACKSLASH: lambda path: "\\" in path,
    Why.EMPTY_PART: lambda path: "" in path.split("/"),
    Why.OUTSIDE: lambda path: not {".", ".."}.isdisjoint(path.split("/")),
    Why.TOO_LONG: _is_too_long,
    Why.RESERVED: lambda path: any(map(_is_reserved, path.split("/"))),
}
