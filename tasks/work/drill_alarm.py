"""A drill that did not pass, told as an alert of our own making.

Prometheus raises the same alert from our metrics. By the policy both go into one incident, so
whichever comes second joins: people are told at once, also where no Prometheus is, and once.
"""

from datetime import UTC, datetime

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.drills import DrillResult
from tasks.domain.severity import assess_routed
from tasks.work import incidents, journal, own_alerts, routing
from tasks.work.placement import Placement

ALERT = "RunbookDrillFailed"
"""Its name, as in deployments/prometheus/runbook-schedule-rules.yml."""


def tell(result: DrillResult) -> tuple[str, bool]:
    """The incident that the drill's result was told in; (id, whether it was opened for it)."""
    labels = {
        "alertname": ALERT,
        "severity": "high",
        "category": "responder",
        "choice": result.choice.value,
    }
    fingerprint = f"responder:drill:{result.choice.value}"  # Alertmanager's are 16 hex digits
    summary = {"summary": result.summary()}
    alert = Alert(fingerprint, AlertStatus.FIRING, result.at, labels, summary)
    policy = routing.current()
    route = policy.route(alert)
    assessed = assess_routed(alert, route.severity, route.name)
    now = datetime.now(UTC)
    with incidents.durably() as connection:
        journal.lock(connection)  # what is open at our look is open when we commit
        placement = Placement(connection, now, policy)
        placement.look([route])
        placed = placement.place(alert, route, assessed, now)
        own_alerts.record_in(connection, placed.incident, alert, assessed, now)
        placement.write()
    return placed.incident, placed.opened
