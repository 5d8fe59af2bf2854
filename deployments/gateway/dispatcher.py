"""The dispatcher: one thread that carries orders from the outbox to warm children.

It sleeps until PostgreSQL notifies, a child speaks, or a second has passed. Prefect away: intake
goes on, rows wait, and `prefect_answers` says so. PostgreSQL away: nothing is taken. Neither ends
the thread, nor does anything else: a row or a child that is not as expected is logged, and the
others go on. Of two or more children one is kept for P0: a response may take minutes.
"""

import logging
import os
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from deployments.gateway import metrics
from deployments.gateway.advance import DONE, Advance, Finished, HandOver, Next, Wait
from deployments.gateway.children import Child, WarmChildren
from deployments.gateway.outbox import LEASE_SECONDS, P0, P3, Outbox, Row
from deployments.gateway.prefect_api import PrefectApi
from deployments.gateway.wakeups import Wakeups
from tasks.clients.errors import ClientError

log = logging.getLogger("gateway.dispatcher")

FLOW_MODULES = ("flows.incident", "flows.escalation")
"""What children import before they call themselves warm."""

_IDLE_SECONDS = 1.0
_RETRY_SECONDS = 2.0
_BAD_ROW_SECONDS = 30.0  # until a row that cannot be understood is looked at again
_CANCEL_LOOK_SECONDS = 1.0
_PROBE_SECONDS = 5.0  # between two looks at whether Prefect is there, and at the deployments
_SAY_SECONDS = 30.0  # between two lines of the log that say the same
_CANCEL_GRACE_SECONDS = 5.0
_STOP_GRACE_SECONDS = 10.0


