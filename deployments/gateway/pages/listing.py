"""The list of incidents: what waits for a person, what is open by urgency and age, and the rest."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from deployments.gateway.pages.alerts_view import AlertCount, count
from deployments.gateway.pages.plan_view import PlanView, plan_view
from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.approval import Standing
from tasks.domain.incident import Incident
from tasks.domain.untrusted import visible
from tasks.work.people import Person

_LAST = datetime.max.replace(tzinfo=UTC)
_WITHOUT = "P1"  # an incident without a severity yet climbs like a P1: see tasks.domain.escalation


@dataclass(frozen=True, slots=True)
class Row:
    """One incident of the list; `waiting` is its plan while that waits for a person."""

    id: str
    title: str
    component: str
    severity: str
    stage: str
    outcome: str
    opened_at: datetime | None
    closed_at: datetime | None
    lead: str
    acknowledged: bool
    held: bool
    resolved: bool
    alerts: AlertCount
    waiting: PlanView | None


def row_of(incident: Incident, person: Person, now: datetime) -> Row:
    """The incident in one line."""
    plan = plan_view(incident, person, now) if incident.closed_at is None else None
    return Row(
        id=incident.id,
        title=visible(incident.title, 200) or "Incident without a title",
        component=visible(incident.component, 120),
        severity=incident.severity.value if incident.severity else "",
        stage=incident.stage.value,
        outcome=visible(incident.outcome, 80),
        opened_at=incident.opened_at,
        closed_at=incident.closed_at,
        lead=visible(incident.lead, 120),
        acknowledged=acknowledged_at(incident) is not None,
        held=any(not hold.sealed for hold in incident.held()),
        resolved=incident.alerts_resolved_at is not None,
        alerts=count(incident),
        waiting=plan if plan is not None and plan.standing is Standing.WAITING else None,
    )


def shown_of(names: Sequence[str], pressing: Collection[str], limit: int) -> list[str]:
    """Of the open incidents, oldest first: every pressing one, and the newest up to the limit."""
    others = [name for name in names if name not in pressing]
    room = max(0, limit - (len(names) - len(others)))
    kept = set(others[len(others) - room :]) if room < len(others) else set(others)
    return [name for name in names if name in pressing or name in kept]


def by_urgency(rows: Iterable[Row]) -> list[Row]:
    """The most severe first, among equals the oldest."""
    return sorted(rows, key=lambda row: (row.severity or _WITHOUT, row.opened_at or _LAST, row.id))


def by_expiry(rows: Iterable[Row]) -> list[tuple[Row, PlanView]]:
    """The plans that wait for a person, the first to expire first."""
    waiting = [(row, row.waiting) for row in rows if row.waiting is not None]
    return sorted(waiting, key=lambda pair: pair[1].expires_at)
