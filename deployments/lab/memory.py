"""How much memory a set of processes takes, shared pages counted once."""

import contextlib
from collections.abc import Iterable
from pathlib import Path


def memory_of(pids: Iterable[int]) -> int:
    """Proportional set size, in bytes, of the processes and all their descendants.

    Resident size would count PostgreSQL's shared buffers once for every connection.
    """
    return sum(_proportional(pid) for pid in family(set(pids)))


def family(pids: set[int]) -> set[int]:
    """The processes and all that descend from them, now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = set(pids), list(pids)
    while waiting:
        more = [child for child in children.get(waiting.pop(), []) if child not in found]
        found.update(more)
        waiting.extend(more)
    return found


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
