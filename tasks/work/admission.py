"""The way of alerts into incidents, inside the intake's transaction.

Known events have no second effect. Facts are gathered and written at the end, in a few statements
however many alerts there are; what opens or joins is decided by `placement`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alertmanager import Notification
from tasks.domain.facts import FactKind
from tasks.domain.policy import Route, RoutingPolicy
from tasks.domain.severity import Assessment, assess_routed
from tasks.work import journal
from tasks.work.journal import Entry
from tasks.work.placement import Placement

_FACTS_PER_INCIDENT = 50  # of one notification; the rest is counted in one more fact
_PAIRS_CHARACTERS = 32 * 1024  # of labels, and of annotations: a line of the journal has its limit

# LATERAL with its LIMIT, two statuses at most, keeps a storm on the index of a table without
# statistics.
_KNOWN_ALERTS = """
SELECT a.fingerprint, a.starts_at, a.status, a.incident
  FROM (SELECT DISTINCT * FROM unnest(%b::text[], %b::timestamptz[]) AS sent (f, s)) sent
 CROSS JOIN LATERAL (SELECT * FROM alerts WHERE fingerprint = sent.f AND starts_at = sent.s
                      LIMIT 2) a
"""
_STORE_ALERTS = """
INSERT INTO alerts (fingerprint, starts_at, status, incident, notification)
SELECT * FROM unnest(%b::text[], %b::timestamptz[], %b::text[], %b::text[], %b::bytea[])
"""
_ADOPT = """
UPDATE alerts SET incident = %s
 WHERE fingerprint = %s AND starts_at = %s AND status = 'resolved' AND incident = ''
