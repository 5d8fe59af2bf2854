"""Which incident a firing alert belongs to, and the run that looks after it.

An alert joins the open incident of its group (the policy's component and labels) while that is
within the policy's window, else the open incident of a component that explains it, else it opens
one. Runs are ordered once however many alerts join: while one is ordered that nobody has begun, or
a plan is before a person and nothing worse has come, joining is enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alert import Alert
from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident
from tasks.domain.policy import DPO_CLOCK, DPO_LIMIT, Route, RoutingPolicy
from tasks.domain.routes import CAUSE_WINDOW
from tasks.domain.severity import Assessment, Severity
from tasks.work import incidents, journal
from tasks.work.incidents import OpenIncident
from tasks.work.journal import Entry

_PAUSE = timedelta(seconds=10)
"""Between two runs of an incident that alerts keep joining; a more urgent one does not wait."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an alert went, and whether its incident was opened for it."""

    incident: str
    opened: bool


@dataclass(slots=True)
class _Joined:
    """What has to be looked at, once per batch, for an incident that alerts have joined."""

    alert: Alert
    assessed: Assessment


def terms_of(route: Route, policy: str) -> dict[str, Any]:
    """What an incident of this route is opened with; `policy` is the digest of its policy."""
    return {
        "owner": route.owner,
        "remedy": route.remedy.value,
        "approvers": route.approvers,
        "closes_on_resolve": route.closes_on_resolve,
        "cooldown_minutes": route.cooldown.total_seconds() / 60,
        "route": route.name,
        "policy": policy,
    }


def dpo_clock(incident: str, route: Route, began: datetime) -> Entry:
    """The fact that starts "Notify DPO within 1 hour"; once per incident."""
    data = dpo_clock_of(route.title, began)
    return Entry(incident, FactKind.CLOCK_STARTED, data, key=f"clock:{DPO_CLOCK}")


def dpo_clock_of(why: str, began: datetime) -> dict[str, str]:
    """What such a fact says. `began`: when we were told, which may be long before it is written."""
    return {
        "clock": DPO_CLOCK,
        "began": began.isoformat(),
        "due": (began + DPO_LIMIT).isoformat(),
        "recipient": "dpo",
        "reason": f"{why}: notify the DPO within one hour",
    }


