"""Prometheus's HTTP API (v1)."""

from dataclasses import dataclass
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Malformed
from tasks.settings import MetricsSettings

NOBODYS_TROUBLE = "none"
"""Severity of alerts like the Watchdog, which fire to show that alerting works."""


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that Prometheus says is firing; texts are hostile input."""

    name: str
    severity: str
    category: str
    active_at: str


def firing_alerts(metrics: MetricsSettings) -> list[FiringAlert]:
    """`GET /api/v1/alerts`, those in state firing, but for those that always fire."""
    answer = http.call(
        "GET",
        f"{metrics.prometheus_url}/api/v1/alerts",
        timeout_seconds=metrics.timeout_seconds,
    )
    try:
        return [
            FiringAlert(
                name=str(alert["labels"].get("alertname", "")),
                severity=str(alert["labels"].get("severity", "")),
                category=str(alert["labels"].get("category", "")),
                active_at=str(alert.get("activeAt", "")),
            )
            for alert in _listed(answer.value)
            if alert.get("state") == "firing" and alert["labels"].get("severity") != NOBODYS_TROUBLE
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"expected Prometheus's alerts, found {type(error).__name__}") from error


def _listed(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON of another system
    """The list in the answer: an object or text in its place must not look like "none"."""
    alerts = answer["data"]["alerts"]
    if not isinstance(alerts, list):
        raise TypeError(f"expected a list of alerts, found {type(alerts).__name__}")
    return alerts
