"""Incidents with a plan before people, as a flow would have left them in the journal."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan, PlanStep
from tasks.work import approvals, incidents, journal
from tasks.work.people import Person, Role

TARGET = "database/rlhf_audit"
FIRST, SECOND = "recovery.db.restore", "recovery.db.swap"
OBSERVED = {"production_oid": 16_400, "signed_root": "ab" * 32}
BEA = Person("bea", Role.APPROVER)
CARL = Person("carl", Role.APPROVER)


def propose(plan: Plan) -> Plan:
    """The plan stands now, in place of an earlier one."""
    data = {"plan": plan.as_json(), "hash": plan.hash, "expires_at": plan.expires_at.isoformat()}
    journal.append(plan.incident, FactKind.PLAN_PROPOSED, data)
    return plan


def proposed(
    *,
    opened_by: str = "anna",
    valid_for: float = 3600,
    approvers_needed: int = 1,
    procedure: str = "audit_trail",
    terms: Mapping[str, Any] | None = None,
) -> Plan:
    """A new incident's plan of two steps; `valid_for` in seconds."""
    with incidents.durably() as connection:
        incident = incidents.open_in(
            connection, "tampered", "audit-trail", procedure, "person", opened_by, terms=terms
        )
    steps = tuple(PlanStep(step, "change it", TARGET, "nothing") for step in (FIRST, SECOND))
    return propose(
        Plan(
            incident=incident,
            procedure="database_recovery",
            summary="mend it",
            steps=steps,
            observed=OBSERVED,
            will_be_lost="nothing",
            expires_at=datetime.now(UTC) + timedelta(seconds=valid_for),
            approvers_needed=approvers_needed,
        )
    )


def replaced(plan: Plan) -> Plan:
    """Another plan of the same incident, which stands now."""
    return propose(replace(plan, summary="mend it otherwise"))


def approved(terms: Mapping[str, Any] | None = None) -> Plan:
    """A new incident's plan that one person has approved."""
    plan = proposed(terms=terms)
    approvals.decide(plan.incident, plan.hash, "approved", BEA, "go on")
    return plan
