"""Become another program that cannot outlive the one which started it.

Run as a script, without the packages of any environment:

    python -I -S launcher.py PARENT_PID UID|- SIGNAL REGISTRY COMMAND...

Why a wrapper and not `preexec_fn`: that runs Python in a forked copy of a process with threads,
which may dead-lock. The line in the registry is written before the program runs, so whoever finds
the file knows about every process that was ever started.
"""

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STARTED_FIELD = 19  # of /proc/PID/stat after the name: start time in clock ticks since boot


def start_ticks(pid: int) -> int | None:
    """When the process started, in ticks since boot; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[_STARTED_FIELD])


def boot_id() -> str:
    """Which boot the ticks belong to."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _become(parent: int, uid: str, signal_number: int, registry: str, command: list[str]) -> None:
    with Path(registry).open("a", encoding="ascii") as opened:
        opened.write(f"{os.getpid()} {start_ticks(os.getpid())} {boot_id()}\n")
    if uid != "-":
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    # after setuid: changing the user clears the setting
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        sys.exit("expected prctl(PR_SET_PDEATHSIG) to work, found an error")
    if os.getppid() != parent:  # it died before we could ask for the signal
        sys.exit("the process that started this one is gone")
    os.execv(command[0], command)  # noqa: S606  no shell is the point


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
