"""Whether a person has taken notice of an incident, and when."""

from datetime import datetime

from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident

ACKNOWLEDGED = "acknowledged"
"""Key of a NOTE fact's data by which a person says: I have seen it."""


def acknowledged_at(incident: Incident) -> datetime | None:
    """When a person first took notice: by acknowledging, taking the lead or deciding."""
    return next((fact.at for fact in incident.facts if acknowledges(fact)), None)


def acknowledges(fact: Fact) -> bool:
    """Whether a person takes notice by it; the one measure of clocks, escalation and figures."""
    return fact.actor != RUNBOOK and (
        fact.kind in {FactKind.PLAN_DECIDED, FactKind.LEAD_TAKEN}
        or (fact.kind is FactKind.NOTE and fact.data.get(ACKNOWLEDGED) is True)
    )
