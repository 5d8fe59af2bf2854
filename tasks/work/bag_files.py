"""Where a bag of evidence lies when it is verified: a directory, or the store that has it sealed.

Names come from outside and may be anything; nothing is followed out of the bag.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tasks.clients.errors import NotFound
from tasks.clients.local_errors import local_errors
from tasks.domain.bagit import checked_path

if TYPE_CHECKING:
    from tasks.clients.object_store import ObjectStore  # half a second: not for a directory

_PIECE = 1024 * 1024
_WHOLE = 1 << 50


class BagFiles(Protocol):
    """What a verifier needs of the place."""

    def names(self) -> list[str]:
        """Every file, relative to the bag, with slashes; a link is a file that cannot be read."""

    def pieces(self, name: str) -> Iterator[bytes]:
        """A file's bytes. Raises NotFound without it."""


class DirectoryBag:
    """A bag that was copied to a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def names(self) -> list[str]:
        """Links are not followed: what they lead to is not in the bag."""
        found = []
        with local_errors(self._root, "the bag"):
            for folder, folders, files in os.walk(self._root):
                place = Path(folder)
                links = [each for each in folders if (place / each).is_symlink()]
                found += [(place / each).relative_to(self._root) for each in [*files, *links]]
        return sorted(each.as_posix() for each in found)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Of a regular file alone."""
        path = self._root / checked_path(name)
        inside = [path, *path.parents][: len(path.relative_to(self._root).parts)]
        if any(each.is_symlink() for each in inside) or not path.is_file():
            raise NotFound(f"expected the file {name!a} in {self}, found none")
        with local_errors(self._root, ascii(name)), path.open("rb") as file:
            while data := file.read(_PIECE):
                yield data


class StoredBag:
    """A bag in an object store; `prefix` ends with a slash."""

    def __init__(self, store: "ObjectStore", bucket: str, prefix: str) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def names(self) -> list[str]:
        """Every key below the prefix."""
        listed = self._store.list(self._bucket, self._prefix)
        return [each.key.removeprefix(self._prefix) for each in listed]

    def pieces(self, name: str) -> Iterator[bytes]:
        """The object as it is now: of a version that was put over it the digest is another."""
        return self._store.get_pieces(self._bucket, self._prefix + checked_path(name), _WHOLE)
