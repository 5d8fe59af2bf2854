"""The cluster's time: stands still until it is moved, or follows the real one."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Timers of the simulated cluster; all of them run with the cluster's lock held.

    Standing still it serves tests (`advance`), running it serves the lab. It begins still.
    """

    def __init__(self, lock: threading.RLock, at: datetime) -> None:
        self._changed = threading.Condition(lock)
        self._at = at.timestamp()
        self._anchor: float | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._thread: threading.Thread | None = None
        self._ended = False

    def seconds(self) -> float:
        """Since 1970."""
        if self._anchor is None:
            return self._at
        return self._at + time.monotonic() - self._anchor

    def now(self) -> datetime:
        """In UTC."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def stamp(self) -> str:
        """As the API writes times: whole seconds, Z."""
        return stamp(self.seconds())

    def at(self, due: float, act: Callable[[], None]) -> None:
        """Do it at a time (seconds since 1970)."""
        with self._changed:
            heapq.heappush(self._timers, (due, next(self._number), act))
            self._changed.notify_all()

    def advance(self, seconds: float) -> None:
        """Move on; what falls due meanwhile happens in its order and at its time."""
        with self._changed:
            if self._anchor is not None:
                self._at += seconds
                self._run_due()
                return
            target = self._at + seconds
            while self._timers and self._timers[0][0] <= target:
                due, _, act = heapq.heappop(self._timers)
                self._at = max(self._at, due)
                act()
            self._at = target

    def start(self) -> None:
        """From now on follow the real time."""
        with self._changed:
            self._anchor = time.monotonic()
        self._thread = threading.Thread(target=self._follow, name="cluster-clock", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Run nothing any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        with self._changed:
            while not self._ended:
                self._run_due()
                pause = self._timers[0][0] - self.seconds() if self._timers else None
                self._changed.wait(None if pause is None else max(pause, 0.001))

    def _run_due(self) -> None:
        while self._timers and self._timers[0][0] <= self.seconds():
            heapq.heappop(self._timers)[2]()


def stamp(seconds: float) -> str:
    """A time as the API writes it: whole seconds, Z."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float:
    """Of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()
