"""Alerts of our own making: what Alertmanager cannot tell us, journaled as what it does tell.

So timeline, severity, telling and pages need no rules of their own for it.
"""

from datetime import datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alert import Alert
from tasks.domain.facts import FactKind
from tasks.domain.severity import Assessment
from tasks.work import journal


def record_in(
    connection: Connection[TupleRow],
    incident: str,
    alert: Alert,
    assessed: Assessment,
    now: datetime,
) -> None:
    """Record the alert among the incident's; once for its fingerprint, startsAt and status."""
    starts_at, status = alert.starts_at.isoformat(), alert.status.value
    data = {
        "fingerprint": alert.fingerprint,
        "status": status,
        "name": alert.name,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": starts_at,
        "received_at": now.isoformat(),
        "severity": assessed.severity.value,
        "rule": assessed.rule,
        "reason": assessed.reason,
    }
    key = f"alert:{alert.fingerprint}:{starts_at}:{status}"
    journal.append_in(connection, incident, FactKind.ALERT_RECEIVED, data, key=key)
