"""The folder that we keep in a directory which we fill: unfinished files, our state, the lock.

Whoever only looks makes nothing: then it may be missing, and its files are opened for reading.
"""

import fcntl
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import count
from pathlib import Path

from tasks.clients.errors import Conflict
from tasks.clients.local_errors import DiskFull, local_errors, translated
from tasks.domain.errors import BadInput
from tasks.domain.local_paths import OWN_PREFIX

WORK = f"{OWN_PREFIX}recovery"
"""Its name."""

_TEMPORARY = "part-"
_LOCK = "lock"
_PROBE = f"{_TEMPORARY}Name-\u00e9"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STATE = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCKED = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnFolder:
    """Made by `own_folder`, locked. `is_filled`: False for somebody who only looks."""

    def __init__(self, root: Path, descriptor: int | None, *, is_filled: bool) -> None:
        self.root = root
        self.is_filled = is_filled
        self._descriptor = descriptor
        self._numbers = count()

    @property
    def descriptor(self) -> int:
        """Of the folder, of somebody who fills it."""
        if self._descriptor is None or not self.is_filled:
            raise RuntimeError(f"{self.root} is only looked at")
        return self._descriptor

    def new(self) -> tuple[str, int]:
        """(name, descriptor) of a file to write; others may not read it: records are private."""
        name = f"{_TEMPORARY}{next(self._numbers)}"
        return name, os.open(name, _NEW, 0o600, dir_fd=self.descriptor)

    def forget(self, name: str) -> None:
        """Remove a file of ours."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def open_state(self, name: str) -> FileIO | None:
        """A file for reading and appending; to look only for reading, None when there is none."""
        with local_errors(self.root, name):
            if self.is_filled:
                opened = os.open(name, _STATE, 0o600, dir_fd=self.descriptor)
                return os.fdopen(opened, "a+b", buffering=0)
            if self._descriptor is None:
                return None
            try:
                return os.fdopen(os.open(name, _LOOK, dir_fd=self._descriptor), "rb", buffering=0)
            except FileNotFoundError:
                return None

    def write_state(self, file: FileIO, data: bytes) -> None:
        """Append all of it; DiskFull when there is no room: then nothing of it stays there."""
        end = file.seek(0, os.SEEK_END)
        left = memoryview(data)
        try:
            with local_errors(self.root, "our state"):
                while left:  # a disk that fills up takes a part, and says so only the next time
                    left = left[file.write(left) :]
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise

    def replace_state(self, name: str, new: str) -> None:
        """Rename a file of ours."""
        with local_errors(self.root, name):
            os.rename(new, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def folds_names(self) -> bool:
        """Whether the file system takes names for one that differ by case or Unicode form.

        Found by trying, so False for somebody who only looks.
        """
        if not self.is_filled:
            return False
        with local_errors(self.root, "a file in it"):
            os.close(os.open(_PROBE, _NEW, 0o600, dir_fd=self.descriptor))
            try:
                others = (_PROBE.swapcase(), unicodedata.normalize("NFD", _PROBE))
                return any(self._is_there(each) for each in others)
            finally:
                self.forget(_PROBE)

    def _is_there(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return False
        return True


@contextmanager
def own_folder(root: Path, descriptor: int, *, fill: bool) -> Iterator[OwnFolder]:
    """Ours in `root`, of which `descriptor` is one; what a killed process left is removed.

    Conflict while another process fills the directory; BadInput where something stands in the way.
    """
    opened: list[int] = []
    try:
        try:
            work = _entered(root, descriptor, opened, fill=fill)
        except OSError as error:
            failed = translated(error, root, WORK)
            if isinstance(failed, DiskFull):
                raise failed from error
            raise BadInput(
                f"expected to make {WORK} in {root}, found: {error.strerror}; move away what is "
                "there"
            ) from error
        yield OwnFolder(root, work, is_filled=fill)
    finally:
        for each in reversed(opened):
            os.close(each)


def _entered(root: Path, descriptor: int, opened: list[int], *, fill: bool) -> int | None:
    if fill:
        with suppress(FileExistsError):
            os.mkdir(WORK, 0o700, dir_fd=descriptor)
    work = _opened(WORK, _FOLDER, descriptor, opened, needed=fill)
    if work is None:
        return None
    lock = _opened(_LOCK, _LOCKED if fill else _LOOK, work, opened, needed=fill)
    if lock is not None:
        _take(lock, root)
    if fill:
        _tidy(work)
    return work


def _opened(name: str, flags: int, folder: int, opened: list[int], *, needed: bool) -> int | None:
    try:
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    except FileNotFoundError:
        if needed:
            raise
        return None
    opened.append(descriptor)
    return descriptor


def _take(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(f"{root} is being filled by another process; wait for it") from error


def _tidy(work: int) -> None:
    with os.scandir(work) as entries:
        for entry in entries:
            if entry.name.startswith(_TEMPORARY):
                os.unlink(entry.name, dir_fd=work)
