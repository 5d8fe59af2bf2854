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
    HOLD_LIFTED = "hold lifted"  # scope, reason, unsealed (when evidence was not sealed yet)
    GLASS_BROKEN = "glass broken"  # scope, reason, until: holds on the scope do not bind so long
    # also hold (the seq of the one that it was sealed for) and that one's damage; of a bag instead
    # bag (its place), encrypted, skipped [{id,title,reason}], custody {entries,hash}, manifest, key
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
    # both also via (chat, pagerduty, or the kind of another way) and contact (the role)
    NOTIFIED = "notified"  # channel, audience, moment, summary, receipt
    NOTIFY_FAILED = "notification failed"  # channel, audience, moment, error
    STATUS_DRAFTED = "status drafted"  # draft (Draft.as_json), for the public status page
    STATUS_APPROVED = "status approved"  # hash; the actor is a person
    ESCALATED = "escalated"  # step, to, contact (the role), reason
    # a legal one also began (its anchor), regime and source; started anew it replaces itself
    CLOCK_STARTED = "clock started"  # clock, due, recipient, reason
    CLOCK_STOPPED = "clock stopped"  # clock, reason
    # scope (Scope.as_json), circumstances (assumed) and severity (ENISA's, None without data)
    PRIVACY_SCOPED = "privacy scope measured"  # summary
    # also aware_at, cases, circumstances (confirmed), severity (ENISA's, from them)
    PRIVACY_DECIDED = "privacy risk decided"  # risk, reason, role, summary; the actor is a person
    # also plan (the hash that it is about), reason and role; the actor is a person
    ISOLATION_JUDGED = "isolation judged"  # word ("confirm" | "return")
    # entries [{field, filled, text}], due and late; a draft is never sent by us
    NOTICE_DRAFTED = "notice drafted"  # clock, title, recipient, source, summary
    NOTE = "note"  # text
    # all of these are said by persons; the newest of each question, item or matter stands
    ANSWERED = "question answered"  # question (Question), text
    ACTION_SET = "action set"  # item, action, kind, owner, due (ISO date), verification
    ACTION_ENDED = "action ended"  # item, ending ("done" | "dropped"), text
    SIGNED_OFF = "report signed off"  # text, role
    COMPLIANCE_DECIDED = "compliance decided"  # matter (Matter), answer (yes | no), reason, role
    FOLLOW_UP = "follow-up review"  # review, summary, heard (whether anybody was told)
    # ranges [{name, title, unit, points [[seconds since 1970, value]]}], begin and end, or reason
    RANGES_KEPT = "metrics kept"  # summary
    UNKNOWN = "unknown"  # a kind of a version that is older or newer than ours
    # html, pdf, json, seal {path,sha256} each, facts (how many it was made from), note (the signed
    # note over the three digests, empty without a key), key (who signed), unsigned (why nobody)
    REPORTED = "reported"  # url
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
