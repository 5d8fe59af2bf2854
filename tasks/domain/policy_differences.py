"""What two policies would have made differently of the same recorded alerts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.policy import RoutingPolicy
from tasks.domain.replay import Event, Reckoned, Replay

_NAME_OF_ROUTE = "route"  # a route that was only renamed decides the same


@dataclass(slots=True)
class Difference:
    """Alerts of one name about which the policies differ in one way: field -> (one's, other's)."""

    name: str
    fields: dict[str, tuple[Any, Any]]
    first: Event
    alerts: int = 0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        fingerprint, starts_at = self.first
        return {
            "name": self.name,
            "alerts": self.alerts,
            "first": {"fingerprint": fingerprint, "starts_at": starts_at.isoformat()},
            "fields": {field: list(pair) for field, pair in self.fields.items()},
        }


def differences(
    one: Replay,
    other: Replay,
    policies: tuple[RoutingPolicy, RoutingPolicy],
    alerts: Iterable[Alert],
) -> list[Difference]:
    """Alerts that would have been decided otherwise, or gone into another group's incident."""
    found: dict[tuple[str, str], Difference] = {}
    seen: set[Event] = set()
    for alert in alerts:
        event = (alert.fingerprint, alert.starts_at)
        if alert.status is not AlertStatus.FIRING or event in seen:
            continue
        seen.add(event)
        fields = _fields(
            policies[0].decide(alert) | {"incident": _group(one.incident_of(event))},
            policies[1].decide(alert) | {"incident": _group(other.incident_of(event))},
        )
        if fields:
            key = (alert.name, repr(fields))
            found.setdefault(key, Difference(alert.name, fields, event)).alerts += 1
    return list(found.values())


def only_in(one: Replay, other: Replay) -> list[Reckoned]:
    """Incidents of the one that the other has not, or not with exactly these alerts."""
    there = {frozenset(incident.alerts) for incident in other.incidents}
    return [incident for incident in one.incidents if frozenset(incident.alerts) not in there]


def _fields(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (value, other[name])
        for name, value in one.items()
        if name != _NAME_OF_ROUTE and value != other[name]
    }


def _group(incident: Reckoned | None) -> str:
    return "" if incident is None else incident.route.group_key