"""

_Event = tuple[str, datetime, str]


def _bounded(pairs: Mapping[str, str]) -> dict[str, str]:
    """The first of them that fit into a fact; what was sent is stored whole beside it."""
    kept: dict[str, str] = {}
    room = _PAIRS_CHARACTERS
    for name, value in pairs.items():
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = value
    return kept


def _assessed(alert: Alert, route: Route) -> Assessment:
    return assess_routed(alert, route.severity, route.name)


def _event(alert: Alert, status: AlertStatus | None = None) -> _Event:
    return alert.fingerprint, alert.starts_at, (status or alert.status).value


@dataclass(slots=True)
class Admitted:
    """What one notification did."""

    opened: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    new_alerts: int = 0


class Admission:
    """One batch. `look` first, then `take` each notification in its order, then `write`."""

    def __init__(
        self, connection: Connection[TupleRow], policy: RoutingPolicy, now: datetime
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._placement = Placement(connection, now, policy)
        self._received_at = now
        self._routes: dict[int, Route] = {}
        self._known: dict[_Event, str] = {}
        self._rows: list[tuple[str, datetime, str, str, bytes]] = []
        self._entries: list[Entry] = []

    def heartbeats(self, notification: Notification) -> set[str]:
        """Names of the heartbeats that fire, in duplicates too: every beat has the same body."""
        return {
            alert.name
            for alert in notification.alerts
            if alert.status is AlertStatus.FIRING and self._route(alert).heartbeat
        }

    def look(self, notifications: Iterable[Notification]) -> None:
        """See what is known of the batch: its events, and the open incidents of its routes."""
        alerts = [alert for notification in notifications for alert in notification.alerts]
        if not alerts:
            return
        rows = self._connection.execute(
            _KNOWN_ALERTS,
            ([alert.fingerprint for alert in alerts], [alert.starts_at for alert in alerts]),
        ).fetchall()
        self._known = {(row[0], row[1].astimezone(UTC), row[2]): row[3] for row in rows}
        self._placement.look(
            [self._route(alert) for alert in alerts if _event(alert) not in self._known]
        )

    def take(self, digest: bytes, alerts: Sequence[Alert], received_at: datetime) -> Admitted:
        """Admit the alerts of a notification that was not there before."""
        did = Admitted()
        self._received_at = received_at
        facts_of: dict[str, int] = {}
        for alert in sorted(alerts, key=self._precedence):
            event = _event(alert)
            if event in self._known or self._route(alert).heartbeat:
                continue
            incident = self._place(alert, did)
            self._known[event] = incident
            self._rows.append((*event, incident, digest))
            did.new_alerts += 1
            if incident:
                self._record(incident, alert, digest, facts_of)
            if self._was_overtaken(alert):
                self._adopt(incident, alert, digest, facts_of)
        self._count_the_rest(digest, facts_of)
        return did

    def write(self) -> None:
        """Write alert rows, facts and orders."""
        if self._rows:
            columns = [list(column) for column in zip(*self._rows, strict=True)]
            self._connection.execute(_STORE_ALERTS, columns)
        if self._entries:
            journal.append_all_in(self._connection, self._entries)
        self._placement.write()

    def incident_of(self, alert: Alert) -> str:
        """The incident of an alert that was taken now or before; empty when it has none."""
        return self._known.get(_event(alert), "")

    def _route(self, alert: Alert) -> Route:
        """The policy's answer, asked once for each alert object; the batch keeps them alive."""
        route = self._routes.get(id(alert))
        if route is None:
            route = self._routes[id(alert)] = self._policy.route(alert)
        return route

    def _precedence(self, alert: Alert) -> tuple[bool, bool, int]:
        """Within one delivery firing ones come first, causes before what they explain, worst first.

        So a resolved one finds its incident, an effect that of its cause, and of those that have
        facts of their own none is less urgent than one that is only counted.
        """
        route = self._route(alert)
        resolved = alert.status is AlertStatus.RESOLVED
        return resolved, bool(route.caused_by), _assessed(alert, route).severity.rank

    def _place(self, alert: Alert, did: Admitted) -> str:
        """The alert's incident. A resolved one opens none: without its firing it has none yet."""
        if alert.status is AlertStatus.RESOLVED:
            return self._known.get(_event(alert, AlertStatus.FIRING), "")
        route = self._route(alert)
        placed = self._placement.place(alert, route, _assessed(alert, route), self._received_at)
        if placed.opened:
            did.opened.append(placed.incident)
        elif placed.incident not in {*did.opened, *did.joined}:
            did.joined.append(placed.incident)
        return placed.incident

    def _was_overtaken(self, alert: Alert) -> bool:
        """Whether the resolved of this firing one came before it, and so has no incident yet."""
        firing = alert.status is AlertStatus.FIRING
        return firing and self._known.get(_event(alert, AlertStatus.RESOLVED)) == ""

    def _adopt(self, incident: str, alert: Alert, digest: bytes, facts_of: dict[str, int]) -> None:
        resolved = replace(alert, status=AlertStatus.RESOLVED)
        event = _event(resolved)
        self._known[event] = incident
        self._rows = [  # if it came with this batch, its row is still ours to write
            (*row[:3], incident, row[4]) if row[:3] == event else row for row in self._rows
        ]
        self._connection.execute(_ADOPT, (incident, alert.fingerprint, alert.starts_at))
        self._record(incident, resolved, digest, facts_of)

    def _record(self, incident: str, alert: Alert, digest: bytes, facts_of: dict[str, int]) -> None:
        facts_of[incident] = facts_of.get(incident, 0) + 1
        if facts_of[incident] > _FACTS_PER_INCIDENT:
            return
        route = self._route(alert)
        assessed = _assessed(alert, route)
        data = {
            "fingerprint": alert.fingerprint,
            "status": alert.status.value,
            "name": alert.name,
            "labels": _bounded(alert.labels),
            "annotations": _bounded(alert.annotations),
            "starts_at": alert.starts_at.isoformat(),
            "notification": digest.hex(),
            "received_at": self._received_at.isoformat(),
            "severity": assessed.severity.value,
            "rule": assessed.rule,
            "reason": assessed.reason,
            "approvers": route.approvers,
            "closes_on_resolve": route.closes_on_resolve,
        }
        key = f"alert:{alert.fingerprint}:{data['starts_at']}:{data['status']}"
        self._entries.append(Entry(incident, FactKind.ALERT_RECEIVED, data, key=key))

    def _count_the_rest(self, digest: bytes, facts_of: dict[str, int]) -> None:
        for incident, alerts in facts_of.items():
            rest = alerts - _FACTS_PER_INCIDENT
            if rest > 0:
                text = f"{rest} more alerts of notification {digest.hex()} joined"
                self._entries.append(Entry(incident, FactKind.NOTE, {"text": text}))
