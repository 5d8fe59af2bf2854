"""How an incident begins: alerts and people open or join one, in one transaction with its run.

Notification, alert rows, facts and the dispatch are committed together and before the sender
hears 2xx, so nothing is stored by half. The same event sent twice has one effect: a notification
is known by its SHA-256, an alert by fingerprint + startsAt + status.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients.errors import Transient
from tasks.domain import policy
from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alertmanager import Notification, clean
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.work import journal, responder

INCIDENT = "incident/incident"
"""The deployment that responds to an incident."""

RESUME = "resume"
"""In the place of a deployment: go on with the incident's suspended run."""

ESCALATION = "escalation/escalation"
"""The deployment that carries out one step of the matrix."""

CHANNEL = "runbook_dispatch"
"""PostgreSQL notification channel that wakes the dispatcher."""

_FACTS_PER_INCIDENT = 50  # of one notification; the rest is counted in one more fact
_QUARANTINE_PREFIX = 64 * 1024
_QUARANTINE_ROWS = 1000

_STORE = "INSERT INTO notifications (digest, body) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_KNOWN_ALERTS = """
SELECT a.fingerprint, a.starts_at, a.status, a.incident FROM alerts a
  JOIN (SELECT DISTINCT * FROM unnest(%s::text[], %s::timestamptz[]) AS sent (f, s)) sent
    ON a.fingerprint = sent.f AND a.starts_at = sent.s
"""
_STORE_ALERTS = """
INSERT INTO alerts (fingerprint, starts_at, status, incident, notification)
SELECT f, s, st, i, %s FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[])
    AS new (f, s, st, i)
"""
_OPEN_OF_COMPONENT = """
SELECT incident FROM journal AS opened WHERE kind = %s AND key = %s AND NOT EXISTS
    (SELECT 1 FROM journal AS closed WHERE closed.incident = opened.incident AND closed.kind = %s)
 ORDER BY seq DESC LIMIT 1
"""
_TAKEN_ID = "SELECT 1 FROM journal WHERE incident = %s LIMIT 1"
_ADOPT = """
UPDATE alerts SET incident = %s
 WHERE fingerprint = %s AND starts_at = %s AND status = 'resolved' AND incident = ''
"""
_ENQUEUE = """
INSERT INTO dispatches (incident, deployment, key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""

_Event = tuple[str, datetime, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a notification did. `duplicate`: it was stored before, and did nothing now."""

    digest: str
    opened: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    new_alerts: int = 0
    duplicate: bool = False


def take_notification(body: bytes, notification: Notification) -> Taken:
    """Store a notification and all that follows from it; committed when this returns.

    Raises Transient when the database cannot be reached: then nothing is stored.
    """
    digest = hashlib.sha256(body).digest()
    with _durably() as connection:
        if connection.execute(_STORE, (digest, body)).rowcount == 0:
            return Taken(digest.hex(), duplicate=True)
        if not notification.alerts:
            return Taken(digest.hex())
        journal.lock(connection)  # what is open at our first look is open when we commit
        return _Intake(connection, digest).take(notification.alerts)


def declare(title: str, component: str, procedure: str, by: str, *, starts_run: bool = True) -> str:
    """Open an incident by hand and return its id; `by` is the person who declares it.

    A run that is already there (started in the Prefect UI) passes starts_run=False.
    """
    with _durably() as connection:
        journal.lock(connection)
        incident = _open(connection, clean(title, 160), component, procedure, "person", actor=by)
        if starts_run:
            enqueue_in(connection, incident, INCIDENT, f"{incident}:1")
    return incident


def enqueue_in(connection: Connection[TupleRow], incident: str, deployment: str, key: str) -> bool:
    """Order a run inside the caller's transaction; False when this key was ordered before."""
    new = connection.execute(_ENQUEUE, (incident, deployment, key)).rowcount == 1
    if new:
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, key))
    return new


def enqueue(incident: str, deployment: str, key: str) -> bool:
    """Order a run; False when this key was ordered before."""
    with _durably() as connection:
        return enqueue_in(connection, incident, deployment, key)


def quarantine(reason: str, size: int, prefix: bytes) -> None:
    """Keep the beginning of what was authenticated but not understood, newest thousand only."""
    with _durably() as connection:
        connection.execute(
            "INSERT INTO quarantine (reason, size, prefix) VALUES (%s, %s, %s)",
            (clean(reason), size, prefix[:_QUARANTINE_PREFIX]),
        )
        connection.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - %s",
            (_QUARANTINE_ROWS,),
        )


def quarantined(limit: int = 10) -> tuple[int, list[dict[str, Any]]]:
    """How much is in quarantine, and the newest of it: received_at, reason, size, begins."""
    with responder.connection() as connection:
        count = connection.execute("SELECT count(*) FROM quarantine").fetchone()
        rows = connection.execute(
            "SELECT received_at, reason, size, substring(prefix FOR 200) FROM quarantine"
            " ORDER BY id DESC LIMIT %s",
            (limit,),
        ).fetchall()
    newest: list[dict[str, Any]] = [
        {
            "received_at": at.astimezone(UTC).isoformat(),
            "reason": reason,
            "size": size,
            "begins": clean(begins.decode(errors="replace")),
        }
        for at, reason, size, begins in rows
    ]
    return (count[0] if count else 0), newest


@contextmanager
def _durably() -> Iterator[Connection[TupleRow]]:
    """A transaction that is on disk when it has ended, whatever the role's defaults are."""
    try:
        with responder.connection() as connection, connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = on")
            yield connection
    except psycopg.OperationalError as error:
        raise Transient(
            f"expected the responder's PostgreSQL, found {type(error).__name__}: "
            "nothing was stored; send it again"
        ) from error


