"""Ending what a lab left running, and removing what it left lying about."""

import contextlib
import os
import signal
import time
from pathlib import Path

from deployments.lab.child import boot_id, start_ticks
from deployments.lab.errors import LabError

MARK = "LAB_STATE"
"""Environment variable that every descendant of a lab carries: its state directory."""

REGISTRY, LITTER = "processes", "litter"
"""Files of a state directory: processes that were started, sockets outside of it."""

_GONE_SECONDS = 5.0


def sweep(state: Path) -> int:
    """Kill what a lab in `state` left running and remove what it left lying about.

    Returns how many processes there were.

    Two ways to know them: a line of the registry whose start time is that of the process (process
    numbers are used again), and the mark in the environment (grandchildren).
    """
    registry = state / REGISTRY
    found = _registered(registry) | _marked(state)
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + _GONE_SECONDS
    while (found_alive := [pid for pid in found if _runs(pid)]) and time.monotonic() < until:
        time.sleep(0.01)
    if found_alive:
        raise LabError(f"expected the leftovers of an earlier lab to die, found {found_alive}")
    registry.unlink(missing_ok=True)
    _remove_litter(state / LITTER)
    return len(found)


def _remove_litter(listed: Path) -> None:
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if Path(line).is_socket():
                Path(line).unlink(missing_ok=True)
        listed.unlink()


def _registered(registry: Path) -> set[int]:
    if not registry.exists():
        return set()
    boot = boot_id()
    found = set()
    for line in registry.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] == boot:  # noqa: PLR2004  a torn last line is shorter
            pid = int(fields[0])
            if start_ticks(pid) == int(fields[1]) and _runs(pid):
                found.add(pid)
    return found


def _marked(state: Path) -> set[int]:
    wanted = f"{MARK}={state}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def _runs(pid: int) -> bool:
    """Whether it is there and not just a zombie that waits for its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}
