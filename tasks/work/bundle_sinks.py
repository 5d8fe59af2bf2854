"""Where a bundle is written: a new directory or zip file, complete or not there at all.

The same files give the same bytes: a zip has no times, no packing (whose result differs between
zlib versions) and the order of writing. Only its owner can read it until they hand it on.
"""

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from tasks.domain.errors import BadInput
from tasks.domain.ledger.bundle_files import MANIFEST, MAX_FILES, manifest_text

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can name."""
_PRIVATE = 0o600


class _Place(Protocol):
    def put(self, path: str, data: bytes) -> None: ...


class BundleSink:
    """Takes files, remembers their SHA-256, and ends with the manifest."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._digests: dict[str, str] = {}

    @property
    def count(self) -> int:
        """Files taken so far, the manifest not among them."""
        return len(self._digests)

    def add(self, path: str, data: bytes) -> None:
        """Write one file, once. BadInput when there are more than a verifier reads."""
        if path in self._digests:
            raise ValueError(f"the bundle has {path} already")
        if self.count >= MAX_FILES - 1:
            raise BadInput(
                f"expected at most {MAX_FILES} files in a bundle: the log is too long for all leaf"
                " hashes; make it without --full, with --records"
            )
        self._place.put(path, data)
        self._digests[path] = sha256(data).hexdigest()

    def finish(self) -> None:
        """Write the manifest."""
        self._place.put(MANIFEST, manifest_text(self._digests).encode())


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, path: str, data: bytes) -> None:
        file = self._root / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(data)


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def put(self, path: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(path, _LONG_AGO)
        entry.create_system = 3  # Unix, wherever it is made
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, data, zipfile.ZIP_STORED)


def write_bundle(
    target: Path, fill: Callable[[BundleSink], None], check: Callable[[Path], None]
) -> int:
    """Write what `fill` adds, `check` it where it lies, then put it to `target`; how many files.

    A zip when the name ends in .zip, else a directory. BadInput when there is something already.
    What `fill` and `check` raise leaves nothing behind.
    """
    if target.exists() or target.is_symlink():
        raise BadInput(f"expected a place where nothing is yet, {target} exists")
    unfinished = target.with_name(f".unfinished-{token_hex(8)}")
    try:
        with _sink(unfinished, zipped=target.suffix.lower() == ".zip") as sink:
            fill(sink)
            sink.finish()
        check(unfinished)
        unfinished.rename(target)
    except zipfile.LargeZipFile as error:
        raise BadInput("the bundle exceeds the 4 GiB of a zip: make a directory") from error
    except OSError as error:
        raise BadInput(f"cannot write the bundle {target}: {error.strerror}") from error
    finally:
        _remove(unfinished)
    return sink.count + 1


@contextmanager
def _sink(path: Path, *, zipped: bool) -> Iterator[BundleSink]:
    if not zipped:
        path.mkdir(mode=0o700)
        yield BundleSink(_Folder(path))
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with (
        os.fdopen(descriptor, "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive,
    ):
        yield BundleSink(_Zip(archive))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