def _open(
    connection: Connection[TupleRow],
    title: str,
    component: str,
    procedure: str,
    cause: str,
    actor: str = RUNBOOK,
) -> str:
    incident = _free_id(connection)
    data = {"title": title, "component": component, "procedure": procedure, "cause": cause}
    key = _opened_key(component)
    journal.append_in(connection, incident, FactKind.OPENED, data, actor=actor, key=key)
    return incident


def _free_id(connection: Connection[TupleRow]) -> str:
    while True:  # two of one second share a suffix once in 65,536
        incident = f"INC-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        if connection.execute(_TAKEN_ID, (incident,)).fetchone() is None:
            return incident


def _opened_key(component: str) -> str:
    return f"opened:{component}"


def _event(alert: Alert, status: AlertStatus | None = None) -> _Event:
    return alert.fingerprint, alert.starts_at, (status or alert.status).value


class _Intake:
    """One notification's way into the journal, inside its transaction."""

    def __init__(self, connection: Connection[TupleRow], digest: bytes) -> None:
        self._connection = connection
        self._digest = digest
        self._received_at = datetime.now(UTC).isoformat()
        self._incidents: dict[_Event, str] = {}
        self._by_component: dict[str, str] = {}
        self._facts_of: dict[str, int] = {}
        self._opened: list[str] = []
        self._joined: list[str] = []

    def take(self, alerts: Sequence[Alert]) -> Taken:
        known = self._known(alerts)
        rows: list[tuple[_Event, str]] = []
        # Firing ones first, so that a resolved one of the same delivery finds its incident.
        for alert in sorted(alerts, key=lambda sent: sent.status is AlertStatus.RESOLVED):
            event = _event(alert)
            if event in known:
                continue
            known[event] = incident = self._place(alert, known)
            rows.append((event, incident))
            if incident:
                self._record(incident, alert)
        self._store(rows)
        self._count_the_rest()
        return Taken(
            digest=self._digest.hex(),
            opened=tuple(self._opened),
            joined=tuple(self._joined),
            new_alerts=len(rows),
        )

    def _place(self, alert: Alert, known: Mapping[_Event, str]) -> str:
        """The alert's incident. A resolved one opens none: without its firing it has none yet."""
        if alert.status is AlertStatus.RESOLVED:
            return known.get(_event(alert, AlertStatus.FIRING), "")
        incident = self._incident_for(alert)
        if known.get(_event(alert, AlertStatus.RESOLVED)) == "":  # it overtook its firing
            self._connection.execute(_ADOPT, (incident, alert.fingerprint, alert.starts_at))
            self._record(incident, replace(alert, status=AlertStatus.RESOLVED))
        return incident

    def _known(self, alerts: Sequence[Alert]) -> dict[_Event, str]:
        rows = self._connection.execute(
            _KNOWN_ALERTS,
            ([alert.fingerprint for alert in alerts], [alert.starts_at for alert in alerts]),
        ).fetchall()
        return {(row[0], row[1].astimezone(UTC), row[2]): row[3] for row in rows}

    def _store(self, rows: Sequence[tuple[_Event, str]]) -> None:
        columns = [[event[place] for event, _ in rows] for place in range(3)]
        incidents = [incident for _, incident in rows]
        self._connection.execute(_STORE_ALERTS, (self._digest, *columns, incidents))

    def _incident_for(self, alert: Alert) -> str:
        route = policy.route(alert)
        incident = self._by_component.get(route.component)
        if incident is None:
            incident = self._open_or_join(route)
            self._by_component[route.component] = incident
        if route.starts_dpo_clock:
            self._start_dpo_clock(incident, route)
        return incident

    def _open_or_join(self, route: policy.Route) -> str:
        row = self._connection.execute(
            _OPEN_OF_COMPONENT,
            (FactKind.OPENED.value, _opened_key(route.component), FactKind.CLOSED.value),
        ).fetchone()
        if row is not None:
            self._joined.append(str(row[0]))
            return str(row[0])
        incident = _open(
            self._connection, route.title, route.component, route.procedure, cause="alert"
        )
        self._opened.append(incident)
        enqueue_in(self._connection, incident, INCIDENT, f"{incident}:1")
        return incident

    def _start_dpo_clock(self, incident: str, route: policy.Route) -> None:
        data = {
            "clock": policy.DPO_CLOCK,
            "due": (datetime.now(UTC) + policy.DPO_LIMIT).isoformat(),
            "recipient": "dpo",
            "reason": f"{route.title}: notify the DPO within one hour",
        }
        journal.append_in(
            self._connection,
            incident,
            FactKind.CLOCK_STARTED,
            data,
            key=f"clock:{policy.DPO_CLOCK}",
        )

    def _record(self, incident: str, alert: Alert) -> None:
        self._facts_of[incident] = self._facts_of.get(incident, 0) + 1
        if self._facts_of[incident] > _FACTS_PER_INCIDENT:
            return
        data = {
            "fingerprint": alert.fingerprint,
            "status": alert.status.value,
            "name": alert.name,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "starts_at": alert.starts_at.isoformat(),
            "notification": self._digest.hex(),
            "received_at": self._received_at,
        }
        key = f"alert:{alert.fingerprint}:{data['starts_at']}:{data['status']}"
        journal.append_in(self._connection, incident, FactKind.ALERT_RECEIVED, data, key=key)

    def _count_the_rest(self) -> None:
        for incident, alerts in self._facts_of.items():
            rest = alerts - _FACTS_PER_INCIDENT
            if rest > 0:
                text = f"{rest} more alerts of notification {self._digest.hex()} joined"
                journal.append_in(self._connection, incident, FactKind.NOTE, {"text": text})
