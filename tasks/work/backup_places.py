"""Where backups may lie: the object store, a directory of this host, a directory of a pod.

All three answer the same questions. Names are those below the place, and hostile everywhere.
"""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tasks.clients.errors import Denied, Malformed, NotFound
from tasks.clients.object_store import ObjectStore
from tasks.clients.pod_exec import Pod
from tasks.clients.pod_files import PodFiles
from tasks.domain.backup_listing import Listed, file_time
from tasks.domain.backups import Place, key_within
from tasks.domain.errors import BadInput
from tasks.sections.systems import KubernetesSettings

_MOST = 100_000
_DEPTH = 4
_CHUNK = 1024 * 1024


class BackupPlace(ABC):
    """A place. A name below it, after `prefix`, is a backup's key; `root` is what `Backup` has.

    `parallel`: how many questions it may be asked at once.
    """

    place: Place
    root: str
    prefix: str = ""
    parallel: int = 4

    @abstractmethod
    def listed(self) -> list[Listed]:
        """Every file. Raises ClientError when it cannot be listed."""

    @abstractmethod
    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a file that is not empty."""

    @abstractmethod
    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        """The whole file, as one and the same; what is beyond `limit` bytes need not come."""


class StorePlace(BackupPlace):
    """Objects of a bucket below a prefix."""

    place = Place.STORE
    parallel = 12

    def __init__(self, store: ObjectStore, bucket: str, prefix: str) -> None:
        self._store = store
        self.root = bucket
        self.prefix = prefix

    def listed(self) -> list[Listed]:
        """Objects below the prefix, at most 100,000."""
        return [
            Listed(each.key.removeprefix(self.prefix), each.size, each.modified)
            for each in self._store.list(self.root, self.prefix, _MOST)
        ]

    def head(self, name: str, size: int) -> bytes:
        """By a range read."""
        return self._store.get_head(self.root, self.prefix + name, size)

    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        """In pieces of one version; Conflict when it is replaced meanwhile."""
        return self._store.get_pieces(self.root, self.prefix + name, limit)


class DirectoryPlace(BackupPlace):
    """Regular files of a directory, at most four directories deep; links are not followed."""

    place = Place.DIRECTORY

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.root = str(directory)

    def listed(self) -> list[Listed]:
        """Regular files; a name is what lies below the directory."""
        if not self._directory.is_dir():
            raise NotFound(f"expected a directory of backups, found none at {self.root}")
        found: list[Listed] = []
        for path, seen in _regular_files(self._directory):
            name = str(path.relative_to(self._directory))
            found.append(Listed(name, seen.st_size, file_time(seen.st_mtime)))
            if len(found) > _MOST:
                raise Malformed(f"{self.root}: expected at most {_MOST} files; name a narrower one")
        return found

    def head(self, name: str, size: int) -> bytes:
        """From the file, opened without following links."""
        with self._opened(name) as file:
            return file.read(size)

    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        """From one opened file, so a rename meanwhile changes nothing."""
        with self._opened(name) as file:
            while (piece := file.read(_CHUNK)) and (limit := limit - len(piece)) >= -_CHUNK:
                yield piece

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        path = self._directory / key_within("", name)
        try:
            if not path.parent.resolve().is_relative_to(self._directory.resolve()):
                raise BadInput(f"{name}: points out of {self.root}")
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise BadInput(f"{path}: expected a regular file, found another thing")
                yield file
        except FileNotFoundError as error:
            raise NotFound(f"{path}: gone meanwhile") from error
        except PermissionError as error:
            raise Denied(f"{path}: this program's user may not read it") from error
        except OSError as error:
            raise Malformed(f"{path}: cannot be read: {error.strerror}") from error


class PodPlace(BackupPlace):
    """Files of a directory in a pod, by exec."""

    place = Place.POD

    def __init__(self, cluster: KubernetesSettings, pod: Pod, directory: str) -> None:
        self._files = PodFiles(cluster, pod, directory)
        self.root = str(self._files)

    def listed(self) -> list[Listed]:
        """By `find` in the pod."""
        return [Listed(each.name, each.size, each.modified) for each in self._files.listed()]

    def head(self, name: str, size: int) -> bytes:
        """By `head` in the pod."""
        return self._files.head(name, size)

    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        """By `cat` in the pod; Malformed beyond `limit`."""
        return self._files.pieces(name, limit)


def _regular_files(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for place, below, names in os.walk(top):
        here = Path(place)
        if len(here.relative_to(top).parts) >= _DEPTH - 1:
            below.clear()
        for name in names:
            with suppress(OSError):  # removed meanwhile, or of a directory that we may not enter
                seen = (here / name).lstat()
                if stat.S_ISREG(seen.st_mode):
                    yield here / name, seen
