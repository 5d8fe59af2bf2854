"""A backup brought here, as it is: its layers stay on, its content is for others to judge.

The original is copied, never linked: what is checked here cannot be changed from there any more.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from tasks.clients.errors import Malformed, NotFound
from tasks.domain.backup_listing import is_dump_file, items
from tasks.domain.backups import Backup, Format, Kind
from tasks.domain.errors import BadInput, NotProven, Refused
from tasks.settings import settings
from tasks.work import catalogue
from tasks.work.backup_places import BackupPlace

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes that there will be."""

_SPARE_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


def no_progress(_done: int, _due: int) -> None:
    """For those who do not watch."""


def fetch(
    backup: Backup,
    directory: Path,
    progress: Progress = no_progress,
    places: Iterable[BackupPlace] | None = None,
) -> Path:
    """The backup as a private file or directory in `directory` (made with mode 0700).

    `places`: where it may lie; those of the settings if none are given. A file that an earlier
    call left is used when its SHA-256 is right. Raises NotProven for other bytes than the signed
    manifest promises or the listing said, Refused for a lack of room, NotFound when it is gone,
    another ClientError when its place does not answer.
    """
    if backup.unusable:
        raise NotProven(f"backup {backup.key} is unusable: {backup.unusable}")
    if backup.kind in {Kind.BASE, Kind.REPOSITORY}:
        raise BadInput(f"{backup.key}: a {backup.kind} is not fetched as a dump is")
    place = _place_of(backup, catalogue.places(settings()) if places is None else places)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = directory / f"{backup.identity}.dump"
    if backup.sha256 and target.is_file() and _digest(target) == backup.sha256:
        return target
    _require_room(directory, backup)
    part = directory / f"{backup.identity}.{os.getpid()}.part"
    _remove(part)
    try:
        if backup.format is Format.DIRECTORY:
            _copy_directory(backup, place, part, progress)
        else:
            _copy_file(backup, place, part, progress)
        _remove(target)
        part.replace(target)
    finally:
        _remove(part)
    return target


def _place_of(backup: Backup, places: Iterable[BackupPlace]) -> BackupPlace:
    for place in places:
        same = (place.place, place.root) == (backup.place, backup.root or place.root)
        if same and backup.key.startswith(place.prefix):
            return place
    raise NotFound(
        f"expected {backup.key} in a place that is configured, found {backup.place} "
        f"{backup.root!r} is none: set it again, or choose another backup"
    )


def _copy_file(backup: Backup, place: BackupPlace, part: Path, progress: Progress) -> None:
    name = backup.key.removeprefix(place.prefix)
    digest = sha256()
    with part.open("xb") as file:
        for piece in _whole(backup, place, name, backup.size):
            digest.update(piece)
            file.write(piece)
            progress(file.tell(), backup.size)
    if backup.sha256 and digest.hexdigest() != backup.sha256:
        raise _corrupt(
            backup,
            f"expected SHA-256 {backup.sha256} (signed manifest), found SHA-256 "
            f"{digest.hexdigest()}",
        )


def _copy_directory(backup: Backup, place: BackupPlace, part: Path, progress: Progress) -> None:
    """A directory of pg_dump: its own files alone, whose names are plain.

    The names come from the place, which may say others than when it was listed: one with a `/` in
    it would be written wherever it points to.
    """
    name = backup.key.removeprefix(place.prefix)
    found = next((item for item in items(place.listed()) if item.name == name), None)
    if found is None:
        raise NotFound(f"{backup.key}: gone since it was listed; choose another backup")
    if found.size != backup.size:
        raise _corrupt(backup, f"expected {backup.size} bytes, found {found.size}")
    strange = next((member for member in found.names if not is_dump_file(member)), None)
    if strange is not None:
        raise _corrupt(backup, f"expected files of pg_dump alone, found {ascii(strange)[:200]}")
    part.mkdir(mode=0o700)
    done = 0
    for member, listed in found.names.items():
        with (part / member).open("xb") as file:
            if listed.size:
                for piece in _whole(backup, place, listed.name, listed.size):
                    file.write(piece)
                    done += len(piece)
                    progress(done, backup.size)


def _whole(backup: Backup, place: BackupPlace, name: str, size: int) -> Iterator[bytes]:
    """The file's pieces; NotProven when they are not `size` bytes together."""
    found = 0
    try:
        for piece in place.pieces(name, size):
            found += len(piece)
            if found > size:
                break
            yield piece
    except Malformed as error:
        raise _corrupt(backup, str(error)) from error
    if found != size:
        more = "more" if found > size else f"{found} bytes"
        raise _corrupt(backup, f"expected {size} bytes, found {more}")


def _corrupt(backup: Backup, found: str) -> NotProven:
    return NotProven(
        f"backup corrupt: {backup.key}: {found}: choose an older backup; production is untouched"
    )


def _require_room(directory: Path, backup: Backup) -> None:
    free = shutil.disk_usage(directory).free
    if free < backup.size + _SPARE_BYTES:
        raise Refused(
            f"expected {backup.size + _SPARE_BYTES} free bytes in {directory} for {backup.key}, "
            f"found {free}: make room or set TMPDIR to a larger place"
        )


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
