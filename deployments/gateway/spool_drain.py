"""Draining the spool: in order, a part at a time, into PostgreSQL as soon as that answers.

A part is read past only when it is committed. After a kill in between it is taken again, as a
duplicate. Damaged pieces are kept aside and put into quarantine, which opens an incident.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from deployments.gateway import metrics
from deployments.gateway.accounting import account_for
from deployments.gateway.spool import Spool, Waiting
from deployments.gateway.spool_records import Damaged, Record
from tasks.clients.errors import Transient
from tasks.domain.alertmanager import parse
from tasks.domain.errors import BadInput
from tasks.work import quarantine
from tasks.work.intake import Received, Taken

log = logging.getLogger("gateway.spool")

_LOOK_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_BAD_SECONDS = 5.0


class Drain:
    """A thread of its own, so that a database that does not answer delays nobody's 202."""

    def __init__(self, spool: Spool, take: Callable[[Sequence[Received]], Sequence[Taken]]) -> None:
        self._spool = spool
        self._take = take
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-drain")

    def start(self) -> None:
        """Begin to drain."""
        self._thread.start()

    def wake(self) -> None:
        """Something was added."""
        self._awake.set()

    def stop(self) -> None:
        """End after the part that is on its way; the rest stays in the spool."""
        self._stopping.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        waiting_since_told = False
        while not self._stopping.is_set():
            try:
                self._spool.adopt()
                self._drain_all()
            except Transient as error:
                if not waiting_since_told:
                    log.warning("%d notifications wait: %s", self._spool.records, error)
                waiting_since_told = True
                self._stopping.wait(_RETRY_SECONDS)
            except Exception:  # an ended thread would leave what waits to the next start
                log.exception("draining goes on after an error that nobody foresaw")
                self._stopping.wait(_BAD_SECONDS)
            else:
                if waiting_since_told:
                    log.info("the spool is drained")
                waiting_since_told = False
                self._awake.wait(_LOOK_SECONDS)
                self._awake.clear()

    def _drain_all(self) -> None:
        while not self._stopping.is_set() and (waiting := self._spool.front()) is not None:
            for piece in waiting.part.damaged:
                self._set_aside(waiting, piece)
            batch = [received for record in waiting.part.records for received in _parsed(record)]
            if batch:
                for taken in self._take(batch):
                    account_for(taken)
            self._spool.advance(waiting)

    def _set_aside(self, waiting: Waiting, piece: Damaged) -> None:
        path, data = self._spool.keep_aside(waiting, piece)
        reason = f"damaged in the spool: {len(data)} bytes are in {path.name} of the gateway"
        log.error("%s", reason)
        quarantine.keep(reason, len(data), data[: quarantine.PREFIX_BYTES])
        metrics.QUARANTINED.inc()


def _parsed(record: Record) -> list[Received]:
    """One notification; none when it is not understood any more, which is then in quarantine."""
    try:
        return [Received(record.body, parse(record.body), record.source, record.received_at)]
    except BadInput as error:  # an older version of ours understood it
        quarantine.keep(f"from the spool: {error}", len(record.body), record.body)
        metrics.QUARANTINED.inc()
        return []
