"""The ticker: once a second, what time alone makes due for the open incidents.

Several gateways may run; the one that holds the advisory lock acts. Nothing breaks if two do: an
order has a unique key, a decision too. Facts are read again only when an incident has new ones.
"""

import logging
import threading
import time
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from deployments.gateway.resumption import expire, order_resumption
from tasks.clients.errors import ClientError
from tasks.domain.approval import EXPIRED, Standing, standing
from tasks.domain.escalation import due_steps
from tasks.domain.incident import Incident
from tasks.work import incidents, journal, responder

log = logging.getLogger("gateway.ticker")

LOCK = 0x5449434B  # "TICK"
_SECONDS = 1.0
_BAD_SECONDS = 60.0  # until an incident that cannot be read or acted on is tried again
_NEWEST = "SELECT incident, max(seq) FROM journal WHERE incident = ANY(%s) GROUP BY incident"


class Ticker:
    """A thread; `stop` returns when it has ended."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Incident]] = {}
        self._put_off: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker")

    @property
    def is_alive(self) -> bool:
        """Whether the thread ticks."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End after the tick that runs."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_SECONDS):
            try:
                self.tick(datetime.now(UTC))
            except ClientError as error:
                log.warning("ticker waits: %s", error)
            except Exception:  # whatever it is: an ended thread would let every clock run out
                log.exception("the ticker goes on after an error that nobody foresaw")

    def tick(self, now: datetime) -> None:
        """Do what is due at `now`, if no other gateway is doing it."""
        with responder.connection() as connection, connection.transaction():
            row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone()
            if row is None or not row[0]:
                return
            newest = self._newest(connection)
            for name in newest:
                if time.monotonic() >= self._put_off.get(name, 0):
                    self._guarded_act(name, newest[name], now)

    def _newest(self, connection: Connection[TupleRow]) -> dict[str, int]:
        """The place of the newest fact of each open incident; what we knew of others is dropped."""
        names = journal.open_incidents()
        newest: dict[str, int] = dict(connection.execute(_NEWEST, (names,)).fetchall())
        self._known = {
            name: known for name, known in self._known.items() if newest.get(name) == known[0]
        }
        self._put_off = {name: until for name, until in self._put_off.items() if name in newest}
        return {name: newest[name] for name in names}

    def _guarded_act(self, name: str, newest: int, now: datetime) -> None:
        try:
            if name not in self._known:
                self._known[name] = (newest, journal.read(name))
            _act_on(self._known[name][1], now)
        except ClientError:
            raise
        except Exception:  # of this incident alone: the clocks of the others run on
            log.exception("put off for %d s", _BAD_SECONDS, extra={"incident": name})
            self._put_off[name] = time.monotonic() + _BAD_SECONDS


def _act_on(incident: Incident, now: datetime) -> None:
    for due in due_steps(incident, now):
        key = f"escalate:{incident.id}:{due.step}"
        if incidents.enqueue(incident.id, incidents.ESCALATION, key):
            log.info("escalation due: %s", due.step, extra={"incident": incident.id})
    decided = {made.decision for made in incident.decisions_on_plan()}
    if standing(incident, now) is Standing.EXPIRED and EXPIRED not in decided:
        if expire(incident.id, now):
            log.info("plan expired", extra={"incident": incident.id})
    elif decided:
        order_resumption(incident)
