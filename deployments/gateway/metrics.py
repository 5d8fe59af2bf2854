"""What this gateway process has counted: prometheus_client's own counters and histograms.

Gauges that are true of the whole installation (queue, open incidents) are read from the database
when Prometheus asks: see `measuring`.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()
"""Ours alone: what libraries put into the default one is not shown."""

RECEIVED = Counter(
    "runbook_notifications_received_total",
    "Notifications that were sent to us with a token that counts.",
    registry=REGISTRY,
)
STORED = Counter(
    "runbook_notifications_stored_total",
    "Notifications on disk, by where.",
    ["where"],
    registry=REGISTRY,
)
DUPLICATE = Counter(
    "runbook_notifications_duplicate_total",
    "Notifications that were on disk already.",
    registry=REGISTRY,
)
QUARANTINED = Counter(
    "runbook_notifications_quarantined_total",
    "Notifications that nobody could understand.",
    registry=REGISTRY,
)
REFUSED = Counter(
    "runbook_notifications_refused_total",
    "Notifications that were not stored, by the status of the answer.",
    ["status"],
    registry=REGISTRY,
)
ALERTS = Counter("runbook_alerts_new_total", "Alert events that were new to us.", registry=REGISTRY)
INTAKE_SECONDS = Histogram(
    "runbook_intake_seconds",
    "From the first byte of a notification to its answer.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
STARTED = Counter(
    "runbook_dispatch_started_total",
    "Runs that were handed to a warm child, which then claims them.",
    registry=REGISTRY,
)
ENDED = Counter(
    "runbook_dispatch_ended_total",
    "Orders that are done, by how: failed and gave-up need a person.",
    ["result"],
    registry=REGISTRY,
)
_MINUTE, _HOUR = 60, 3600
_PEOPLE = (
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 24 * _HOUR, 72 * _HOUR),
)
TTA_SECONDS = Histogram(
    "runbook_tta_seconds",
    "From opening to the first word of a person. Every gateway counts every incident.",
    buckets=_PEOPLE,
    registry=REGISTRY,
)
TTR_SECONDS = Histogram(
    "runbook_ttr_seconds",
    "From opening to closing. Every gateway counts every incident.",
    buckets=_PEOPLE,
    registry=REGISTRY,
)
