"""Incidents as the flows would have journaled them, in our own database, and people who log in."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.plan import Plan, PlanStep
from tasks.work import incidents, journal, people, responder
from tests import story
from tests.builders import JournalBuilder, tampered_verdict

DESTROYS = "the unsigned tail of audit_records, 18 rows"


def tell(
    incident: str, kind: FactKind, data: Mapping[str, Any] | None = None, actor: str = RUNBOOK
) -> None:
    journal.append(incident, kind, data or {}, actor=actor)


def opened(title: str = "API: slow", component: str = "api", by: str = RUNBOOK) -> str:
    with incidents.durably() as connection:
        return incidents.open_in(connection, title, component, "api_service", "alert", actor=by)


def alerted(incident: str, **labels: str) -> None:
    named = {"alertname": "HighResponseTime", "severity": "warning"} | labels
    data = {
        "fingerprint": f"{abs(hash(tuple(named.items()))):016x}"[:16],
        "status": "firing",
        "name": named["alertname"],
        "labels": named,
        "annotations": {"summary": "p95 is 4.2 s", "runbook_url": "javascript:alert(1)"},
        "starts_at": (datetime.now(UTC) - timedelta(minutes=3)).isoformat(),
        "notification": "0" * 64,
    }
    tell(incident, FactKind.ALERT_RECEIVED, data)


def graded(incident: str, severity: str, reason: str = "seen by a check") -> None:
    data = {"severity": severity, "rule": "class.p1.api-errors", "reason": reason}
    tell(incident, FactKind.SEVERITY_ASSIGNED, data)


def planned(
    incident: str,
    *,
    needed: int = 1,
    valid_for: timedelta = timedelta(minutes=42),
    observed: Mapping[str, Any] | None = None,
    destroys: str = DESTROYS,
) -> Plan:
    plan = Plan(
        incident=incident,
        procedure="audit_trail",
        summary="Restore rlhf_audit beside production from last night's dump, then swap by rename",
        steps=(
            PlanStep(
                "recovery.db.restore",
                "restore database/2026-03-14T020000Z.dump into a new database and prove the root",
                "database/rlhf_audit_restored",
                "nothing",
            ),
            PlanStep(
                "recovery.db.swap",
                "hold writers still, rename rlhf_audit away and the restored database in its place",
                "database/rlhf_audit",
                destroys,
            ),
        ),
        observed=observed or {"production_oid": 16402, "backup": "2026-03-14T020000Z.dump"},
        will_be_lost="18 unsigned records newer than the signed head (a signed list says which)",
        expires_at=datetime.now(UTC) + valid_for,
        approvers_needed=needed,
    )
    tell(incident, FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})
    lines = ["3 backups found, 0 of them unusable", "would restore 42000 records from the backup"]
    tell(incident, FactKind.DRY_RUN, {"hash": plan.hash, "lines": lines})
    return plan


def tampered() -> str:
    """Alert, triage, P0, hold and evidence of the audit trail; no plan yet."""
    with incidents.durably() as connection:
        incident = incidents.open_in(
            connection,
            "Audit trail: integrity verification failed",
            "audit-trail",
            "audit_trail",
            "alert",
        )
    told = JournalBuilder(incident, datetime.now(UTC))
    story._triage(told)
    story._preservation(told, tampered_verdict())
    for fact in told.facts:
        if fact.kind is not FactKind.OPENED:
            tell(incident, fact.kind, fact.data, fact.actor)
    return incident


def closed(title: str = "Cache: down", component: str = "cache") -> str:
    incident = opened(title, component)
    graded(incident, "P2")
    tell(incident, FactKind.CLOSED, {"outcome": "restored", "summary": "it answers again"})
    return incident


def token(name: str, role: str) -> str:
    return people.add_person(name, role, timedelta(hours=1))


def state_of(incident: str) -> Incident:
    return journal.read(incident)


def resumptions() -> int:
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT count(*) FROM dispatches WHERE deployment = 'resume'"
        ).fetchone()
    assert row is not None
    return int(row[0])
