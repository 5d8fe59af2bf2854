"""PagerDuty: pages by the Events API v2, and who is on call by the REST API.

An event is taken with 202; 400 says that it is malformed, 429 that there are too many. The same
`dedup_key` is the same alert, so sending an event again does no harm. Facts: PagerDuty's
developer documentation, "Events API v2" and "List all of the on-calls".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.clients import http
from tasks.clients.errors import Denied, Malformed
from tasks.domain.severity import Severity
from tasks.sections.communication import PagerDutySettings

_ACCEPTED = frozenset({202})
_SUMMARY_LIMIT = 1024
_KEY_LIMIT = 255
_SEVERITIES: Mapping[Severity, str] = {
    Severity.P0: "critical",
    Severity.P1: "error",
    Severity.P2: "warning",
    Severity.P3: "info",
}


@dataclass(frozen=True, slots=True)
class OnCall:
    """Somebody on call: PagerDuty's id of the user, and the name that it shows."""

    user: str
    name: str
    level: int


def trigger(
    pagerduty: PagerDutySettings, key: str, summary: str, severity: Severity, component: str
) -> str:
    """Page; what has been triggered with this key already is the same page. The key, as receipt."""
    payload = {
        "summary": summary[:_SUMMARY_LIMIT],
        "source": "rlhf-audit-trail",
        "severity": _SEVERITIES[severity],
        "component": component,
    }
    return _send(pagerduty, "trigger", key, {"payload": payload})


def acknowledge(pagerduty: PagerDutySettings, key: str) -> str:
    """Somebody works on it: PagerDuty stops calling."""
    return _send(pagerduty, "acknowledge", key, {})


def resolve(pagerduty: PagerDutySettings, key: str) -> str:
    """It is over."""
    return _send(pagerduty, "resolve", key, {})


def on_calls(pagerduty: PagerDutySettings, schedule: str, at: datetime) -> tuple[OnCall, ...]:
    """Who is on call by a schedule at that moment, the lowest escalation level first.

    Raises Transient, Denied, NotFound or Malformed.
    """
    moment = at.isoformat()
    answer = http.call(
        "GET",
        f"{pagerduty.api_url}/oncalls",
        timeout_seconds=pagerduty.timeout_seconds,
        token=pagerduty.api_token,
        scheme="Token token=",
        params={"schedule_ids[]": schedule, "since": moment, "until": moment, "limit": 100},
    )
    try:
        found = [_on_call(entry) for entry in answer.value["oncalls"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(
            f"expected PagerDuty's on-calls, found something else: {error!r}"
        ) from error
    return tuple(sorted(found, key=lambda one: one.level))


def _on_call(entry: Mapping[str, Any]) -> OnCall:
    user = entry["user"]
    return OnCall(str(user["id"]), str(user["summary"]), int(entry["escalation_level"]))


def _send(pagerduty: PagerDutySettings, action: str, key: str, more: Mapping[str, Any]) -> str:
    routing_key = pagerduty.routing_key.get_secret_value()
    event = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": key[:_KEY_LIMIT],
        **more,
    }
    answer = http.call(
        "POST",
        f"{pagerduty.events_url}/v2/enqueue",
        timeout_seconds=pagerduty.timeout_seconds,
        json_body=event,
        accept=_ACCEPTED | {400},
    )
    value = answer.value if isinstance(answer.value, dict) else {}
    if answer.status in _ACCEPTED:
        return str(value.get("dedup_key", key))
    said = str(value.get("errors") or value.get("message") or "").replace(routing_key, "***")
    if "routing_key" in said:
        raise Denied(
            "expected PagerDuty to know our routing key, found it refused: check "
            "RUNBOOK_PAGERDUTY__ROUTING_KEY"
        )
    raise Malformed(f"expected PagerDuty to take the event {action}, found {said[:200]}")
