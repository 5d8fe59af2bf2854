"""Ending what a lab left running, and removing what it left lying about."""

import contextlib
import os
from pathlib import Path

from deployments.lab.errors import LabError
from deployments.lab.small_disk import unmount_below
from tasks.clients.leftovers import end, registered

MARK = "LAB_STATE"
"""Environment variable that every descendant of a lab carries: its state directory."""

REGISTRY, LITTER = "processes", "litter"
"""Files of a state directory: processes that were started, sockets outside of it."""

_GONE_SECONDS = 5.0


def sweep(state: Path) -> int:
    """Kill what a lab in `state` left running and remove what it left lying about or mounted.

    Returns how many processes there were.

    Two ways to know them: a line of the registry whose start time is that of the process (process
    numbers are used again), and the mark in the environment (grandchildren).
    """
    registry = state / REGISTRY
    found = registered(registry) | _marked(state)
    if found_alive := end(found, _GONE_SECONDS):
        raise LabError(f"expected the leftovers of an earlier lab to die, found {found_alive}")
    registry.unlink(missing_ok=True)
    _remove_litter(state / LITTER)
    unmount_below(state)
    return len(found)


def _remove_litter(listed: Path) -> None:
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if Path(line).is_socket():
                Path(line).unlink(missing_ok=True)
        listed.unlink()


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
