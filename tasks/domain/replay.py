"""What recorded alerts would have started under a policy: reckoned from the rules alone.

This is a reckoning of its own, which shares nothing with the intake but the policy: the intake's
answers are held against it. It takes alerts in the order in which they came and knows no other
time than their startsAt: an incident's age, for the policy's window and as a cause of others, is
that of its newest firing alert.
An incident that ends by itself ends when all its alerts have resolved; one that a person must
close stays open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.policy import Route, RoutingPolicy
from tasks.domain.routes import CAUSE_WINDOW, decision
from tasks.domain.severity import Severity, assess_routed

Event = tuple[str, datetime]
"""An alert's fingerprint and startsAt: one episode of its firing."""


@dataclass(slots=True)
class Reckoned:
    """An incident that would have been opened, and the alerts that would have joined it."""

    number: int
    route: Route
    severity: Severity
    started_at: datetime
    newest_at: datetime
    alerts: dict[Event, str] = field(default_factory=dict)
    firing: set[Event] = field(default_factory=set)
    is_open: bool = True

    @property
    def names(self) -> list[str]:
        """The alerts' names, each once, in the order in which they came."""
        return list(dict.fromkeys(self.alerts.values()))

    def as_json(self) -> dict[str, Any]:
        """For programs: the terms on which it was opened, and what is in it."""
        return {
            "number": self.number,
            "started_at": self.started_at.isoformat(),
            "open": self.is_open,
            **decision(self.route, self.severity),
            "alerts": [
                {"name": name, "fingerprint": fingerprint, "starts_at": starts_at.isoformat()}
                for (fingerprint, starts_at), name in self.alerts.items()
            ],
        }


class Replay:
    """A policy, and what it has made of the alerts so far."""

    def __init__(self, policy: RoutingPolicy) -> None:
        self._policy = policy
        self._seen: dict[tuple[Event, AlertStatus], Reckoned | None] = {}
        self._open: dict[str, dict[int, Reckoned]] = {}
        self.incidents: list[Reckoned] = []
        self.duplicates = 0
        self.heartbeats = 0
        self.astray = 0
        """Resolved alerts whose firing was never seen."""

    def take(self, alerts: Iterable[Alert]) -> None:
        """The alerts of one notification: firing ones first, then causes, then the most urgent."""
        for alert, route in sorted(
            ((alert, self._policy.route(alert)) for alert in alerts),
            key=lambda routed: _precedence(*routed),
        ):
            event = (alert.fingerprint, alert.starts_at)
            if route.heartbeat:
                self.heartbeats += 1
            elif (event, alert.status) in self._seen:
                self.duplicates += 1
            elif alert.status is AlertStatus.FIRING:
                self._fire(alert, route, event)
            else:
                self._resolve(event)

    def incident_of(self, event: Event) -> Reckoned | None:
        """Where an alert that fired went."""
        return self._seen.get((event, AlertStatus.FIRING))

    def _fire(self, alert: Alert, route: Route, event: Event) -> None:
        severity = _severity(alert, route)
        incident = self._open_one(alert, route)
        if incident is None:
            incident = Reckoned(
                number=len(self.incidents) + 1,
                route=route,
                severity=severity,
                started_at=alert.starts_at,
                newest_at=alert.starts_at,
            )
            self.incidents.append(incident)
            for key in _keys(incident.route):
                self._open.setdefault(key, {})[incident.number] = incident
        incident.severity = incident.severity.worst(severity)
        incident.newest_at = max(incident.newest_at, alert.starts_at)
        incident.alerts[event] = alert.name
        self._seen[event, AlertStatus.FIRING] = incident
        if (event, AlertStatus.RESOLVED) in self._seen:  # it was overtaken
            self.astray -= 1
            self._close_when_over(incident)
        else:
            incident.firing.add(event)

    def _resolve(self, event: Event) -> None:
        incident = self._seen[event, AlertStatus.RESOLVED] = self.incident_of(event)
        if incident is None:
            self.astray += 1
            return
        incident.firing.discard(event)
        self._close_when_over(incident)

    def _open_one(self, alert: Alert, route: Route) -> Reckoned | None:
        """The newest open incident of the group; else that of the first cause that explains it."""
        own = self._newest(_group(route.group_key))
        if own is not None and (
            not route.window or alert.starts_at - own.newest_at <= route.window
        ):
            return own
        causes = (self._newest(_component(cause)) for cause in route.caused_by)
        return next(
            (
                cause
                for cause in causes
                if cause is not None and alert.starts_at - cause.newest_at <= CAUSE_WINDOW
            ),
            None,
        )

    def _newest(self, key: str) -> Reckoned | None:
        return next(reversed(self._open.get(key, {}).values()), None)

    def _close_when_over(self, incident: Reckoned) -> None:
        if incident.is_open and incident.route.closes_on_resolve and not incident.firing:
            incident.is_open = False
            for key in _keys(incident.route):
                del self._open[key][incident.number]


def expected_incidents(policy: RoutingPolicy, alerts: Iterable[Alert]) -> dict[str, set[Event]]:
    """Which alerts belong together: those that fired, by the group key of their incident.

    A group that the policy's window divides counts as one here.
    """
    replay = Replay(policy)
    replay.take(alerts)
    together: dict[str, set[Event]] = {}
    for incident in replay.incidents:
        together.setdefault(incident.route.group_key, set()).update(incident.alerts)
    return together


def _precedence(alert: Alert, route: Route) -> tuple[bool, bool, int]:
    resolved = alert.status is AlertStatus.RESOLVED
    return resolved, bool(route.caused_by), _severity(alert, route).rank


def _severity(alert: Alert, route: Route) -> Severity:
    return assess_routed(alert, route.severity, route.name).severity


def _keys(route: Route) -> tuple[str, str]:
    return _group(route.group_key), _component(route.component)


def _group(key: str) -> str:
    return f"group {key}"


def _component(name: str) -> str:
    return f"component {name}"
