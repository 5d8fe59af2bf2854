"""What a notification does: store it, and open or join incidents, all in one transaction.

Notification, alert rows, facts and dispatches are committed together and before the sender hears
2xx, so nothing is stored by half. The same event sent twice has one effect: a notification is
known by its SHA-256, an alert by fingerprint + startsAt + status.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain import policy
from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alertmanager import Notification
from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.work import incidents, journal

_FACTS_PER_INCIDENT = 50  # of one notification; the rest is counted in one more fact

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
_ADOPT = """
UPDATE alerts SET incident = %s
 WHERE fingerprint = %s AND starts_at = %s AND status = 'resolved' AND incident = ''
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
    with incidents.durably() as connection:
        if connection.execute(_STORE, (digest, body)).rowcount == 0:
            return Taken(digest.hex(), duplicate=True)
        if not notification.alerts:
            return Taken(digest.hex())
        journal.lock(connection)  # what is open at our first look is open when we commit
        return _Intake(connection, digest).take(notification.alerts)


def _event(alert: Alert, status: AlertStatus | None = None) -> _Event:
    return alert.fingerprint, alert.starts_at, (status or alert.status).value


class _Intake:
    """One notification's way into the journal, inside its transaction."""

    def __init__(self, connection: Connection[TupleRow], digest: bytes) -> None:
        self._connection = connection
        self._digest = digest
        self._received_at = datetime.now(UTC).isoformat()
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
        placed = [incident for _, incident in rows]
        self._connection.execute(_STORE_ALERTS, (self._digest, *columns, placed))

    def _incident_for(self, alert: Alert) -> str:
        route = policy.route(alert)
        incident = self._by_component.get(route.component)
        if incident is None:
            incident = self._open_or_join(route, alert)
            self._by_component[route.component] = incident
        if route.starts_dpo_clock:
            self._start_dpo_clock(incident, route)
        return incident

    def _open_or_join(self, route: policy.Route, alert: Alert) -> str:
        known = incidents.open_one_of(self._connection, route.component)
        if known is not None:
            self._joined.append(known)
            self._order_another_run(known, alert)
            return known
        incident = incidents.open_in(
            self._connection, route.title, route.component, route.procedure, cause="alert"
        )
        self._opened.append(incident)
        incidents.enqueue_in(self._connection, incident, incidents.INCIDENT, f"{incident}:1")
        return incident

    def _order_another_run(self, incident: str, alert: Alert) -> None:
        """An incident whose runs are over, unresolved, must not make its component deaf.

        While a run is ordered or at work, and while a plan is before a person, joining is enough.
        """
        if incidents.response_is_ordered(self._connection, incident):
            return
        if not self._plan_is_before_a_person(incident):
            key = f"{incident}:alert:{alert.fingerprint}:{alert.starts_at.isoformat()}"
            incidents.enqueue_in(self._connection, incident, incidents.INCIDENT, key)

    def _plan_is_before_a_person(self, incident: str) -> bool:
        try:
            state = journal.read_in(self._connection, incident)
        except BadInput:  # the alert is stored all the same; the run says what cannot be read
            return False
        return standing(state, datetime.now(UTC)) is Standing.WAITING

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
