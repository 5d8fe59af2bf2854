"""Where tests keep their files: in memory, where it has room for them.

A run makes and removes some hundred thousand files: each restored lab is a database copied anew.
ext4 keeps a removed file's inode from the next one for a while and goes past all such inodes when
it makes a file, so that a copy that takes 0.06 s in memory takes 0.45 s there.

Benchmarks stay on the disk: they measure it.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 8 << 30  # a run was seen to take one
_LABS, _TEMPORARY = "RLHF_LAB_AREA", "TMPDIR"


def choose() -> Path | None:
    """The room in memory, made, for this process and its children; None: the places as they are.

    They are as they are in xdist's workers, which are such children, and where RLHF_LAB_AREA
    names a directory, whose files are there to be looked at afterwards.
    """
    if not os.environ.keys().isdisjoint({"RUNBOOK_BENCH", _LABS}) or not _fits():
        return None
    _sweep()
    room = _MEMORY / f"rt-{os.getpid()}"
    room.mkdir(mode=0o711)
    room.chmod(0o711)  # servers that run as nobody pass through
    os.environ |= {_LABS: str(room), _TEMPORARY: str(room)}
    tempfile.tempdir = None  # what was chosen before is forgotten
    return room


def leave(room: Path) -> None:
    """Give the memory back."""
    shutil.rmtree(room, ignore_errors=True)


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
    """Rooms of runs that were killed."""
    for room in _MEMORY.glob("rt-*"):
        owner = room.name.rpartition("-")[2]
        if owner.isdecimal() and not Path("/proc", owner).exists() and _is_ours(room):
            leave(room)


def _is_ours(room: Path) -> bool:
    found = room.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
