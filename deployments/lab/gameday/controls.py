"""Rounds in which nothing is broken: a response that changes something there has guessed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deployments.lab.alarm import send
from deployments.lab.damage import Damage
from deployments.lab.faults import Fault, notification
from deployments.lab.kubernetes.manifests import API
from deployments.lab.parts import Parts
from deployments.lab.stack import Lab

_API = {"category": "operational", "job": "rlhf-audit-trail-app"}
_FLAPS = 3
_FLAP_SECONDS = 1.0
_ROLLED_OUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Control:
    """`disturb` does something harmless and sends an alert about it.

    `alert` is its name.
    """

    name: str
    description: str
    alert: str
    disturb: Callable[[Lab], None]


def _alert(name: str, severity: str, **labels: str) -> dict[str, Any]:
    """A notification of an alert that no fault has brought about."""
    fault = Fault(
        name,
        "nothing is broken",
        {"alertname": name, "severity": severity, **labels},
        {"summary": f"{name} (nothing is broken)"},
        lambda _: Damage(),
    )
    return notification(fault)


def _resolved(body: dict[str, Any]) -> dict[str, Any]:
    ends = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    alerts = [{**each, "status": "resolved", "endsAt": ends} for each in body["alerts"]]
    return {**body, "status": "resolved", "alerts": alerts}


def harmless_alert(lab: Lab) -> None:
    """An alert about errors that no user sees: everything serves."""
    lab.cluster_life.gather_baseline()
    send(lab, _alert("HighErrorRate", "high", **_API))


def flapping_alert(lab: Lab) -> None:
    """An alert that fires and resolves, again and again, and is resolved in the end."""
    lab.cluster_life.gather_baseline()
    for _ in range(_FLAPS):
        body = _alert("DatabaseDown", "critical", category="infrastructure", job="postgres")
        send(lab, body)
        time.sleep(_FLAP_SECONDS)
        send(lab, _resolved(body))
        time.sleep(_FLAP_SECONDS)


def planned_rollout(lab: Lab) -> None:
    """A release that works is rolled out; somebody's threshold for latency is too low."""
    life = lab.cluster_life
    life.gather_baseline()
    _roll_out(lab)
    send(lab, _alert("HighResponseTime", "warning", **{**_API, "category": "performance"}))


def _roll_out(lab: Parts) -> None:
    life = lab.cluster_life
    made = life.roll_out("release 1.4.3 (planned)", image="registry.local/rlhf-audit-trail:1.4.3")
    life.until(
        lambda: (
            {each["metadata"]["labels"]["pod-template-hash"] for each in life.cluster.pods(API)}
            == {made}
        ),
        _ROLLED_OUT_SECONDS,
    )


CONTROLS = (
    Control(
        "harmless-alert", "an alert about errors that nobody sees", "HighErrorRate", harmless_alert
    ),
    Control(
        "flapping-alert",
        "an alert that fires and resolves three times",
        "DatabaseDown",
        flapping_alert,
    ),
    Control(
        "planned-rollout",
        "a release that works, and an alert just then",
        "HighResponseTime",
        planned_rollout,
    ),
)
