"""Group commit: one thread stores what many requests have brought, and answers them together.

While one transaction is on its way to the disk, the next notifications gather; so the more come,
the more of them share a commit. Nobody is answered before it. A request whose sender has gone
away meanwhile is stored all the same. With a spool, what PostgreSQL cannot take is added to that.
"""

import asyncio
import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployments.gateway.spool import Spool, SpoolFull
from deployments.gateway.spool_drain import Drain
from deployments.gateway.spool_records import Record
from tasks.clients.errors import Transient
from tasks.work.intake import Received, Taken

log = logging.getLogger("gateway.intake")

BATCH = 256
_BATCH_BYTES = 4 * 1024 * 1024
WAITING = 4096
WAITING_BYTES = 64 * 1024 * 1024
_ANSWER_SECONDS = 60.0  # a sender hears 503 after it; what it sent may be stored yet

Take = Callable[[Sequence[Received]], Sequence[Taken]]
"""Takes a batch durably; raises Transient when nothing of it is known to be stored."""


class Overloaded(Exception):
    """More waits than may, or this is stopping; the notification was not taken."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """On our own disk, and in PostgreSQL as soon as that is there again. `digest` is in hex."""

    digest: str


@dataclass(slots=True)
class _Waiting:
    received: Received
    answer: asyncio.Future[Taken | Spooled]
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


_Outcome = Taken | Spooled | Exception


class GroupCommit:
    """Start it inside the event loop that will ask; `stop` takes what waits, then ends."""

    _loop: asyncio.AbstractEventLoop  # since `start`

    def __init__(self, take: Take, spool: Spool | None = None) -> None:
        self._take = take
        self._spool = spool
        self._drain = None if spool is None else Drain(spool, take)
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="group-commit")

    @property
    def waiting(self) -> int:
        """Notifications that wait for their transaction."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether what PostgreSQL cannot take would be kept here."""
        return self._spool is not None and self._spool.has_room

    @property
    def spooled(self) -> int:
        """Notifications that wait on our own disk."""
        return 0 if self._spool is None else self._spool.records

    @property
    def spooled_bytes(self) -> int:
        """What they take there; what is drained counts until all of it is."""
        return 0 if self._spool is None else self._spool.size

    @property
    def is_alive(self) -> bool:
        """Whether the thread that stores runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to store, and to drain what an earlier process has left."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        if self._drain is not None:
            self._drain.start()

    def stop(self) -> None:
        """Store what waits, then end; what is in the spool stays there."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        if self._drain is not None:
            self._drain.stop()
        if self._spool is not None:
            self._spool.close()

    async def commit(self, received: Received) -> Taken | Spooled:
        """Wait until it is stored durably. Raises Overloaded, SpoolFull or Transient when not."""
        answer: asyncio.Future[Taken | Spooled] = asyncio.get_running_loop().create_future()
        with self._changed:
            full = len(self._waiting) >= WAITING or self._bytes >= WAITING_BYTES
            if full or self._stopping:
                raise Overloaded("expected room for one more notification, found none")
            self._waiting.append(_Waiting(received, answer))
            self._bytes += len(received.body)
            self._changed.notify()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError as error:
            raise Overloaded(f"expected a commit within {_ANSWER_SECONDS:g} s") from error

    def _run(self) -> None:
        while batch := self._next():
            outcomes = self._store(batch)
            try:
                self._loop.call_soon_threadsafe(_answer, batch, outcomes)
            except RuntimeError:  # the loop is closed: what waits is stored all the same
                log.warning("nobody is left to be answered")

    def _next(self) -> list[_Waiting]:
        """What waits, up to a batch; empty when there is nothing and nothing will come."""
        batch: list[_Waiting] = []
        size = 0
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            while self._waiting and len(batch) < BATCH and size < _BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].received.body)
            self._bytes -= size
        return batch

    def _store(self, batch: Sequence[_Waiting]) -> Sequence[_Outcome]:
        try:
            if self._spool is not None and not self._spool.is_empty:
                return self._add(self._spool, batch)  # behind what came before
            if self._spool is not None:
                return self._take_or_add(self._spool, batch)
            return self._take_or_refuse(batch)
        except (Transient, SpoolFull) as error:
            log.warning("intake unavailable", extra={"reason": str(error)})
            return [error] * len(batch)
        except Exception as error:  # an ended thread would store nothing any more
            log.exception("a batch could not be stored")
            return [error] * len(batch)

    def _take_or_add(self, spool: Spool, batch: Sequence[_Waiting]) -> Sequence[_Outcome]:
        try:
            return self._take([one.received for one in batch])
        except Transient as error:
            log.warning("to the spool: %s", error)
            return self._add(spool, batch)

    def _take_or_refuse(self, batch: Sequence[_Waiting]) -> Sequence[_Outcome]:
        if self._stopping and self._away:  # an end must not wait for a database once per batch
            raise Transient("expected our database, found none at the last look")
        self._away = True
        taken = self._take([one.received for one in batch])
        self._away = False
        return taken

    def _add(self, spool: Spool, batch: Sequence[_Waiting]) -> Sequence[_Outcome]:
        spool.append(
            [Record(one.received_at, one.received.source, one.received.body) for one in batch]
        )
        if self._drain is not None:
            self._drain.wake()
        return [Spooled(hashlib.sha256(one.received.body).hexdigest()) for one in batch]


def _answer(batch: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
    """Runs in the event loop. A sender that has gone away has cancelled its answer."""
    for one, outcome in zip(batch, outcomes, strict=True):
        if one.answer.done():
            continue
        if isinstance(outcome, Exception):
            one.answer.set_exception(outcome)
        else:
            one.answer.set_result(outcome)
