"""Room for dumps and copies of the audit table: personal data in clear, on this host's disk.

    <temporary directory>/runbook-<uid>/<incident>/<one use>/

A process that is killed leaves its files behind. So all of them lie below one place that only we
may enter, each use holds a lock that ends with its process, and each new use first removes what
has no holder any more, of whichever incident.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.domain.errors import Refused
from tasks.domain.restore import incident_suffix

_PRIVATE = 0o700
_LOOK_SECONDS = 0.2


@contextmanager
def private_scratch(incident: str) -> Iterator[Path]:
    """An empty directory (mode 0700) for one use, removed at its end.

    Raises Refused when the place for it belongs to somebody else, who could read what we put
    there; set TMPDIR to another one then.
    """
    top = Path(tempfile.gettempdir()) / f"runbook-{os.getuid()}"
    _make_private(top)
    with locked(top):  # nobody sweeps between making a directory and holding it
        _sweep(top)
        home = top / incident_suffix(incident)
        _make_private(home)
        use = Path(tempfile.mkdtemp(dir=home))
        holding = os.open(use, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(holding, fcntl.LOCK_EX)
    try:
        yield use
    finally:
        shutil.rmtree(use, ignore_errors=True)
        os.close(holding)
        with locked(top), suppress(OSError):  # another use of the same incident goes on
            home.rmdir()


@contextmanager
def alone(name: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Nobody else of this user's on this host is inside with the same `name`.

    Others wait for `wait_seconds`, then Refused is raised. It ends with the process, however.
    """
    top = Path(tempfile.gettempdir()) / f"runbook-{os.getuid()}"
    _make_private(top)
    descriptor = os.open(top / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    until = time.monotonic() + wait_seconds
    try:
        while not _is_free(descriptor):
            if time.monotonic() >= until:
                raise Refused(f"expected no other {name} at work on this host, found one: wait")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_private(directory: Path) -> None:
    with suppress(FileExistsError):
        directory.mkdir(mode=_PRIVATE)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused(
            f"expected {directory} to be a directory of ours with mode 0700, found "
            f"{stat.filemode(found.st_mode)} of user {found.st_uid}: remove it, or set TMPDIR"
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Nobody else is inside with the same directory; others wait."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unheld(uses: Iterable[Path]) -> Iterator[Path]:
    """Each use whose process has ended; nobody else has it while the caller looks at it."""
    for use in uses:
        with suppress(OSError):  # its own end removes it at this moment, or it is in use
            descriptor = os.open(use, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield use
            finally:
                os.close(descriptor)


def _sweep(top: Path) -> None:
    """Remove each use whose process has ended."""
    for use in unheld(top.glob("*/*")):
        shutil.rmtree(use, ignore_errors=True)
    for home in top.iterdir():
        with suppress(OSError):  # not empty: in use
            home.rmdir()
