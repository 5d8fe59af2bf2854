"""Errors of the local disk, as ours: what was found, and what to do next."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.clients.errors import Denied
from tasks.domain.errors import BadInput, RunbookError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_IN_THE_WAY = frozenset(
    {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO}
)


class DiskFull(RunbookError):
    """No room is left; what has its name already is whole, and the rest can be fetched later."""


def translated(error: OSError, root: Path, what: str) -> RunbookError:
    """What an error of the system means for `what` below the directory `root`."""
    if error.errno in _FULL:
        return DiskFull(f"{root}: no space is left; make room and run it again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(f"{root}: no permission to write or read {what}")
    if error.errno in _IN_THE_WAY:
        return BadInput(
            f"{root}: {what} leads over a link, or a file and a folder meet there "
            f"({error.strerror}): move away what is there"
        )
    return BadInput(f"{root}: {what} cannot be read or written ({error.strerror}): see to the disk")


@contextmanager
def local_errors(root: Path, what: str) -> Iterator[None]:
    """Translates what the system says inside, but for a file that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise translated(error, root, what) from error
