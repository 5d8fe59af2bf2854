"""A component that reports events without pause: what must not be lost while we recover.

    python -m deployments.lab.writer

Environment: LAB_API_URL, LAB_API_TOKEN, LAB_WRITER_LOG (file of acknowledged records),
LAB_WRITER_RATE (records a second), LAB_SEED. Ends at SIGTERM, between two batches.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TextIO

import httpx

from deployments.lab.dataset import events
from deployments.lab.environment import require_loopback

_PERIOD = 0.1  # seconds between two batches
_PAUSE = 0.05  # before a refused batch is sent again
_ANSWER_SECONDS = 40.0  # longer than the API holds a request


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One record that the API confirmed: `at` is wall time in seconds since 1970."""

    seq: int
    leaf: str
    at: float


def acknowledged(log: Path) -> list[Acknowledged]:
    """Everything that the writer was told is written, in order; a torn last line is left out."""
    if not log.exists():
        return []
    whole, _, _ = log.read_text(encoding="ascii").rpartition("\n")
    return [
        Acknowledged(int(seq), leaf, float(at))
        for seq, leaf, at in (line.split() for line in whole.splitlines())
    ]


def longest_gap(records: Sequence[Acknowledged]) -> float:
    """Seconds of the longest silence between two acknowledgements: the outage as seen outside."""
    times = [record.at for record in records]
    return max((later - earlier for earlier, later in pairwise(times)), default=0)


def write(url: str, token: str, log: TextIO, rate: int, seed: int, stop: threading.Event) -> None:
    """Post `rate` records a second until `stop`; each batch again and again until it is taken."""
    source = events(seed, datetime.now(UTC))
    per_batch = max(1, round(rate * _PERIOD))
    due = time.monotonic()
    with httpx.Client(
        base_url=require_loopback(url),
        headers={"Authorization": f"Bearer {token}"},
        timeout=_ANSWER_SECONDS,
        trust_env=False,
    ) as client:
        while not stop.wait(max(0.0, due - time.monotonic())):
            # after an outage we go on at our pace: a burst would be a load of its own
            due = max(due, time.monotonic()) + _PERIOD
            receipts = _post(client, list(islice(source, per_batch)), stop)
            now = time.time()
            log.write("".join(f"{seq} {leaf} {now:.6f}\n" for seq, leaf in receipts))


def _post(
    client: httpx.Client, batch: list[dict[str, Any]], stop: threading.Event
) -> list[tuple[int, str]]:
    """(seq, leaf) of each event. Repeating is safe: the API knows events by their ids."""
    while True:
        try:
            answer = client.post("/api/v1/audit/records", json={"events": batch})
            if answer.status_code == httpx.codes.OK:
                return [(receipt["seq"], receipt["leaf"]) for receipt in answer.json()]
            if answer.status_code == httpx.codes.LOCKED:  # no releases now: all else goes on
                batch = [each for each in batch if each["event_type"] != "privacy_budget_update"]
                if not batch:
                    return []
                continue
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                answer.raise_for_status()  # our own mistake: repeating would not mend it
        except httpx.TransportError:
            pass  # the API is away; the records wait here
        if stop.wait(_PAUSE):
            return []


def main() -> None:
    """Write until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Path(os.environ["LAB_WRITER_LOG"]).open("a", buffering=1, encoding="ascii") as log:
        write(
            os.environ["LAB_API_URL"],
            os.environ["LAB_API_TOKEN"],
            log,
            int(os.environ["LAB_WRITER_RATE"]),
            int(os.environ["LAB_SEED"]),
            stop,
        )


if __name__ == "__main__":
    main()
