"""Files with a secret, readable by their owner alone: the note keys (C2SP) of our services."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tasks.domain.errors import BadInput
from tasks.domain.ledger import KeyType, NoteError, NoteSigner

_LIMIT = 4096


def read_signer(path: Path, kind: KeyType) -> NoteSigner:
    """The key in `path`, `PRIVATE+KEY+name+hash+base64`; BadInput, without the key, if unfit.

    Unfit is a file that others may read or write (of a link: what it leads to), anything but a
    plain file, and a key of another type.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_LIMIT)
    except OSError as error:
        raise BadInput(f"expected a key file at {path}, found: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
        raise BadInput(
            f"expected {path} to be a file that its owner alone can read: chmod 600 {path}"
        )
    try:
        signer = NoteSigner.parse(text.decode("utf-8").strip())
    except (NoteError, UnicodeDecodeError) as error:
        raise BadInput(f"expected a note key in {path}, found none") from error
    if signer.verifier.type is not kind:
        raise BadInput(
            f"expected a key of type {int(kind)} in {path}, found {int(signer.verifier.type)}: "
            "a log and a witness have keys of their own"
        )
    return signer


def make_signer(path: Path, name: str, kind: KeyType) -> NoteSigner:
    """A new key under `name`, written to the new file `path`; an existing file is left as it is."""
    signer = NoteSigner.generate(name, kind)
    with new_secret_file(path) as file:
        file.write(signer.encoded + "\n")
    return signer


@contextmanager
def new_secret_file(path: Path) -> Iterator[IO[str]]:
    """A new file that its owner alone can read, on disk at the end; none when the block fails.

    Raises BadInput when it cannot be made; an existing file is left as it is.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(f"expected to make the new file {path}, found: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise
