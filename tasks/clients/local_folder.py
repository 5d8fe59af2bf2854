"""A local directory that is filled from outside: nothing written or read here leaves it.

Every path is walked part by part from one descriptor of the root (openat, O_NOFOLLOW), so that a
symbolic link that somebody planted in the directory ends in an error and not outside. Files get
their names by a rename once they are whole. What is not done lies in `.unfinished-recovery/`.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from itertools import count
from pathlib import Path

from tasks.clients.errors import Conflict, Denied
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.local_paths import OWN_PREFIX, parts_of

WORK = f"{OWN_PREFIX}recovery"
"""The folder of ours in the target: unfinished files, the state, the lock."""

_TEMPORARY = "part-"
_LOCK = "lock"
_PIECE = 1024 * 1024
_ASIDE_BYTES = 200
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskFull(RunbookError):
    """No room is left; what has its name already is whole, and the rest can be fetched later."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """What lies under a path: its size in bytes and SHA-256 (hex)."""

    size: int
    sha256: str


class Unfinished:
    """A file that has no name yet; hashed as it is written."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.size = 0
        self._descriptor = descriptor
        self._digest = sha256()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes; DiskFull when there is no room for them."""
        left = memoryview(data)
        self._digest.update(left)
        self.size += len(left)
        while left:
            left = left[os.write(self._descriptor, left) :]

    @property
    def content(self) -> LocalFile:
        """What was written."""
        return LocalFile(self.size, self._digest.hexdigest())


class LocalFolder:
    """The directory `root`, made when it is not there. Safe to use from several threads.

    Made by `open_folder`: one process at a time.
    """

    def __init__(self, root: Path, descriptor: int, work: int) -> None:
        self.root = root
        self._root = descriptor
        self._work = work
        self._numbers = count()

    @contextmanager
    def new_file(self) -> Iterator[Unfinished]:
        """A file to be written and then given to `put`; gone when that does not happen."""
        name = f"{_TEMPORARY}{next(self._numbers)}"
        try:
            descriptor = os.open(name, _NEW, 0o644, dir_fd=self._work)
            try:
                yield Unfinished(name, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._translated(error, "a file in it") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._work)

    def put(self, file: Unfinished, path: str) -> None:
        """Give the file its path, in place of what is there. Within `new_file`."""
        *folders, name = parts_of(path)
        with self._at(path), self._folder(folders, create=True) as folder:
            os.rename(file.name, name, src_dir_fd=self._work, dst_dir_fd=folder)

    def look(self, path: str) -> LocalFile | None:
        """Hash the file at the path; None when nothing is there. BadInput when it is no file."""
        *folders, name = parts_of(path)
        try:
            with self._at(path), self._folder(folders, create=False) as folder:
                return _hashed(name, folder, path)
        except FileNotFoundError:
            return None

    def set_aside(self, path: str, mark: str) -> str:
        """Rename the file at `path` to one beside it that ends in `mark`; the new path."""
        *folders, name = parts_of(path)
        aside = f"{name.encode()[:_ASIDE_BYTES].decode(errors='ignore')}.{mark}"
        with self._at(path), self._folder(folders, create=False) as folder:
            with suppress(FileNotFoundError):
                os.stat(aside, dir_fd=folder, follow_symlinks=False)
                raise Conflict(f"{path}: {aside} is there already; move one of them away")
            os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        return "/".join([*folders, aside])

    def walk(self) -> Iterator[str]:
        """Every path below the root but ours, files and whatever else, following no link."""
        yield from _walk(self._root, "")

    def open_state(self, name: str) -> FileIO:
        """A file of ours for reading and appending."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._at(name):
            return os.fdopen(os.open(name, flags, 0o600, dir_fd=self._work), "a+b", buffering=0)

    def write_state(self, file: FileIO, data: bytes) -> None:
        """Append to a file of ours; DiskFull when there is no room: then a part may be there."""
        with self._at("our state"):
            file.write(data)
            file.flush()

    def replace_state(self, name: str, new: str) -> None:
        """Rename a file of ours."""
        os.rename(new, name, src_dir_fd=self._work, dst_dir_fd=self._work)

    def forget(self, name: str) -> None:
        """Remove a file of ours."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._work)

    def free_bytes(self) -> int:
        """Room that is left for us."""
        status = os.fstatvfs(self._root)
        return status.f_bavail * status.f_frsize

    def sync(self) -> None:
        """Wait until everything in the file system is durable."""
        os.sync()

    @contextmanager
    def _folder(self, folders: list[str], *, create: bool) -> Iterator[int]:
        opened: list[int] = []
        inner = self._root
        try:
            for part in folders:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=inner)
                except FileNotFoundError:
                    if not create:
                        raise
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=inner)
                    inner = os.open(part, _FOLDER, dir_fd=inner)
                opened.append(inner)
            yield inner
        finally:
            for descriptor in opened:
                os.close(descriptor)

    @contextmanager
    def _at(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._translated(error, ascii(path)[:200]) from error

    def _translated(self, error: OSError, what: str) -> RunbookError:
        if error.errno in _FULL:
            return DiskFull(f"{self.root}: no space is left; make room and run it again")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return Denied(f"{self.root}: no permission to write or read {what}")
        return BadInput(
            f"{self.root}: {what} leads over a link, or a file and a folder meet there "
            f"({error.strerror}): move away what is there"
        )


@contextmanager
def open_folder(root: Path) -> Iterator[LocalFolder]:
    """The directory, made when it is missing, to be filled by this process alone.

    Conflict while another process fills it. What a killed one left unfinished is removed.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(f"expected a directory at {root}, found: {error.strerror}") from error
    try:
        work, lock = _own_folder(root, descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _FULL:
            raise DiskFull(f"{root}: no space is left; make room and run it again") from error
        raise BadInput(
            f"expected to make {WORK} in {root}, found: {error.strerror}; move away what is there"
        ) from error
    try:
        yield LocalFolder(root, descriptor, work)
    finally:
        for each in (lock, work, descriptor):
            os.close(each)


def _own_folder(root: Path, descriptor: int) -> tuple[int, int]:
    """Descriptors of our folder and of its lock, which is held until it is closed."""
    with suppress(FileExistsError):
        os.mkdir(WORK, 0o700, dir_fd=descriptor)
    work = os.open(WORK, _FOLDER, dir_fd=descriptor)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(_LOCK, flags, 0o600, dir_fd=work)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        os.close(work)
        raise Conflict(f"{root} is being filled by another process; wait for it") from error
    with os.scandir(work) as entries:
        for entry in entries:
            if entry.name.startswith(_TEMPORARY):
                os.unlink(entry.name, dir_fd=work)
    return work, lock


def _hashed(name: str, folder: int, path: str) -> LocalFile:
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{ascii(path)[:200]} is there, but is no plain file: move it away")
        digest, size = sha256(), 0
        while piece := os.read(descriptor, min(_PIECE, status.st_size - size + 1)):
            digest.update(piece)
            size += len(piece)
    finally:
        os.close(descriptor)
    return LocalFile(size, digest.hexdigest())


def _walk(folder: int, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not prefix and entry.name == WORK:
                continue
            path = prefix + entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield path
                continue
            inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(inner, f"{path}/")
            finally:
                os.close(inner)
