"""The whole story of tampered records, from the alert to the closing, as a journal.

Tests change one thing in it and look at what follows.
"""

from datetime import timedelta
from typing import Any

from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.ledger.verdicts import Verdict
from tasks.domain.recovery_plan import CARRY_OVER, RESTORE, SWAP
from tasks.domain.restore import database_names
from tests.builders import (
    ALERT_AT,
    BACKUP,
    INCIDENT,
    LOST,
    ROOT,
    SIGNED,
    TABLE_ROWS,
    JournalBuilder,
    alert_fact,
    check_fact,
    diagnosis,
    digest,
    restore_plan,
    tampered_verdict,
)

DEMO_APPROVER = "demo approver (simulated)"


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
            check_fact(
                "triage.api-health", "api", "Healthy", "GET /health: 200, ok", 0.021, status=200
            ),
        ),
        (0.44, check_fact("triage.database", "database", "Healthy", "accepts connections", 0.034)),
        (0.47, check_fact("triage.cache", "cache", "Healthy", "PING: PONG", 0.008)),
        (
            0.51,
            check_fact("triage.alerts", "metrics", "Unknown", "no Prometheus is configured", 0.0),
        ),
        (
            0.83,
            check_fact(
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
    names = database_names("rlhf_audit", journal.incident)
    for began, ended, token, step, target, summary, result in (
        (
            *(8.3, 13.6, 7, RESTORE, names.scratch),
            "50000 signed records restored beside production; they reproduce the signed root",
            {
                "database": names.scratch,
                "backup": "database/2026-03-14T020000Z.dump",
                "backup_size": BACKUP,
                "signed": SIGNED,
                "replaced": 0,
                "from_segments": SIGNED - BACKUP,
                "root": ROOT,
            },
        ),
        (
            *(13.7, 14.8, 7, CARRY_OVER, names.scratch),
            "593 newer records carried over by their chain, 2 lost",
            {"carried_over": 593, "tombstones": LOST, "size": TABLE_ROWS - 16},
        ),
        (
            *(15.1, 16.0, 8, SWAP, names.production),
            "rlhf_audit is the restored log; writers waited 0.42 s",
            {
                "database": names.production,
                "quarantine": names.quarantine,
                "records_before": TABLE_ROWS - 5,
                "records_after": TABLE_ROWS,
                "last_step": {"carried_over": 16, "tombstones": 0, "size": TABLE_ROWS},
                "outage_seconds": 0.422,
            },
        ),
    ):
        started = {"step": step, "target": target, "fencing_token": token}
        add(began, FactKind.STEP_STARTED, started)
        done = {"step": step, "target": target, "summary": summary, "result": result}
        add(ended, FactKind.STEP_DONE, done)
    add(
        16.9,
        FactKind.VERIFIED,
        {
            "what": "the log in service",
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
            check = check_fact("triage.database", "database", "Healthy", f"look {place}", 0.02)
            journal.add(20 + place, FactKind.CHECK_OBSERVED, check)
    journal.start += timedelta(seconds=facts)
    _decision(journal, DEMO_APPROVER)
    _recovery(journal)
    _closing(journal)
    return journal.incident_state()
