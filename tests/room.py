"""Where tests keep their files: in memory, where it has room for them.

A run makes and removes some hundred thousand files: each restored lab is a database copied anew.
ext4 keeps a removed file's inode from the next one for a while and goes past all such inodes when
it makes a file, so that a copy that takes 0.06 s in memory takes 0.45 s there.

Benchmarks stay on the disk: they measure it.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 8 << 30  # a run was seen to take one
_LABS, _TEMPORARY = "RLHF_LAB_AREA", "TMPDIR"
_PREFIX = "rt-"  # a path to a socket is short


@dataclass(frozen=True, slots=True)
class Room:
    """A directory in memory, locked for as long as its run lives."""

    path: Path
    lock: int

    def leave(self) -> None:
        """Give the memory back."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def choose() -> Room | None:
    """The room in memory, made, for this process and its children; None: the places as they are.

    They are as they are in xdist's workers, which are such children, and where RLHF_LAB_AREA
    names a directory, whose files are there to be looked at afterwards.
    """
    if not os.environ.keys().isdisjoint({"RUNBOOK_BENCH", _LABS}) or not _fits():
        return None
    _sweep()
    unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=_MEMORY))  # no sweep sees it yet
    unlocked.chmod(0o711)  # servers that run as nobody pass through
    lock = _locked(unlocked)
    assert lock is not None
    room = Room(unlocked.rename(unlocked.with_name(unlocked.name[1:])), lock)
    os.environ |= {_LABS: str(room.path), _TEMPORARY: str(room.path)}
    tempfile.tempdir = None  # what was chosen before is forgotten
    return room


def open_place() -> Path:
    """A directory that servers of another user can reach, its path short enough for a socket."""
    return Path(os.environ.get(_LABS, "/var/tmp"))


def _fits() -> bool:
    try:
        found = os.statvfs(_MEMORY)
        known = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return False
    available = int(known.partition("MemAvailable:")[2].split()[0]) << 10
    programs_run = not found.f_flag & os.ST_NOEXEC
    return programs_run and min(found.f_bavail * found.f_frsize, available) > _NEEDED_BYTES


def _sweep() -> None:
    """Remove the rooms of runs that were killed: their locks went with them."""
    for path in _MEMORY.glob(f"{_PREFIX}*"):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            continue
        lock = _locked(path)
        if lock is not None:
            Room(path, lock).leave()


def _locked(path: Path) -> int | None:
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
