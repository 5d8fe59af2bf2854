"""The dead-man timer: alerts that always fire, and the incident that begins when none is heard.

Silence is treated as an alert of our own making, of the incident "alerting": it fires when the
silence is too long and resolves with the next beat, so timeline, severity and closing need no
rules of their own. Only a beat that came the whole way counts; asking Alertmanager is no beat.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alert_state import Sighting, Source
from tasks.domain.policy import TRIAGE, Remedy
from tasks.domain.severity import Assessment, Severity
from tasks.settings import settings
from tasks.work import alert_states, incidents, journal, own_alerts, responder, routing

COMPONENT = "alerting"
SILENT = "AlertingSilent"
"""Name of the alert that we make ourselves."""

_FINGERPRINT = "responder:alerting-silent"  # Alertmanager's are 16 hex digits
_LABELS: Mapping[str, str] = {"alertname": SILENT, "category": COMPONENT}
_ASSESSED = Assessment(
    Severity.P1, "class.severity", "while alerting is silent nothing else is noticed"
)

_BEAT = """
INSERT INTO heartbeats AS known (name, last_at) VALUES (%s, least(%s, clock_timestamp()))
    ON CONFLICT (name) DO UPDATE
   SET last_at = least(greatest(known.last_at, excluded.last_at), clock_timestamp())
"""
_LOOK = """
SELECT (SELECT max(last_at) FROM heartbeats),
       (SELECT max(starts_at) FROM alert_states
         WHERE fingerprint = %s AND resolved_at IS NULL)
"""


def beat_in(connection: Connection[TupleRow], name: str, at: datetime) -> None:
    """Record that an alert which must always fire was heard, never later than our database's clock.

    So a gateway whose clock is ahead does not keep everybody from noticing silence.
    A transaction that records several does so in the order of their names, or two would wait for
    each other.
    """
    connection.execute(_BEAT, (name, at))


def watch(started_at: datetime, now: datetime) -> str:
    """Begin, or end, the silence that is due at `now`; the incident it is about, else empty.

    `started_at` is when this gateway began to listen: what came before it could not hear.
    """
    minutes = settings().gateway.watchdog_minutes
    if not minutes:
        return ""
    limit = timedelta(minutes=minutes)
    with responder.connection() as connection:
        if not _is_due(*_look(connection), started_at, now, limit):
            return ""
    with incidents.durably() as connection:
        journal.lock(connection)  # and look again: another gateway may have come first
        beat, silent_since = _look(connection)
        if not _is_due(beat, silent_since, started_at, now, limit):
            return ""
        if silent_since is not None:
            return _end(connection, silent_since, now)
        return _begin(connection, _silent_from(beat, started_at), now, minutes)


def _look(connection: Connection[TupleRow]) -> tuple[datetime | None, datetime | None]:
    """When any of them was last heard, and since when a silence stands; None for never and none."""
    row = connection.execute(_LOOK, (_FINGERPRINT,)).fetchone()
    return (None, None) if row is None else (row[0], row[1])


def _is_due(
    beat: datetime | None,
    silent_since: datetime | None,
    started_at: datetime,
    now: datetime,
    limit: timedelta,
) -> bool:
    if silent_since is not None:  # a restart of ours ends no silence, only a beat does
        return beat is not None and beat > silent_since and now - beat < limit
    return now - _silent_from(beat, started_at) >= limit


def _silent_from(beat: datetime | None, started_at: datetime) -> datetime:
    return started_at if beat is None else max(started_at, beat)


def _begin(connection: Connection[TupleRow], since: datetime, now: datetime, minutes: int) -> str:
    incident = incidents.open_one_of(connection, COMPONENT)
    if incident is None:
        incident = incidents.open_in(
            connection,
            f"Alerting is silent: no Watchdog for {minutes} minutes",
            COMPONENT,
            TRIAGE,
            cause="alert",
            terms={
                "owner": _owner(),
                "remedy": Remedy.MANUAL.value,
                "closes_on_resolve": True,
            },
        )
    summary = f"no Watchdog was heard since {since:%Y-%m-%d %H:%M:%S} UTC: alerts may be lost"
    _record(connection, incident, AlertStatus.FIRING, since, now, summary)
    incidents.enqueue_in(
        connection,
        incident,
        incidents.INCIDENT,
        f"{incident}:silent:{since.isoformat()}",
        priority=Severity.P1.rank,
        component=COMPONENT,
    )
    return incident


def _owner() -> str:
    """Whom the policy names for the heartbeat; the on-call engineer where it has none."""
    routes = (rule.route for rule in routing.current().rules)
    return next((route.owner for route in routes if route.heartbeat), "on_call")


def _end(connection: Connection[TupleRow], since: datetime, now: datetime) -> str:
    row = connection.execute(
        "SELECT incident FROM alert_states WHERE fingerprint = %s AND starts_at = %s",
        (_FINGERPRINT, since),
    ).fetchone()
    incident = "" if row is None else str(row[0])
    summary = f"the Watchdog is heard again, {(now - since).total_seconds() / 60:.0f} minutes later"
    _record(connection, incident, AlertStatus.RESOLVED, since, now, summary)
    return incident


def _record(
    connection: Connection[TupleRow],
    incident: str,
    status: AlertStatus,
    since: datetime,
    now: datetime,
    summary: str,
) -> None:
    alert = Alert(_FINGERPRINT, status, since, _LABELS, {"summary": summary})
    own_alerts.record_in(connection, incident, alert, _ASSESSED, now)
    seen = Sighting(alert, incident, now, Source.HEARTBEAT)
    alert_states.observe_in(connection, [seen])
