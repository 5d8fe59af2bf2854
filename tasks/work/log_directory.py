"""A sealed log in a directory, for instance one that was copied down from the object store.

Names come from a foreign disk: every part is opened relative to its parent without following
links, so neither a symbolic link nor `..` leads out of the directory, and a pipe or device is
refused instead of read. Writes are durable and never replace a file.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.errors import BadInput
from tasks.work.log_places import DirectoryPlace

MAX_FILES = 1_000_000
MAX_FILE_BYTES = 2 * 1024**3

_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
_MAX_PATH = 512
_PIECE = 1024 * 1024
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_UNFINISHED = ".unfinished-"


def check_path(path: str) -> list[str]:
    """The parts of a relative path; BadInput for `..`, leading slashes and odd marks."""
    if not _is_plain(path):
        raise BadInput(f"expected a plain relative path inside the log, found {ascii(path)[:200]}")
    return path.split("/")


def _is_plain(path: str) -> bool:
    return len(path) <= _MAX_PATH and _PATH.fullmatch(path) is not None


class DirectoryLog:
    """A log store in the directory `root`, which the first write makes."""

    source = "directory"

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root)

    def __str__(self) -> str:
        return str(self._root)

    def place(self) -> DirectoryPlace:
        """Where other machines find it, if they have the disk too."""
        return DirectoryPlace(self._root.absolute())

    def read(self, path: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """The file's bytes; NotFound, or BadInput for anything but a plain file."""
        *folders, name = check_path(path)
        with _translated(path), self._folder(folders, create=False) as folder:
            return _read(folder, name, path, limit)

    def read_many(self, paths: Iterable[str], limit: int = MAX_FILE_BYTES) -> Iterator[bytes]:
        """The bytes of many files, in the order asked for; neighbours share the way to them."""
        for folders, named in groupby(paths, key=lambda path: check_path(path)[:-1]):
            with ExitStack() as stack:
                with _translated("/".join(folders)):
                    folder = stack.enter_context(self._folder(folders, create=False))
                for path in named:
                    try:
                        data = _read(folder, path.rpartition("/")[2], path, limit)
                    except OSError as error:
                        raise _translation(error, path) from error
                    yield data

    def fetch(self, path: str, target: Path, limit: int = MAX_FILE_BYTES) -> None:
        """Copy the file to the new file `target`, piece by piece, with the errors of `read`."""
        *folders, name = check_path(path)
        with (
            _translated(path),
            self._folder(folders, create=False) as folder,
            _opened(folder, name, path, limit) as file,
            target.open("xb") as copy,
        ):
            shutil.copyfileobj(file, copy, _PIECE)

    def pieces(self, path: str, limit: int = MAX_FILE_BYTES) -> Iterator[bytes]:
        """The file's bytes, 1 MiB at a time, with the errors of `read`."""
        *folders, name = check_path(path)
        with (
            _translated(path),
            self._folder(folders, create=False) as folder,
            _opened(folder, name, path, limit) as file,
        ):
            while piece := file.read(_PIECE):
                yield piece

    def write(self, path: str, data: bytes) -> None:
        """Write a file once, durable on return; a file with other bytes is a Conflict."""
        *folders, name = check_path(path)
        unfinished = _UNFINISHED + token_hex(8)
        with _translated(path), self._folder(folders, create=True) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(unfinished, flags, 0o644, dir_fd=folder), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileExistsError as error:
                if _read(folder, name, path, MAX_FILE_BYTES) != data:
                    raise Conflict(f"{path} exists with other content; it never changes") from error
            finally:
                os.unlink(unfinished, dir_fd=folder)
            os.fsync(folder)

    def paths(self, prefix: str) -> list[str]:
        """All files below a folder (`seg/`), sorted, none when it is not there yet.

        Odd names are given as they are, folders without what is in them: whoever asks picks the
        names that it knows, and `read` refuses the others. BadInput when a plain name is a link or
        a pipe: a copy of the log was made with links, which are not followed.
        """
        folders = check_path(prefix.rstrip("/")) if prefix else []
        found: list[str] = []
        with suppress(NotFound), _translated(prefix), self._folder(folders, create=False) as folder:
            _collect(folder, "".join(f"{each}/" for each in folders), found)
        return sorted(found)

    @contextmanager
    def _folder(self, folders: list[str], *, create: bool) -> Iterator[int]:
        """A descriptor of the folder, reached part by part without following links."""
        if create:
            self._root.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in folders:
                if create:
                    _make_folder(folder, part)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                inner = os.open(part, flags, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


def _make_folder(parent: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)


def _read(folder: int, name: str, path: str, limit: int) -> bytes:
    descriptor = os.open(name, _READING, dir_fd=folder)
    try:
        size = _check_file(descriptor, path, limit)
        data = os.read(descriptor, size + 1)
        while 0 < len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
            data += more
    finally:
        os.close(descriptor)
    if len(data) != size:
        raise Malformed(f"{path}: expected {size} bytes, found {len(data)}: it is being written")
    return data


def _check_file(descriptor: int, path: str, limit: int) -> int:
    """The size of a plain file that is not too large."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{path} is not a plain file")
    if status.st_size > limit:
        raise Malformed(f"{path}: expected at most {limit} bytes, found {status.st_size}")
    return status.st_size


@contextmanager
def _opened(folder: int, name: str, path: str, limit: int) -> Iterator[BinaryIO]:
    descriptor = os.open(name, _READING, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        _check_file(descriptor, path, limit)
        yield file


def _collect(folder: int, prefix: str, found: list[str]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_UNFINISHED):
                continue
            path = prefix + entry.name
            if not _is_plain(path):
                found.append(path)
            elif entry.is_dir(follow_symlinks=False):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                inner = os.open(entry.name, flags, dir_fd=folder)
                try:
                    _collect(inner, f"{path}/", found)
                finally:
                    os.close(inner)
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
            else:
                raise BadInput(f"{path} is a link or no plain file; copy the log without links")
            if len(found) > MAX_FILES:
                raise Malformed(f"expected at most {MAX_FILES} files below {prefix}")


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translation(error, path) from error


def _translation(error: OSError, path: str) -> ClientError | BadInput:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path} does not exist")
    if isinstance(error, PermissionError):
        return Denied(f"{path}: no permission to read or write it")
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
        return BadInput(
            f"{path} leads over a link or is not a plain file; copy the log without links"
        )
    return Transient(f"{path}: {error.strerror}")
