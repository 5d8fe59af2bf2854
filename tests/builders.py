"""Builders of facts: pieces of a journal as the flows would have written it, without them.

`tests.story` puts them together to a whole incident.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backups import Backup
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.ledger.verdicts import Code, Finding, Status, Verdict
from tasks.domain.plan import Plan
from tasks.domain.recovery_plan import plan_database_recovery
from tasks.domain.recovery_target import Target
from tasks.domain.restore import RestoreNumbers, database_names
from tasks.domain.restore_choice import Choice, choose

INCIDENT = "2026-03-14-0300-a1b2c3"
ALERT_AT = datetime(2026, 3, 14, 3, 0, 12, 250_000, tzinfo=UTC)
SIGNED = 50_000
BACKUP = 42_000
TABLE_ROWS = 50_611
LOST = 2


def digest(text: str) -> str:
    """A hex SHA-256 that looks like any other and is the same on every run."""
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


ROOT = digest("signed root")


class JournalBuilder:
    """Facts of one incident, `at` seconds after the alert; `seq` counts over the journal."""

    def __init__(
        self, incident: str = INCIDENT, start: datetime = ALERT_AT, first_seq: int = 118
    ) -> None:
        self.incident = incident
        self.start = start
        self.facts: list[Fact] = []
        self._seq = first_seq

    def add(
        self, at: float, kind: FactKind, data: Mapping[str, Any], actor: str = RUNBOOK
    ) -> "JournalBuilder":
        """One more fact; returns itself, so that a story reads as a list."""
        self.facts.append(
            Fact(self._seq, self.incident, self.start + timedelta(seconds=at), kind, actor, data)
        )
        self._seq += 1
        return self

    def incident_state(self) -> Incident:
        """The fold of the facts so far."""
        return fold(self.incident, self.facts)


def tampered_verdict(findings: Sequence[Finding] | None = None, signed: int = SIGNED) -> Verdict:
    """What the integrity check says of the demo's table after a superuser was in it."""
    if findings is None:
        findings = (
            *(
                Finding(
                    Code.MODIFIED,
                    "table",
                    seq,
                    expected=digest(f"leaf {seq}"),
                    found=digest(f"forged {seq}"),
                    detail="leaf hash differs from the signed one",
                )
                for seq in (12_345, 12_346, 31_007)
            ),
            Finding(Code.DELETED, "table", 23_456, 4, expected=digest("leaf 23456")),
            Finding(Code.DELETED, "table", 44_102, 1, expected=digest("leaf 44102")),
            Finding(
                Code.UNSIGNED_TAIL, "table", signed, TABLE_ROWS - signed, detail="newer than head"
            ),
        )
    return Verdict(
        status=Status.TAMPERED,
        source="table",
        records=TABLE_ROWS - 5,
        signed=signed,
        findings=tuple(findings),
        origin="rlhf-audit-trail",
        root=ROOT,
        seconds=0.6132,
        bytes=21_604_118,
    )


def diagnosis(verdict: Verdict) -> dict[str, Any]:
    """A diagnosed fact's data: the verdict, its findings bounded to the first hundred."""
    data = verdict.as_json()
    return data | {"findings": data["findings"][:100], "findings_total": len(data["findings"])}


def restore_plan(incident: str = INCIDENT, start: datetime = ALERT_AT) -> Plan:
    """The plan of the database recovery, as planned against the tampered table."""
    return plan_database_recovery(
        incident,
        Choice(Backup("database/2026-03-14T020000Z.dump", 9_120_455, digest("dump"), BACKUP)),
        database_names("rlhf_audit", incident),
        RestoreNumbers(
            from_backup=BACKUP,
            from_segments=SIGNED - BACKUP,
            unsigned_tail=TABLE_ROWS - SIGNED,
            size_after=TABLE_ROWS,
            lost_at_most=LOST,
        ),
        observed={"head": SIGNED, "root": ROOT, "rows": TABLE_ROWS - 5},
        expires_at=start + timedelta(minutes=60),
    )


def check_fact(
    step: str, component: str, health: str, summary: str, seconds: float, **evidence: Any
) -> dict[str, Any]:
    """A check-observed fact's data."""
    return {
        "step": step,
        "component": component,
        "health": health,
        "summary": summary,
        "seconds": seconds,
        "evidence": evidence,
    }


def alert_fact(**labels: str) -> dict[str, Any]:
    """An alert-received fact's data; labels override the audit-integrity alert's own."""
    named = {
        "alertname": "AuditTrailIntegrityFailure",
        "severity": "critical",
        "category": "audit",
        "service": "rlhf-audit-trail",
    } | labels
    return {
        "fingerprint": digest(named["alertname"])[:16],
        "status": "firing",
        "name": named["alertname"],
        "labels": named,
        "annotations": {"summary": "audit_log_integrity_check_passed is 0"},
        "starts_at": (ALERT_AT - timedelta(seconds=41)).isoformat(),
        "notification": digest("notification"),
        "received_at": ALERT_AT.isoformat(),
    }


def newest(backups: Iterable[Backup], head_size: int) -> Backup:
    """What is restored by default, when every backup is clean inside."""
    clean = Contents(Inside.CLEAN)
    return choose(Target(), backups, head_size, lambda _: clean, datetime.now(UTC)).backup
