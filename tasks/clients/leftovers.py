"""Processes that a killed owner left behind: found by what it wrote down or where they work."""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tasks.clients.launcher import boot_id, start_ticks

_LINE_FIELDS = 3  # process number, start time, boot; a torn last line is shorter


def registered(registry: Path) -> set[int]:
    """Living processes of a registry that `launcher.py` wrote.

    Numbers are used again, so a line counts only when its start time is the process's.
    """
    if not registry.exists():
        return set()
    boot = boot_id()
    found = set()
    for line in registry.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if len(fields) == _LINE_FIELDS and fields[2] == boot:
            pid = int(fields[0])
            if start_ticks(pid) == int(fields[1]) and runs(pid):
                found.add(pid)
    return found


def at_work_in(directory: Path) -> set[int]:
    """Processes whose working directory is `directory` or below it: a server's whole family."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it ended, or is not ours to look at
                if (entry / "cwd").readlink().is_relative_to(directory):
                    found.add(int(entry.name))
    return found


def runs(pid: int) -> bool:
    """Whether it is there and not just a zombie that waits for its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}


def end(pids: Iterable[int], seconds: float) -> list[int]:
    """SIGKILL to each; those that still run after `seconds`."""
    found = list(pids)
    for pid in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + seconds
    while (alive := [pid for pid in found if runs(pid)]) and time.monotonic() < until:
        time.sleep(0.01)
    return alive