class Dispatcher:
    """Start it, and stop it: `stop` returns when every child is dead and every row handed back."""

    def __init__(
        self,
        api: PrefectApi,
        *,
        children: int,
        modules: Sequence[str] = FLOW_MODULES,
        stop_grace_seconds: float = _STOP_GRACE_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._api = api
        self._outbox = Outbox(self.holder, lease_seconds)
        self._lease_seconds = lease_seconds
        self._advance = Advance(api, self._outbox)
        self._grace = stop_grace_seconds
        self._selector = selectors.DefaultSelector()
        self._children = WarmChildren(children, modules, self._selector)
        self._wakeups = Wakeups(self._selector)
        self._stopping = threading.Event()
        self._next_take = self._next_probe = 0.0
        self._next_cancel_look = self._next_extension = self._next_word = 0.0
        self._thread = threading.Thread(target=self._run, name="dispatcher")

    @property
    def warm_children(self) -> int:
        """Children that are warm and really live, busy or not."""
        return sum(child.warm and child.lives for child in self._children)

    @property
    def is_alive(self) -> bool:
        """Whether the thread that carries the orders runs."""
        return self._thread.is_alive()

    @property
    def prefect_answers(self) -> bool:
        """Whether Prefect's API took our last call; while it does not, orders wait."""
        return self._api.answers

    @property
    def child_pids(self) -> list[int]:
        """Process ids of the children."""
        return [child.process.pid for child in self._children]

    def start(self) -> None:
        """Begin to warm children and to take rows."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new, let flows end within the grace time, then stop them."""
        if self._thread.is_alive():
            self._stopping.set()
            self._wakeups.wake()
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._guarded_turn()
        until = time.monotonic() + self._grace
        while self._children.busy() and time.monotonic() < until:
            self._guarded_listen()
        for child in self._children:
            child.terminate(_CANCEL_GRACE_SECONDS)
        while len(self._children):
            self._guarded_listen()
            for child in self._children:
                child.kill_if_late()
        self._wakeups.close()
        self._selector.close()

    def _guarded_turn(self) -> None:
        try:
            self._listen(0)  # whatever fails below: who has ended or died is heard
            self._children.keep()
            self._keep_leases()
            self._wakeups.connect()
            self._take_rows()
            self._keep_leases()
            self._stop_cancelled()
            self._probe()
            self._listen(_IDLE_SECONDS)
        except (psycopg.OperationalError, ClientError) as error:
            self._say_waiting(error)
            self._stopping.wait(_RETRY_SECONDS)
        except Exception:  # whatever it is: an ended thread would leave every incident alone
            log.exception("dispatch goes on after an error that nobody foresaw")
            self._stopping.wait(_RETRY_SECONDS)

    def _guarded_listen(self) -> None:
        """On the way out: flows that still end keep their leases meanwhile."""
        try:
            self._keep_leases()
        except ClientError as error:
            self._say_waiting(error)
        self._listen(0.1)

    def _say_waiting(self, error: Exception, incident: str = "") -> None:
        now = time.monotonic()
        if now >= self._next_word:
            self._next_word = now + _SAY_SECONDS
            bound = {"incident": incident} if incident else None
            log.warning("dispatch waits, the intake goes on: %s", error, extra=bound)

    def _take_rows(self) -> None:
        for child in self._children:
            while self._may_take(child) and (row := self._take_row()) is not None:
                self._work_on(row, child)

    def _take_row(self) -> Row | None:
        return self._outbox.take(P0 if self._children.one_is_kept else P3)

    def _may_take(self, child: Child) -> bool:
        due = time.monotonic() >= self._next_take
        return due and child.free and not self._stopping.is_set()

    def _work_on(self, row: Row, child: Child) -> None:
        try:
            step = self._advance.next_for(row)
        except ClientError as error:
            self._say_waiting(error, row.incident)
            self._next_take = time.monotonic() + _RETRY_SECONDS
            step = Wait(_RETRY_SECONDS)
        except Exception:  # of this row alone: the rows behind it must not wait for a person
            log.exception("row %s is put off", row.key, extra={"incident": row.incident})
            step = Wait(_BAD_ROW_SECONDS)
        if isinstance(step, HandOver):
            self._order(row, step, child)
        else:
            self._settle(row, step)

    def _order(self, row: Row, step: HandOver, child: Child) -> None:
        try:
            child.order(row, step, self.holder)
        except OSError as error:  # it has died since it was last heard; its burial frees the row
            log.warning("child lost: %s", error, extra={"incident": row.incident})
            child.process.kill()
        else:
            metrics.STARTED.inc()
            log.info("run %s handed over", step.run, extra={"incident": row.incident})

    def _settle(self, row: Row, step: Next) -> None:
        if isinstance(step, Finished):
            self._outbox.finish(row, step.result)
            metrics.ENDED.labels(step.outcome).inc()
            level = logging.INFO if step.outcome == DONE else logging.ERROR
            log.log(level, "dispatch done: %s", step.result, extra={"incident": row.incident})
        elif isinstance(step, Wait):
            self._outbox.release(row, step.seconds)

    def _settle_by(self, row: Row, decide: Callable[[], Next]) -> None:
        """Settle a row whose child is done; what cannot be settled now is left to the lease."""
        try:
            self._settle(row, decide())
        except ClientError as error:
            log.warning("left to the lease: %s", error, extra={"incident": row.incident})
        except Exception:  # of this row alone, as above
            log.exception("left to the lease", extra={"incident": row.incident})

    def _keep_leases(self) -> None:
        """Extend the leases; a child whose row another gateway has taken is killed."""
        busy = {row.id: (row, child) for row, child in self._children.busy()}
        if not busy or time.monotonic() < self._next_extension:
            return
        for lost in busy.keys() - self._outbox.extend(busy):
            row, child = busy[lost]
            log.error("lease lost", extra={"incident": row.incident})
            child.process.kill()
        self._next_extension = time.monotonic() + self._lease_seconds / 6

    def _stop_cancelled(self) -> None:
        """Stop what a person has cancelled in Prefect, and make sure of it."""
        busy = [child for _, child in self._children.busy()]
        for child in busy:
            child.kill_if_late()
        if not busy:  # not at once when one begins: Prefect has most to do then
            self._next_cancel_look = time.monotonic() + _CANCEL_LOOK_SECONDS
        if time.monotonic() < self._next_cancel_look:
            return
        self._next_cancel_look = time.monotonic() + _CANCEL_LOOK_SECONDS
        cancelled = self._api.cancelling(child.run for child in busy)
        for child in busy:
            if child.run in cancelled:
                child.cancelled = True
                child.terminate(_CANCEL_GRACE_SECONDS)

    def _probe(self) -> None:
        if time.monotonic() >= self._next_probe:
            self._api.probe()
            self._next_probe = time.monotonic() + _PROBE_SECONDS

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Child):
                self._hear(key.data)
            else:
                self._wakeups.drain(key.data)

    def _hear(self, child: Child) -> None:
        messages, alive = child.messages()
        for message in messages:
            if "ready" in message:
                child.warm = True
                log.info("child %s is warm", message["ready"])
            elif child.row is not None:
                row, run = child.row, child.run
                child.end_order()
                self._conclude(row, run, message)
        if not alive:
            self._bury(child)

    def _conclude(self, row: Row, run: str, message: Mapping[str, Any]) -> None:
        if message["claim"] != "ACCEPT":  # a worker was faster, or there is no free slot
            self._settle_by(row, lambda: Wait(1))
            return
        if not self._is_still_ours(row):
            log.error("lease lost", extra={"incident": row.incident})
            return
        state, name, away = message["state"], message["name"], message["away"]
        self._settle_by(row, lambda: self._advance.ended(row, run, state, name, away=away))

    def _is_still_ours(self, row: Row) -> bool:
        """Whether we may say what became of it; PostgreSQL away: the settling will find out."""
        try:
            return row.id in self._outbox.extend([row.id])
        except ClientError:
            return True

    def _bury(self, child: Child) -> None:
        self._children.bury(child)
        if child.row is None:
            return
        row, run = child.row, child.run
        log.warning("child %s died", child.process.pid, extra={"incident": row.incident})
        if child.cancelled:
            self._settle_by(row, lambda: self._advance.cancelled(row, run))
        else:
            self._settle_by(row, lambda: Wait(0))
