"""Clients of a database that is swapped away under them, in a process of their own.

    python -m tests.benchmarks.swap_clients

JSON on stdin: api (DSN of the writing role), reader (DSN), clients, origin, started (seconds since
1970 of the first event). Prints a line when everybody is connected; ends at the end of stdin and
prints JSON: gaps (the longest silence of each reader, in seconds), writer_gap, receipts, strange
(errors that no swap may show, and logs that became shorter).
"""

import json
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import psycopg

from deployments.lab.audit_appender import Appender, Unavailable
from deployments.lab.dataset import events

_PAUSE = 0.005
_ROWS_A_SECOND = 200
_EXPECTED = (
    *("not currently accepting connections", "terminating connection", "consumed", "closed"),
    "just been dropped or renamed",  # a session that was starting at the moment of the renames
)


@dataclass
class Reader:
    """Asks for the end of the log, again and again, and connects anew when it is thrown out."""

    dsn: str
    stop: threading.Event
    times: list[float] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    connected: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        size = 0
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.dsn, autocommit=True, connect_timeout=5) as connection:
                    while not self.stop.is_set():
                        row = connection.execute("SELECT max(seq) FROM audit_records").fetchone()
                        assert row is not None
                        if row[0] < size:
                            self.strange.append(f"{row[0]} after {size}")
                        size = row[0]
                        self.times.append(time.monotonic())
                        self.connected.set()
                        time.sleep(_PAUSE)
            except psycopg.Error as error:
                if not any(part in str(error) for part in _EXPECTED):
                    self.strange.append(str(error)[:200])
                time.sleep(_PAUSE)


@dataclass
class Writer:
    """The API's own appender, one record at a time."""

    appender: Appender
    start: datetime
    stop: threading.Event
    times: list[float] = field(default_factory=list)
    receipts: dict[int, str] = field(default_factory=dict)
    connected: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        due = time.monotonic()
        for event in events(99, self.start):
            if self.stop.is_set():
                return
            with suppress(Unavailable):
                for receipt in self.appender.append([event]):
                    self.receipts[receipt.seq] = receipt.leaf
                self.times.append(time.monotonic())
                self.connected.set()
            due = max(due + 1 / _ROWS_A_SECOND, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))


def longest_gap(times: list[float]) -> float:
    return max((b - a for a, b in pairwise(times)), default=0.0)


def main() -> None:
    job = json.loads(sys.stdin.readline())
    stop = threading.Event()
    readers = [Reader(job["reader"], stop) for _ in range(job["clients"])]
    appender = Appender(job["api"], job["origin"], hold_seconds=20)
    writer = Writer(appender, datetime.fromtimestamp(job["started"], UTC), stop)
    threads = [threading.Thread(target=each.run, daemon=True) for each in (*readers, writer)]
    for thread in threads:
        thread.start()
    for each in (*readers, writer):
        each.connected.wait(30)
    print("connected", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join(30)
    found = {
        "gaps": [longest_gap(reader.times) for reader in readers],
        "writer_gap": longest_gap(writer.times),
        "receipts": writer.receipts,
        "strange": [text for reader in readers for text in reader.strange],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
