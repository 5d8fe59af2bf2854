"""Room for private PostgreSQL instances: what `scratch` is for files, passable for the server.

    <temporary directory>/runbook-pg-<uid>/<name>-<random>/

PostgreSQL refuses root, so root's instances run as another user, who must get to their files: the
top is closed to listing, and each place opens to that user's group alone. Each use holds a lock
that ends with its process; each new use first ends and removes what has no holder any more.
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.clients.instance_limits import RESERVE_BYTES
from tasks.clients.leftovers import at_work_in, end
from tasks.clients.server_user import server_uid
from tasks.domain.errors import Refused
from tasks.work.scratch import locked, unheld

_NAME_LIMIT = 16  # a socket's path has 108 bytes in all
_GONE_SECONDS = 10.0


@contextmanager
def instance_place(name: str, *, disk_bytes: int = 1024**3) -> Iterator[Path]:
    """An empty directory for instances of one use, removed at its end.

    `disk_bytes`: what they will need; Refused when the disk has less, so that nothing begins that
    cannot end. `name` is any text, for people who look there.
    """
    top = _top()
    with locked(top):  # nobody sweeps between making a directory and holding it
        _sweep(top)
        _require_room(top, disk_bytes)
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_NAME_LIMIT].strip("-") or "instance"
        place = Path(tempfile.mkdtemp(prefix=f"{plain}-", dir=top))
        holding = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(holding, fcntl.LOCK_EX)
        place.chmod(0o710)
        if (uid := server_uid()) is not None:
            os.chown(place, -1, uid)
    try:
        yield place
    finally:
        end(at_work_in(place), _GONE_SECONDS)
        shutil.rmtree(place, ignore_errors=True)
        os.close(holding)


def _top() -> Path:
    """The one directory of all places, made or checked: the temporary one is everybody's."""
    temporary = Path(tempfile.gettempdir()).resolve()
    top = temporary / f"runbook-pg-{os.getuid()}"
    with suppress(FileExistsError):
        top.mkdir(mode=0o711)
    found = top.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Refused(
            f"expected {top} to be a directory of ours, found {stat.filemode(found.st_mode)} of "
            f"user {found.st_uid}: remove it, or set TMPDIR"
        )
    top.chmod(0o711)
    if server_uid() is not None:
        closed = [each for each in top.parents if not each.stat().st_mode & 0o001]
        if closed:
            raise Refused(
                f"expected every user to be able to pass {closed[-1]}, because PostgreSQL refuses "
                "to run as root, found it closed: set TMPDIR to an open place, or be another user"
            )
    return top


def _sweep(top: Path) -> None:
    """End and remove each use whose process has ended."""
    for place in unheld(top.iterdir()):
        end(at_work_in(place), _GONE_SECONDS)
        shutil.rmtree(place, ignore_errors=True)


def _require_room(top: Path, needed: int) -> None:
    free = shutil.disk_usage(top).free
    if free < needed + RESERVE_BYTES:
        raise Refused(
            f"expected {needed + RESERVE_BYTES} free bytes in {top.parent} for a private "
            f"PostgreSQL, found {free}: make room or set TMPDIR to a larger place"
        )
