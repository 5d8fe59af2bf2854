"""The reconciler: each minute, or at once when alerts were left out, Alertmanager is asked.

Every gateway has one; the row behind `asking.claim` lets one of them ask at a time.
"""

import logging
import threading
from datetime import UTC, datetime

from tasks.clients.errors import ClientError
from tasks.work import asking
from tasks.work.asking import Turn
from tasks.work.reconciliation import Reconciled, reconcile

log = logging.getLogger("gateway.reconciler")

_SECONDS = 1.0


class Reconciler:
    """A thread; `stop` returns when it has ended. Figures are for the metrics."""

    def __init__(self) -> None:
        self._differences = 0
        self._failures = 0
        self._last_success: datetime | None = None
        self._said: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler")

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def last_success(self) -> datetime | None:
        """When every peer last answered any of the gateways; None when they never did."""
        return self._last_success

    @property
    def differences(self) -> int:
        """Alerts that this gateway had to take in or to resolve, since it started."""
        return self._differences

    @property
    def failures(self) -> int:
        """Looks of this gateway at which a peer did not answer, since it started."""
        return self._failures

    def look(self, now: datetime) -> Reconciled | None:
        """Ask, if it is this gateway's turn."""
        turn = asking.claim(now)
        found = None if turn is Turn.NOT_YET else reconcile(now, at_once=turn is Turn.WANTED)
        self._last_success = asking.standing().answered_at  # whichever gateway asked
        if found is not None:
            self._count(found)
        return found

    def _count(self, found: Reconciled) -> None:
        self._differences += found.differences
        self._failures += found.answered < found.peers
        if found.differences:
            log.warning(
                "Alertmanager differed: %d alerts had not arrived, %d fire again, %d fire on after"
                " their incident was closed, %d are gone",
                found.missing,
                found.again,
                found.outlasting,
                found.gone,
            )
        self._say(found.complaints)

    def _say(self, complaints: tuple[str, ...]) -> None:
        """Once for each change: a peer that is away for a night must not fill the log."""
        for complaint in complaints:
            if complaint not in self._said:
                log.warning("reconciliation: %s", complaint)
        self._said = complaints

    def _run(self) -> None:
        while not self._stopping.wait(_SECONDS):
            try:
                self.look(datetime.now(UTC))
            except ClientError as error:
                log.warning("reconciler waits: %s", error)
            except Exception:  # an ended thread would leave what never arrived unknown for ever
                log.exception("the reconciler goes on after an error that nobody foresaw")
