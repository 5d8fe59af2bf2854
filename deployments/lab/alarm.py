"""How the alert of a demo reaches the gateway: through the real monitoring, where there is one.

Else, and when that takes too long, the demo sends what Alertmanager would have sent. Nothing is
doubled by that: a second alert about the same component joins the incident of the first.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

from deployments.lab.faults import Fault, notification
from deployments.lab.stack import Lab
from tasks.domain.facts import FactKind
from tasks.work import journal

_PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0


class Way(StrEnum):
    """By which way the first alert came."""

    MONITORING = "Prometheus and Alertmanager"
    DEMO = "the demo itself"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What reached the gateway first, and `seconds` from the damage until it was stored."""

    way: Way
    seconds: float
    why: str = ""

    def __str__(self) -> str:
        line = f"sent by {self.way}, {self.seconds:.1f} s after the damage"
        return f"{line}: {self.why}" if self.why else line


def raise_alarm(lab: Lab, fault: Fault, damaged: float) -> Alarm:
    """See to it that the gateway has an alert about the fault, done at `damaged` (monotonic)."""
    why = "Prometheus and Alertmanager are not both installed"
    if not fault.monitored:
        why = "the patient's own monitoring does not look at what is damaged"
    elif lab.alertmanager is not None:
        while time.monotonic() < damaged + _PATIENCE_SECONDS:
            if _has_come(fault.labels["alertname"]):
                return Alarm(Way.MONITORING, time.monotonic() - damaged)
            time.sleep(_POLL_SECONDS)
        why = f"nothing came from Alertmanager within {_PATIENCE_SECONDS:.0f} s"
    send(lab, notification(fault))
    return Alarm(Way.DEMO, time.monotonic() - damaged, why)


def _has_come(name: str) -> bool:
    """Whether an alert of this name is stored."""
    return any(
        fact.kind is FactKind.ALERT_RECEIVED and fact.data["name"] == name
        for fact in journal.facts_after(-1)
    )


def send(lab: Lab, body: Mapping[str, Any]) -> None:
    """Send a notification to the gateway, as Alertmanager would."""
    answer = httpx.post(
        f"{lab.gateway_url}/alerts",
        json=body,
        headers={"authorization": f"Bearer {lab.alert_token}"},
        timeout=_ANSWER_SECONDS,
        trust_env=False,
    )
    answer.raise_for_status()
