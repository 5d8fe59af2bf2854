"""Several looks at once, all of them over at one moment.

A look may stand still where no time-out of its own reaches: in a name server, in a database whose
process is frozen. So each has a thread that nobody waits for longer than the deadline; one that
stands still ends when its system does, and holds nothing meanwhile.
"""

import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from tasks.clients.errors import ClientError, Transient

Name = TypeVar("Name", bound=Hashable)
Found = TypeVar("Found")

THREADS = 8


class Late(Transient):
    """Our own deadline was over: the system may be slow, or we are; it has not failed."""


def at_once(
    looks: Mapping[Name, Callable[[], Found]], seconds: float, threads: int = THREADS
) -> dict[Name, Found | ClientError]:
    """What each look found, or why not; one that is not over in `seconds` is Late.

    In the order of `looks`; they begin in it too, `threads` at a time. An error that is no
    ClientError is raised here.
    """
    end = time.monotonic() + seconds
    waiting: queue.SimpleQueue[tuple[Name, Callable[[], Found]]] = queue.SimpleQueue()
    over: queue.SimpleQueue[tuple[Name, Found | BaseException]] = queue.SimpleQueue()
    for one in looks.items():
        waiting.put(one)
    for _ in range(min(threads, len(looks))):
        threading.Thread(target=_work, args=(waiting, over, end), daemon=True).start()
    found: dict[Name, Found | ClientError] = {}
    while len(found) < len(looks):
        try:
            name, what = over.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(what, BaseException) and not isinstance(what, ClientError):
            raise what
        found[name] = what
    late = Late(f"expected an answer within {seconds:g} s, found none")
    return {name: found.get(name, late) for name in looks}


def within(seconds: float, look: Callable[[], Found]) -> Found:
    """What one look finds; raises Late when it is not over in time."""
    found = at_once({"": look}, seconds)[""]
    if isinstance(found, ClientError):
        raise found
    return found


def _work(
    waiting: "queue.SimpleQueue[tuple[Name, Callable[[], Found]]]",
    over: "queue.SimpleQueue[tuple[Name, Found | BaseException]]",
    end: float,
) -> None:
    while time.monotonic() < end:
        try:
            name, look = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            over.put((name, look()))
        except BaseException as error:  # noqa: BLE001  the caller raises it
            over.put((name, error))
