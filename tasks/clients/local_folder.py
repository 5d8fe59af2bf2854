"""A local directory that is filled from outside: nothing written or read here leaves it.

Every path is walked part by part from one descriptor of the root (openat, O_NOFOLLOW), so that a
symbolic link that somebody planted in the directory ends in an error and not outside. Files get
their names by a rename once they are whole. What is not done lies in `.unfinished-recovery/`. What
is made here may be read by its owner alone: a log may hold personal data.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tasks.clients.errors import Conflict
from tasks.clients.local_errors import local_errors, translated
from tasks.clients.own_folder import WORK, OwnFolder, own_folder
from tasks.domain.errors import BadInput
from tasks.domain.local_paths import MAX_PARTS, parts_of

_PIECE = 1024 * 1024
_ASIDE_BYTES = 200
_SHOWN = 200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
        while left:
            written = os.write(self._descriptor, left)
            self.size += written
            left = left[written:]

    @property
    def content(self) -> LocalFile:
        """What was written."""
        return LocalFile(self.size, self._digest.hexdigest())


class LocalFolder:
    """The directory `root`, made when it is not there. Safe to use from several threads.

    Made by `open_folder`: one process at a time.
    """

    def __init__(self, root: Path, descriptor: int, own: OwnFolder) -> None:
        self.root = root
        self.own = own
        self._root = descriptor

    @contextmanager
    def new_file(self) -> Iterator[Unfinished]:
        """A file to be written and then given to `put`; gone when that does not happen."""
        name = ""
        try:
            name, descriptor = self.own.new()
            try:
                yield Unfinished(name, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise translated(error, self.root, "a file in it") from error
        finally:
            if name:
                self.own.forget(name)

    def put(self, file: Unfinished, path: str) -> None:
        """Give the file its path, in place of what is there. Within `new_file`."""
        *folders, name = parts_of(path)
        with self._at(path), self._folder(folders, create=True) as folder:
            os.rename(file.name, name, src_dir_fd=self.own.descriptor, dst_dir_fd=folder)

    def look(self, path: str) -> LocalFile | None:
        """Hash the file at the path; None when nothing is there. BadInput when it is no file."""
        *folders, name = parts_of(path)
        try:
            with self._folder(folders, create=False) as folder:
                return _hashed(name, folder, path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translated(error, self.root, ascii(path)[:_SHOWN]) from error

    def set_aside(self, path: str, mark: str, content: LocalFile) -> str:
        """Rename the file at `path`, which has this content, to one beside it ending in `mark`.

        Gives the new path; Conflict when something else has that already.
        """
        *folders, name = parts_of(path)
        aside = f"{name.encode()[:_ASIDE_BYTES].decode(errors='ignore')}.{mark}"
        with self._at(path), self._folder(folders, create=False) as folder:
            with suppress(FileNotFoundError):
                if _hashed(aside, folder, aside) != content:
                    raise Conflict(f"{path}: {aside} is there already; move one of them away")
            os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        return "/".join([*folders, aside])

    def walk(self) -> Iterator[str]:
        """Every path below the root but ours, files and whatever else, following no link.

        A folder that cannot be looked into is given itself, with a slash at its end.
        """
        yield from _walk(self._root, "", 1)

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
                        os.mkdir(part, 0o700, dir_fd=inner)
                    inner = os.open(part, _FOLDER, dir_fd=inner)
                opened.append(inner)
            yield inner
        finally:
            for descriptor in opened:
                os.close(descriptor)

    @contextmanager
    def _at(self, path: str) -> Iterator[None]:
        with local_errors(self.root, ascii(path)[:_SHOWN]):
            yield


@contextmanager
def open_folder(root: Path, *, fill: bool = True) -> Iterator[LocalFolder]:
    """The directory, made when it is missing, to be filled by this process alone.

    Conflict while another process fills it. Without `fill` it must be there, is only looked at, and
    nothing in it is made or removed.
    """
    try:
        if fill:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(f"expected a directory at {root}, found: {error.strerror}") from error
    try:
        with own_folder(root, descriptor, fill=fill) as own:
            yield LocalFolder(root, descriptor, own)
    finally:
        os.close(descriptor)


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


def _walk(folder: int, prefix: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not prefix and entry.name == WORK:
                    continue
                path = prefix + entry.name
                if not entry.is_dir(follow_symlinks=False):
                    yield path
                elif depth == MAX_PARTS:  # nothing of ours lies deeper
                    yield f"{path}/"
                else:
                    yield from _inside(entry.name, folder, f"{path}/", depth + 1)
    except OSError:
        yield prefix or "./"


def _inside(name: str, folder: int, path: str, depth: int) -> Iterator[str]:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError:  # we may not, or it is gone
        yield path
        return
    try:
        yield from _walk(inner, path, depth)
    finally:
        os.close(inner)
