"""Builders of facts and incidents: a journal as the flows would have written it, without them.

`full_incident()` is the whole story of tampered records, from the alert to the closing; tests
change one thing in it and look at what follows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.incident import Incident, fold
from tasks.domain.ledger.verdicts import Code, Finding, Status, Verdict
from tasks.domain.plan import Plan, PlanStep

INCIDENT = "2026-03-14-0300-a1b2c3"
ALERT_AT = datetime(2026, 3, 14, 3, 0, 12, 250_000, tzinfo=UTC)
DEMO_APPROVER = "demo approver (simulated)"
SIGNED = 50_000
BACKUP = 42_000
TABLE_ROWS = 50_611


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
    return Plan(
        incident=incident,
        procedure="database_recovery",
        summary="Restore rlhf_audit beside production, prove it, swap it in",
        steps=(
            PlanStep(
                "recovery.database.restore",
                "restore the backup and the sealed records after it into a scratch database",
                "database/rlhf_audit",
                "nothing",
            ),
            PlanStep(
                "recovery.database.swap",
                "rename: rlhf_audit to quarantine, the restored database to rlhf_audit",
                "database/rlhf_audit",
                "nothing; sessions are ended, the old database is kept",
            ),
        ),
        observed={"head": SIGNED, "root": ROOT, "rows": TABLE_ROWS - 5},
        will_be_lost="nothing that was signed; unsigned rows whose chain does not verify",
        expires_at=start + timedelta(minutes=60),
    )


def _check(
    step: str, component: str, health: str, summary: str, seconds: float, **evidence: Any
) -> dict[str, Any]:
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


def _triage(journal: JournalBuilder) -> None:
    add = journal.add
    add(0.0, FactKind.ALERT_RECEIVED, alert_fact())
    add(
        0.01,
        FactKind.OPENED,
        {
            "title": "AuditTrailIntegrityFailure",
            "component": "audit",
            "procedure": "audit_trail",
            "cause": "alert",
            "simulated": True,
        },
    )
    add(0.2, FactKind.RUN_STARTED, {"flow_run": digest("run")[:32], "attempt": 1})
    add(
        0.31,
        FactKind.SEVERITY_ASSIGNED,
        {
            "severity": "P1",
            "rule": "class.p1.audit-integrity",
            "reason": "an alert about the integrity of the audit trail",
        },
    )
    for at, check in (
        (
            0.42,
            _check(
                "triage.api-health", "api", "Healthy", "GET /health: 200, ok", 0.021, status=200
            ),
        ),
        (0.44, _check("triage.database", "database", "Healthy", "accepts connections", 0.034)),
        (0.47, _check("triage.cache", "cache", "Healthy", "PING: PONG", 0.008)),
        (
            0.51,
            _check("triage.alerts", "metrics", "Unknown", "no Prometheus is configured", 0.0),
        ),
        (
            0.83,
            _check(
                "audit.diagnosis.integrity",
                "audit",
                "Failed",
                "the API's own check reports 8 anomalies",
                0.312,
                integrity_score=0.9998,
            ),
        ),
    ):
        add(at, FactKind.CHECK_OBSERVED, check)
    for audience, moment in (("on-call", "opened"), ("compliance-officer", "opened")):
        add(
            0.95,
            FactKind.NOTIFIED,
            {
                "channel": "#incident-2026-03-14-0300",
                "audience": audience,
                "moment": moment,
                "summary": "P1: audit trail integrity failure, triage has begun",
                "receipt": "1773457212.000100",
            },
        )
    add(
        1.0,
        FactKind.CLOCK_STARTED,
        {
            "clock": "dpo.one-hour",
            "due": (ALERT_AT + timedelta(hours=1)).isoformat(),
            "recipient": "dpo",
            "reason": "records that may hold personal data were altered",
        },
    )


def _preservation(journal: JournalBuilder, verdict: Verdict) -> None:
    add = journal.add
    add(1.9, FactKind.DIAGNOSED, diagnosis(verdict))
    add(
        1.92,
        FactKind.SEVERITY_ASSIGNED,
        {
            "severity": "P0",
            "rule": "class.p0.data-corruption",
            "reason": "proven: 3 audit records altered or inserted, 5 missing",
        },
    )
    add(
        1.95,
        FactKind.HOLD_SET,
        {
            "scope": "database/rlhf_audit",
            "reason": "proven alteration of audit records",
            "review_at": (ALERT_AT + timedelta(hours=24)).isoformat(),
            "needs": ["table snapshot", "sealed segments", "checkpoint"],
        },
    )
    add(
        4.6,
        FactKind.EVIDENCE_SEALED,
        {
            "scope": "database/rlhf_audit",
            "bucket": "rlhf-audit-trail-evidence",
            "items": [
                {
                    "name": name,
                    "key": f"{INCIDENT}/{name}",
                    "sha256": digest(name),
                    "size": size,
                    "locked_until": "2026-09-13T03:00:16+00:00",
                }
                for name, size in (
                    ("audit_records.dump", 9_483_112),
                    ("segments.tar", 21_604_118),
                    ("checkpoint", 187),
                )
            ],
        },
    )


def _decision(journal: JournalBuilder, actor: str) -> None:
    add = journal.add
    plan = restore_plan(journal.incident, journal.start)
    add(
        5.0,
        FactKind.PLAN_PROPOSED,
        {
            "plan": plan.as_json(),
            "hash": plan.hash,
            "expires_at": plan.expires_at.isoformat(),
        },
    )
    add(
        5.3,
        FactKind.DRY_RUN,
        {"hash": plan.hash, "lines": ["restore 42,000 records", "add 8,000 from segments"]},
    )
    add(
        7.9,
        FactKind.ESCALATED,
        {"step": "escalate.engineering-lead", "to": "engineering-lead", "reason": "P0 at once"},
    )
    add(
        8.1,
        FactKind.PLAN_DECIDED,
        {
            "hash": plan.hash,
            "decision": "approved",
            "reason": "--yes: the embedded lab only",
            "role": "incident-commander",
        },
        actor=actor,
    )


def _recovery(journal: JournalBuilder) -> None:
    add = journal.add
    restore, swap = (step.step for step in restore_plan().steps)
    target = "database/rlhf_audit"
    add(8.3, FactKind.STEP_STARTED, {"step": restore, "target": target, "fencing_token": 7})
    add(
        14.8,
        FactKind.STEP_DONE,
        {
            "step": restore,
            "target": target,
            "summary": "restored 50,000 signed records beside production",
            "result": {
                "records_before": TABLE_ROWS - 5,
                "records_after": TABLE_ROWS,
                "backup": "database/2026-03-14T020000Z.dump",
                "backup_size": BACKUP,
                "from_segments": SIGNED - BACKUP,
                "carried_over": TABLE_ROWS - SIGNED - 2,
                "tombstones": 2,
            },
        },
    )
    add(15.1, FactKind.STEP_STARTED, {"step": swap, "target": target, "fencing_token": 8})
    add(
        16.0,
        FactKind.STEP_DONE,
        {
            "step": swap,
            "target": target,
            "summary": "swapped in one transaction",
            "result": {"outage_seconds": 0.422, "quarantine": "rlhf_audit_quarantine_20260314"},
        },
    )
    add(
        16.9,
        FactKind.VERIFIED,
        {
            "what": "postgresql database rlhf_audit",
            "holds": True,
            "summary": "the first 50,000 records hash to the signed root",
            "result": {
                "root": ROOT,
                "size": SIGNED,
                "records": TABLE_ROWS,
                "lost": [[50_310, 50_311]],
                "loss_list": f"{INCIDENT}/loss-list.note",
            },
        },
    )


def _closing(journal: JournalBuilder) -> None:
    add = journal.add
    add(
        17.0,
        FactKind.HOLD_LIFTED,
        {"scope": "database/rlhf_audit", "reason": "evidence sealed, proof holds", "by": RUNBOOK},
    )
    add(
        17.1,
        FactKind.NOTIFIED,
        {
            "channel": "#incident-2026-03-14-0300",
            "audience": "dpo",
            "moment": "mitigated",
            "summary": "8 audit records restored to their signed content, 2 unsigned rows lost",
            "receipt": "1773457229.000200",
        },
    )
    add(17.2, FactKind.CLOCK_STOPPED, {"clock": "dpo.one-hour", "reason": "DPO told"})
    add(
        18.0,
        FactKind.REPORTED,
        {
            "html": {"path": "report.html", "sha256": digest("html")},
            "pdf": {"path": "report.pdf", "sha256": digest("pdf")},
            "url": "",
        },
    )
    add(
        18.1,
        FactKind.CLOSED,
        {"outcome": "restored", "summary": "the signed log is in service again"},
    )


def full_journal(
    *, approver: str = DEMO_APPROVER, verdict: Verdict | None = None, incident: str = INCIDENT
) -> JournalBuilder:
    """Alert, triage, P0, hold, evidence, plan, yes, restore, swap, proof, close."""
    journal = JournalBuilder(incident)
    _triage(journal)
    _preservation(journal, verdict or tampered_verdict())
    _decision(journal, approver)
    _recovery(journal)
    _closing(journal)
    return journal


def full_incident(**changes: Any) -> Incident:
    """`full_journal` folded."""
    return full_journal(**changes).incident_state()


def long_incident(facts: int) -> Incident:
    """The whole story inside a journal of `facts` facts: a long night of checks and notes."""
    journal = JournalBuilder()
    _triage(journal)
    _preservation(journal, tampered_verdict())
    story = full_journal()
    for place in range(facts - len(story.facts)):
        if place % 3 == 0:
            journal.add(
                20 + place,
                FactKind.NOTE,
                {"text": f"note {place}: looked at <b>session</b> #{place} & found nothing"},
            )
        else:
            check = _check("triage.database", "database", "Healthy", f"look {place}", 0.02)
            journal.add(20 + place, FactKind.CHECK_OBSERVED, check)
    journal.start += timedelta(seconds=facts)
    _decision(journal, DEMO_APPROVER)
    _recovery(journal)
    _closing(journal)
    return journal.incident_state()
