"""The ticker: once a second, what time alone makes due for the open incidents.

Several gateways may run; the one that holds the advisory lock acts. Nothing breaks if two do: an
order has a unique key, a decision too. Facts are read again only when an incident has new ones;
further alerts of one that fires anyway, which make nothing due, only every ten seconds.

What time makes due: escalations, the end of a plan's validity, the return of an isolation that
nobody has confirmed, the end of an incident whose alerts have been resolved for long enough, and an
incident when the Watchdog is not heard.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from deployments.gateway.open_incidents import Newest, OpenIncidents
from deployments.gateway.resumption import expire, order_resumption
from tasks.clients.errors import ClientError
from tasks.domain.approval import EXPIRED, Standing, standing
from tasks.domain.escalation import Due, pending_steps
from tasks.domain.incident import Incident
from tasks.domain.isolation_state import is_due, isolation_of
from tasks.domain.resolution import is_quiet, what_keeps_open
from tasks.domain.severity import Severity
from tasks.work import heartbeats, incidents, journal, resolution, responder
from tasks.work.escalating import order_key
from tasks.work.judging_isolation import return_order

log = logging.getLogger("gateway.ticker")

LOCK = 0x5449434B  # "TICK"
_SECONDS = 1.0
_ALERTS_SECONDS = 10.0  # until further alerts of an incident that fires are looked at
_BAD_SECONDS = 60.0  # until an incident that cannot be read or acted on is tried again
_RESUMPTION = "resumption"
_UNREST = timedelta(seconds=15)  # until an incident that could not be closed yet is tried again


_WATCHDOG = "watchdog"
"""In the place of an incident: what is put off when it cannot be looked at."""


class Ticker:
    """A thread; `stop` returns when it has ended."""

    def __init__(self, started_at: datetime | None = None) -> None:
        self._started_at = started_at or datetime.now(UTC)
        self._open = OpenIncidents()
        self._watched: dict[str, _Watched] = {}
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
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            self._open.follow(connection)
            self._forget_what_is_over()
            self._guarded(_WATCHDOG, partial(self._watch_the_watchdog, now))
            for name, newest in self._open.newest.items():
                self._guarded(name, partial(self._act, name, newest, now))
            for name in resolution.without_firing_alerts(self._unresolved()):
                self._guarded(name, partial(_record_resolved, name))

    def _watch_the_watchdog(self, now: datetime) -> None:
        silent = heartbeats.watch(self._started_at, now)
        if silent:
            log.warning("the Watchdog fell silent or is back", extra={"incident": silent})

    def _forget_what_is_over(self) -> None:
        newest = self._open.newest
        self._watched = {name: one for name, one in self._watched.items() if name in newest}
        known = {*newest, _WATCHDOG}
        self._put_off = {name: until for name, until in self._put_off.items() if name in known}

    def _unresolved(self) -> list[str]:
        return [
            name
            for name, watched in self._watched.items()
            if watched.is_open
            and watched.incident.alerts
            and watched.incident.alerts_resolved_at is None
        ]

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        if time.monotonic() < self._put_off.get(name, 0):
            return
        try:
            act()
        except ClientError:
            raise
        except Exception:  # of this incident alone: the clocks of the others run on
            log.exception("put off for %d s", _BAD_SECONDS, extra={"incident": name})
            self._put_off[name] = time.monotonic() + _BAD_SECONDS

    def _act(self, name: str, newest: Newest, now: datetime) -> None:
        watched = self._watched.get(name)
        if watched is None or not watched.shows(newest):
            incident = journal.read(name) if watched is None else journal.read_on(watched.incident)
            watched = _Watched(newest, incident, pending_steps(incident))
            self._watched[name] = watched
        watched.escalate(now)
        if watched.is_open:
            watched.settle_plan(now)
            watched.take_isolation_back(now)
            watched.close(now)


@dataclass(slots=True)
class _Watched:
    """An incident as its facts up to `newest` show it, and what was done about it since."""

    newest: Newest
    incident: Incident
    steps: tuple[Due, ...]
    read_at: float = field(default_factory=time.monotonic)
    ordered: set[str] = field(default_factory=set)
    tried_at: datetime | None = None

    def shows(self, newest: Newest) -> bool:
        """Whether nothing has come since that could make something due, or undo it."""
        if self.newest.fact != newest.fact:
            return False
        fires = bool(self.incident.alerts) and self.incident.alerts_resolved_at is None
        is_fresh = time.monotonic() < self.read_at + _ALERTS_SECONDS
        return self.newest.alert == newest.alert or (fires and is_fresh)

    @property
    def is_open(self) -> bool:
        """Closed ones are watched for what is to be told of them still."""
        return self.incident.closed_at is None

    def escalate(self, now: datetime) -> None:
        """Order the steps that are due."""
        for due in self.steps:
            key = order_key(self.incident.id, due.step)
            if due.due_at > now or key in self.ordered:
                continue
            priority = (self.incident.severity or Severity.P2).rank
            if incidents.enqueue(self.incident.id, incidents.ESCALATION, key, priority=priority):
                log.info("escalation due: %s", due.step, extra=self._bound)
            self.ordered.add(key)

    def settle_plan(self, now: datetime) -> None:
        """Record that the plan's time is over, or have the run go on that waits for a decision."""
        decided = {made.decision for made in self.incident.decisions_on_plan()}
        if standing(self.incident, now) is Standing.EXPIRED and EXPIRED not in decided:
            if expire(self.incident.id, now):
                log.info("plan expired", extra=self._bound)
        elif decided and _RESUMPTION not in self.ordered:
            order_resumption(self.incident)
            self.ordered.add(_RESUMPTION)

    def take_isolation_back(self, now: datetime) -> None:
        """Order the run that takes back what nobody has confirmed in time; each attempt once."""
        isolation = isolation_of(self.incident)
        if isolation is None or not is_due(isolation, now):
            return
        key = return_order(self.incident.id, isolation)
        if key in self.ordered:
            return
        if incidents.enqueue(self.incident.id, incidents.INCIDENT, key, priority=Severity.P0.rank):
            log.info("an isolation goes back", extra=self._bound)
        self.ordered.add(key)

    def close(self, now: datetime) -> None:
        """Close it when its alerts have been resolved for long enough and nothing keeps it open."""
        if self.tried_at is not None and now < self.tried_at + _UNREST:
            return
        if not is_quiet(self.incident, now, resolution.quiet_time()):
            return
        if what_keeps_open(self.incident, now):
            return
        if resolution.close_if_resolved(self.incident.id, now):
            log.info("closed: its alerts have resolved", extra=self._bound)
        self.tried_at = now

    @property
    def _bound(self) -> dict[str, str]:
        return {"incident": self.incident.id}


def _record_resolved(incident: str) -> None:
    if resolution.record_resolved(incident):
        log.info("none of its alerts fires any more", extra={"incident": incident})