class Placement:
    """The open incidents as one transaction sees them; it must hold the journal's lock."""

    def __init__(
        self, connection: Connection[TupleRow], now: datetime, policy: RoutingPolicy
    ) -> None:
        self._connection = connection
        self._now = now
        self._policy = policy
        self._by_group: dict[str, OpenIncident] = {}
        self._by_component: dict[str, OpenIncident] = {}
        self._joined: dict[str, _Joined] = {}
        self._entries: list[Entry] = []

    def look(self, routes: Iterable[Route]) -> None:
        """Read the open incidents of these routes' components, their causes and effects."""
        wanted = {name for route in routes for name in (route.component, *route.caused_by)}
        wanted.update(*(self._effects_of(component) for component in tuple(wanted)))
        if not wanted:
            return
        for known in incidents.open_of_components(self._connection, wanted):
            self._by_group[known.group_key] = known
            self._by_component[known.component] = known

    def place(
        self, alert: Alert, route: Route, assessed: Assessment, received_at: datetime
    ) -> Placed:
        """The incident of a firing alert; opened, with its run ordered, when there is none."""
        known = self._find(route)
        if known is None:
            incident = self._open(route, assessed.severity)
            placed = Placed(incident, opened=True)
        else:
            known.newest_alert_at = self._now
            placed = Placed(known.incident, opened=False)
        self._join(placed.incident, alert, assessed)
        if route.starts_dpo_clock:
            self._entries.append(dpo_clock(placed.incident, route, received_at))
        return placed

    def write(self) -> None:
        """Write the clocks, and order the runs that the placed alerts need."""
        if self._joined:
            self._look_after()
        if self._entries:
            journal.append_all_in(self._connection, self._entries)

    def _look_after(self) -> None:
        """An order that nobody has begun sees all there is, and need only be urgent enough."""
        incidents.note_firing_in(self._connection, self._joined, self._now)
        waiting = incidents.with_order_not_begun(self._connection, self._joined)
        urgency = {name: self._joined[name].assessed.severity.rank for name in sorted(waiting)}
        if urgency:
            incidents.hurry_in(self._connection, urgency)
        for name, joined in self._joined.items():
            if name not in waiting:
                self._order_another_run(name, joined)

    def _find(self, route: Route) -> OpenIncident | None:
        own = self._by_group.get(route.group_key)
        if own is not None and self._is_within(own, route):
            return own
        for component in route.caused_by:
            cause = self._by_component.get(component)
            if cause is not None and self._now - cause.newest_alert_at <= CAUSE_WINDOW:
                return cause
        return None

    def _is_within(self, known: OpenIncident, route: Route) -> bool:
        return not route.window or self._now - known.newest_alert_at <= route.window

    def _open(self, route: Route, severity: Severity) -> str:
        incident = incidents.open_in(
            self._connection,
            route.title,
            route.component,
            route.procedure,
            cause="alert",
            group_key=route.group_key,
            terms=terms_of(route, self._policy.digest),
        )
        incidents.enqueue_in(
            self._connection,
            incident,
            incidents.INCIDENT,
            f"{incident}:1",
            priority=severity.rank,
            component=route.component,
            cap=route.max_responses,
        )
        for effect in self._effects_of(route.component):
            if (explained := self._by_component.get(effect)) is not None:
                text = {"text": f"{incident} ({route.component}) may explain this incident"}
                key = f"cause:{incident}"
                self._entries.append(Entry(explained.incident, FactKind.NOTE, text, key=key))
        opened = OpenIncident(incident, route.group_key, route.component, self._now)
        self._by_group[route.group_key] = self._by_component[route.component] = opened
        return incident

    def _effects_of(self, component: str) -> set[str]:
        """Components that an incident of this one may explain."""
        routes = (rule.route for rule in self._policy.rules)
        return {route.component for route in routes if component in route.caused_by}

    def _join(self, incident: str, alert: Alert, assessed: Assessment) -> None:
        joined = self._joined.get(incident)
        if joined is None or assessed.severity < joined.assessed.severity:
            self._joined[incident] = _Joined(alert, assessed)

    def _order_another_run(self, incident: str, joined: _Joined) -> None:
        """An incident whose runs are over, or do not know of this, must not make its alerts deaf.

        What is worse than all before is assigned at once: escalation waits for no run.
        """
        state = self._state(incident)
        severity = joined.assessed.severity
        stands = state.severity if state is not None else None
        is_worse = stands is not None and severity < stands
        event = f"{joined.alert.fingerprint}:{joined.alert.starts_at.isoformat()}"
        if is_worse:
            data = {
                "severity": severity.value,
                "rule": joined.assessed.rule,
                "reason": joined.assessed.reason,
            }
            key = f"severity:alert:{event}"
            self._entries.append(Entry(incident, FactKind.SEVERITY_ASSIGNED, data, key=key))
        waits = state is not None and standing(state, self._now) is Standing.WAITING
        if waits and not is_worse:
            return
        incidents.enqueue_in(
            self._connection,
            incident,
            incidents.INCIDENT,
            f"{incident}:alert:{event}",
            priority=severity.rank,
            after_seconds=0.0 if is_worse or stands is None else self._pause(state),
        )

    def _state(self, incident: str) -> Incident | None:
        """None when it cannot be read: the alert is stored all the same, and the run says why."""
        try:
            return journal.read_without_alerts_in(self._connection, incident)
        except BadInput:
            return None

    def _pause(self, state: Incident | None) -> float:
        started = [
            fact.at for fact in (state.facts if state else ()) if fact.kind is FactKind.RUN_STARTED
        ]
        return max(0.0, (max(started) + _PAUSE - self._now).total_seconds()) if started else 0.0
