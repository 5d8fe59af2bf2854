"""Quarantine: what an authenticated sender sent and nobody could understand, bounded."""

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.alertmanager import clean
from tasks.domain.facts import FactKind
from tasks.domain.policy import TRIAGE
from tasks.domain.severity import Assessment, Severity
from tasks.work import incidents, journal, own_alerts, responder

PREFIX_BYTES = 64 * 1024
_ROWS = 1000

COMPONENT = "alerting"
"""The component of the incident that says that something was not understood."""

GROUP = f"{COMPONENT}/quarantine"
"""Its group: no other incident of the component, such as one that closes itself, takes it in."""

TITLE = "Notifications that nobody could understand"

RUN_EVERY = timedelta(minutes=10)
"""At least so long between two runs, each of which tells people, however much comes."""

_LABELS = {"alertname": "NotificationsNotUnderstood", "category": COMPONENT}
_ASSESSED = Assessment(Severity.P2, "class.severity", "what was not understood may be an alert")

_LAST_RUN = "SELECT max(at) FROM journal WHERE incident = %s AND kind = 'run started'"

_KEPT_THIS_MINUTE = """
SELECT received_at >= date_trunc('minute', clock_timestamp())
  FROM quarantine ORDER BY id DESC LIMIT 1
"""


def keep(reason: str, size: int, prefix: bytes) -> None:
    """Keep the beginning of what was authenticated but not understood, newest thousand only.

    It opens an incident, or is noted in the open one: once a minute, however many come. People are
    told by a run, once in ten minutes. Raises Transient when the database cannot be reached.
    """
    with incidents.durably() as connection:
        keep_in(connection, reason, size, prefix)


def keep_in(connection: Connection[TupleRow], reason: str, size: int, prefix: bytes) -> None:
    """As `keep`, inside the caller's transaction."""
    reason = clean(reason)
    told = connection.execute(_KEPT_THIS_MINUTE).fetchone()
    connection.execute(
        "INSERT INTO quarantine (reason, size, prefix) VALUES (%s, %s, %s)",
        (reason, size, prefix[:PREFIX_BYTES]),
    )
    connection.execute(
        "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - %s", (_ROWS,)
    )
    if told is None or not told[0]:
        journal.lock(connection)
        _tell_in(connection, reason, datetime.now(UTC))


def _tell_in(connection: Connection[TupleRow], reason: str, now: datetime) -> None:
    known = incidents.open_of_components(connection, [COMPONENT])
    incident = next((one.incident for one in known if one.group_key == GROUP), None)
    order, pause = f"quarantined:{now.isoformat()}", timedelta()
    if incident is None:
        incident = incidents.open_in(
            connection, TITLE, COMPONENT, TRIAGE, cause="alert", group_key=GROUP
        )
        order = "1"
    else:
        text = {"text": f"seen again: {TITLE}"}
        key = f"quarantined:{now:%Y-%m-%dT%H:%M}"  # of several at once, one notes it
        journal.append_in(connection, incident, FactKind.NOTE, text, key=key)
        if incidents.with_order_not_begun(connection, [incident]):
            return
        pause = max(timedelta(), RUN_EVERY - (now - _last_run(connection, incident, now)))
    annotations = {"summary": reason}
    alert = Alert("responder:quarantine", AlertStatus.FIRING, now, _LABELS, annotations)
    own_alerts.record_in(connection, incident, alert, _ASSESSED, now)
    incidents.enqueue_in(
        connection,
        incident,
        incidents.INCIDENT,
        f"{incident}:{order}",
        priority=_ASSESSED.severity.rank,
        component=COMPONENT,
        after_seconds=pause.total_seconds(),
    )


def _last_run(connection: Connection[TupleRow], incident: str, now: datetime) -> datetime:
    """When a run last began to look at it; `now` while the first is about to."""
    row = connection.execute(_LAST_RUN, (incident,)).fetchone()
    return now if row is None or row[0] is None else row[0]


def newest(limit: int = 10) -> tuple[int, list[dict[str, Any]]]:
    """How much is in quarantine, and the newest of it: received_at, reason, size, begins."""
    with responder.connection() as connection:
        count = connection.execute("SELECT count(*) FROM quarantine").fetchone()
        rows = connection.execute(
            "SELECT received_at, reason, size, substring(prefix FOR 200) FROM quarantine"
            " ORDER BY id DESC LIMIT %s",
            (limit,),
        ).fetchall()
    shown: list[dict[str, Any]] = [
        {
            "received_at": at.astimezone(UTC).isoformat(),
            "reason": reason,
            "size": size,
            "begins": clean(begins.decode(errors="replace")),
        }
        for at, reason, size, begins in rows
    ]
    return (count[0] if count else 0), shown
