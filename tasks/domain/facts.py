"""The facts of which an incident consists.

The journal holds them in order, hash-chained by the same ledger code as the audit log. A fact's
`data` is small and JSON-able; large things (dumps, logs, reports) are references with a SHA-256.
`FactKind` says what each kind carries; readers ignore keys that they do not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

RUNBOOK = "runbook"
"""The actor of everything that no person did."""


class FactKind(StrEnum):
    """What happened. The comment lists the keys of `data`."""

    # also group_key, owner, remedy, approvers, closes_on_resolve, cooldown_minutes, route, policy
    OPENED = "opened"  # title, component, procedure, cause ("alert" | "person"), simulated
    # also labels, annotations, starts_at, the assessment of this alert alone (severity, rule,
    # reason) and its route's approvers and closes_on_resolve; notification is a SHA-256 in hex
    ALERT_RECEIVED = "alert received"  # fingerprint, status, name, notification
    ALERTS_RESOLVED = "alerts resolved"  # text: none of the incident's alerts fires any more
    LEAD_TAKEN = "lead taken"  # text; the actor leads the response from now on
    RUN_STARTED = "run started"  # flow_run, attempt
    CHECK_OBSERVED = "check observed"  # step, component, health, summary, seconds, evidence
    SEVERITY_ASSIGNED = "severity assigned"  # severity, rule, reason
    # Verdict.as_json, the findings bounded to the first hundred; findings_total; stored_damage:
    # how many of all findings speak against the object store
    DIAGNOSED = "diagnosed"
    # the runbook's also damage: which diagnosis it was set for
    CAUSES_FOUND = "causes found"  # component, causes [Cause.as_json], the surest first
    HOLD_SET = "hold set"  # scope, reason, review_at, needs (what must be sealed)
    HOLD_LIFTED = "hold lifted"  # scope, reason
    GLASS_BROKEN = "glass broken"  # scope, reason, until: holds on the scope do not bind so long
    # also hold (the seq of the one that it was sealed for) and that one's damage
    EVIDENCE_SEALED = (
        "evidence sealed"  # scope, items [{name,key,sha256,size,locked_until}], bucket
    )
    TARGET_CHOSEN = "target chosen"  # target (Target.as_json), reason; the actor is a person
    # also workload (deployment/NAME) and holder (of the revision that was named, or empty)
    ROLLBACK_ASKED = "rollback asked"  # reason; the actor is a person
    # also part and replicas, when wanted is "scale"
    CHANGE_ASKED = "change asked"  # wanted (Wanted), reason; the actor is a person
    PLAN_PROPOSED = "plan proposed"  # plan (Plan.as_json), hash, expires_at
    DRY_RUN = "dry run"  # hash, lines [str]
    PLAN_DECIDED = (
        "plan decided"  # hash, decision ("approved" | "denied" | "expired"), reason, role
    )
    STEP_STARTED = "step started"  # step, target, fencing_token
    STEP_DONE = "step done"  # step, target, summary, result
    STEP_FAILED = "step failed"  # step, target, error
    VERIFIED = "verified"  # what, holds (bool), summary, result
    NOTIFIED = "notified"  # channel, audience, moment, summary, receipt
    NOTIFY_FAILED = "notification failed"  # channel, audience, moment, error
    ESCALATED = "escalated"  # step, to, reason
    CLOCK_STARTED = "clock started"  # clock, due, recipient, reason
    CLOCK_STOPPED = "clock stopped"  # clock, reason
    NOTE = "note"  # text
    UNKNOWN = "unknown"  # a kind of a version that is older or newer than ours
    REPORTED = "reported"  # html {path,sha256}, pdf {path,sha256}, url
    CLOSED = (
        "closed"  # outcome ("restored" | "no action needed" | "denied" | "manual" | ...), summary
    )


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the journal; `at` is UTC, `seq` the position in the whole journal."""

    seq: int
    incident: str
    at: datetime
    kind: FactKind
    actor: str
    data: Mapping[str, Any]
