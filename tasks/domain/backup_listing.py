"""Which files of a listing belong together: a backup is one file, a directory, or a repository.

Names are relative to the place that was listed, with `/` between their parts, whatever the place.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

MANIFEST = ".manifest"
_BESIDE = (MANIFEST, ".sha256", ".sha256sum", ".md5", ".sig")
"""What may lie beside a backup and is none itself."""

_DUMP_FILE = re.compile(
    r"toc\.dat|[0-9]+\.dat(\.\w+)?|blobs(_[0-9]+)?\.toc|blob_[0-9]+\.dat(\.\w+)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_214_400  # a day before the calendar's end, which other zones reach earlier
_BASE_FILE = re.compile(r"(base|pg_wal|[0-9]+)\.tar(\.\w+)?|backup_manifest")
_BASE_TAR = re.compile(r"base\.tar(\.\w+)?")


class Shape(StrEnum):
    """How many files make up one backup."""

    FILE = "file"
    DIRECTORY = "directory"
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file or object; `size` in bytes, `modified` in UTC."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be taken as one. `name`: of file or directory; `manifest`: beside it, or empty.

    `manifest` alone with no `files`: a manifest whose backup is missing.
    """

    name: str
    shape: Shape
    files: tuple[Listed, ...]
    manifest: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(each.size for each in self.files)

    @property
    def modified(self) -> datetime | None:
        """When the last of its files was written."""
        return max((each.modified for each in self.files), default=None)

    @property
    def names(self) -> dict[str, Listed]:
        """A directory's files by their names below it."""
        return {each.name.removeprefix(f"{self.name}/"): each for each in self.files}


def file_time(seconds: float) -> datetime:
    """A file's time in UTC, seconds since 1970; whatever else a file may say becomes the nearest.

    Whoever writes a file chooses its time, so one beyond the calendar is no error.
    """
    return _EPOCH + timedelta(seconds=min(max(seconds, 0), _LAST_SECOND))


def is_dump_file(name: str) -> bool:
    """Whether pg_dump's directory format has a file of this name, directly in its directory."""
    return _DUMP_FILE.fullmatch(name) is not None


def items(listed: Iterable[Listed]) -> list[Item]:
    """The backups that a listing shows, by name; what is said beside them goes with them.

    A file with a manifest beside it always stands for itself: whoever may add files to the place
    could else hide good backups by a `toc.dat` or a `backup.info` above them.
    """
    found = {each.name: each for each in listed if not each.name.endswith("/")}
    homes = _homes(found)
    alone: dict[str, Listed] = {}
    inside: dict[str, list[Listed]] = defaultdict(list)
    for name, each in found.items():
        signed = f"{name}{MANIFEST}" in found or name.endswith(MANIFEST)
        home = "" if signed else _home_of(name, homes)
        if home:
            inside[home].append(each)
        else:
            alone[name] = each
    result = [
        Item(home, homes[home].shape, tuple(files), _manifest(home, found))
        for home, files in inside.items()
    ]
    for name, each in alone.items():
        owner = next((name.removesuffix(end) for end in _BESIDE if name.endswith(end)), name)
        if owner != name and (owner in alone or owner in inside):
            continue
        if name.endswith(MANIFEST):
            result.append(Item(name, Shape.FILE, (), name))
        else:
            result.append(Item(name, Shape.FILE, (each,), _manifest(name, found)))
    return sorted(result, key=lambda item: item.name)


class _Home(StrEnum):
    """What makes a directory one backup, and so which files belong to it."""

    REPOSITORY = "pgBackRest"  # everything below
    DATA = "data directory"  # everything below
    DUMP = "directory format"  # its own files of pg_dump
    BASE_TAR = "base.tar"  # its own files of pg_basebackup

    @property
    def shape(self) -> Shape:
        return Shape.REPOSITORY if self is _Home.REPOSITORY else Shape.DIRECTORY

    def has(self, name: str) -> bool:
        """Whether a file of this name, directly in the directory, is part of it."""
        form = _DUMP_FILE if self is _Home.DUMP else _BASE_FILE
        return form.fullmatch(name) is not None


def _homes(found: Iterable[str]) -> dict[str, _Home]:
    homes: dict[str, _Home] = {}
    for name in found:
        home, _, last = name.rpartition("/")
        kind = _told_by(last)
        if home and kind is not None:
            homes[home] = min(kind, homes.get(home, kind), key=list(_Home).index)
    return homes


def _told_by(name: str) -> _Home | None:
    if name in {"backup.info", "archive.info"}:
        return _Home.REPOSITORY
    if name == "PG_VERSION":
        return _Home.DATA
    if name == "toc.dat":
        return _Home.DUMP
    return _Home.BASE_TAR if _BASE_TAR.fullmatch(name) else None


def _home_of(name: str, homes: Mapping[str, _Home]) -> str:
    """The directory of which the file is a part, or nothing."""
    above = _above(name)
    for up in above:
        if homes.get(up) in {_Home.REPOSITORY, _Home.DATA}:
            return up
    parent, _, last = name.rpartition("/")
    return parent if parent in homes and homes[parent].has(last) else ""


def _manifest(name: str, found: Mapping[str, Listed]) -> str:
    return f"{name}{MANIFEST}" if f"{name}{MANIFEST}" in found else ""


def _above(name: str) -> list[str]:
    """The directories above, the topmost first."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
