"""The facts of an incident, one line each: who, what, when, and where the evidence is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.facts import Fact, FactKind
from tasks.domain.journaled import items, mapping, text, utc
from tasks.domain.metrics import beginning, claimed_start
from tasks.domain.untrusted import short_hash, visible


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One moment. `seq` is the journal's position; None for what only the alert claims.

    `since` is seconds since the alert was received (negative before it); `section` is the id of
    the report's section that holds the evidence, `weight` says whether a short timeline keeps it.
    """

    seq: int | None
    at: str
    since: float
    kind: str
    who: str
    what: str
    section: str
    weight: bool


SECTION = {
    FactKind.ALERT_RECEIVED: "detection",
    FactKind.CHECK_OBSERVED: "detection",
    FactKind.SEVERITY_ASSIGNED: "severity",
    FactKind.DIAGNOSED: "damage",
    FactKind.CAUSES_FOUND: "detection",
    FactKind.HOLD_SET: "response",
    FactKind.HOLD_LIFTED: "response",
    FactKind.GLASS_BROKEN: "response",
    FactKind.EVIDENCE_SEALED: "evidence",
    FactKind.TARGET_CHOSEN: "response",
    FactKind.ROLLBACK_ASKED: "response",
    FactKind.CHANGE_ASKED: "response",
    FactKind.STATUS_DRAFTED: "communication",
    FactKind.STATUS_APPROVED: "communication",
    FactKind.ISOLATION_JUDGED: "response",
    FactKind.PLAN_PROPOSED: "response",
    FactKind.DRY_RUN: "response",
    FactKind.PLAN_DECIDED: "response",
    FactKind.STEP_STARTED: "response",
    FactKind.STEP_DONE: "response",
    FactKind.STEP_FAILED: "response",
    FactKind.VERIFIED: "proof",
    FactKind.NOTIFIED: "communication",
    FactKind.NOTIFY_FAILED: "communication",
    FactKind.ESCALATED: "communication",
    FactKind.CLOCK_STARTED: "clocks",
    FactKind.CLOCK_STOPPED: "clocks",
    FactKind.ANSWERED: "people",
    FactKind.ACTION_SET: "actions",
    FactKind.ACTION_ENDED: "actions",
    FactKind.SIGNED_OFF: "compliance",
    FactKind.COMPLIANCE_DECIDED: "compliance",
    FactKind.FOLLOW_UP: "actions",
    FactKind.RANGES_KEPT: "impact",
}
"""Where the report shows what stands behind a fact of this kind; others stand for themselves."""

_ROUTINE = frozenset(
    {FactKind.CHECK_OBSERVED, FactKind.NOTE, FactKind.RUN_STARTED, FactKind.DRY_RUN}
)


def _diagnosed(data: Mapping[str, Any]) -> str:
    total = data.get("findings_total", len(items(data.get("findings"))))
    reason = text(data, "reason", "")
    return (
        f"verdict {text(data, 'verdict')} on {text(data, 'source')}: "
        f"{visible(total, 20)} findings in {text(data, 'records')} records"
        + (f"; {reason}" if reason else "")
    )


def _causes(data: Mapping[str, Any]) -> str:
    found = [mapping(each) for each in items(data.get("causes"))]
    said = [
        f"{text(each, 'code')} ({text(each, 'confidence')}): {text(each, 'summary')}"
        for each in found[:3]
    ]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""  # noqa: PLR2004
    return f"{text(data, 'component')}: {'; '.join(said) or 'no cause found'}{more}"


def _evidence(data: Mapping[str, Any]) -> str:
    held = len(items(data.get("items")))
    return f"{held} items of {text(data, 'scope')} sealed in {text(data, 'bucket')}"


def _planned(data: Mapping[str, Any]) -> str:
    return f"{text(mapping(data.get('plan')), 'summary')} (plan {short_hash(data.get('hash', ''))})"


def _decided(data: Mapping[str, Any]) -> str:
    reason = text(data, "reason", "")
    return (
        f"{text(data, 'decision')} plan {short_hash(data.get('hash', ''))}"
        f" as {text(data, 'role', 'no role')}" + (f": {reason}" if reason else "")
    )


def _verified(data: Mapping[str, Any]) -> str:
    said = data.get("holds")
    holds = "holds" if said is True else "DOES NOT HOLD" if said is False else "is UNKNOWN"
    return f"proof {holds} for {text(data, 'what')}: {text(data, 'summary')}"


def _summary(data: Mapping[str, Any]) -> str:
    return text(data, "summary", "")


def _dry_run(data: Mapping[str, Any]) -> str:
    return "; ".join(visible(line, 120) for line in items(data.get("lines"))[:5])


_TOLD: Mapping[FactKind, Callable[[Mapping[str, Any]], str]] = {
    FactKind.OPENED: lambda data: (
        f"{text(data, 'title')}; component {text(data, 'component')}, "
        f"procedure {text(data, 'procedure')}, cause {text(data, 'cause')}"
    ),
    FactKind.ALERT_RECEIVED: lambda data: (
        f"{text(data, 'name')} {text(data, 'status', '')}, fingerprint {text(data, 'fingerprint')}"
    ),
    FactKind.RUN_STARTED: lambda data: (
        f"flow run {text(data, 'flow_run')}, attempt {text(data, 'attempt')}"
    ),
    FactKind.CHECK_OBSERVED: lambda data: (
        f"{text(data, 'component')} {text(data, 'health')}: {text(data, 'summary')}"
    ),
    FactKind.SEVERITY_ASSIGNED: lambda data: (
        f"{text(data, 'severity')} by {text(data, 'rule')}: {text(data, 'reason')}"
    ),
    FactKind.DIAGNOSED: _diagnosed,
    FactKind.CAUSES_FOUND: _causes,
    FactKind.HOLD_SET: lambda data: f"{text(data, 'scope')}: {text(data, 'reason')}",
    FactKind.HOLD_LIFTED: lambda data: (
        f"{text(data, 'scope')}: {text(data, 'reason')}"
        f"{' (its evidence was not sealed)' if data.get('unsealed') is True else ''}"
    ),
    FactKind.GLASS_BROKEN: lambda data: (
        f"{text(data, 'scope')} until {text(data, 'until')}: {text(data, 'reason')}"
    ),
    FactKind.EVIDENCE_SEALED: _evidence,
    FactKind.TARGET_CHOSEN: lambda data: (
        f"restore to {text(mapping(data.get('target')), 'target')}: {text(data, 'reason')}"
    ),
    FactKind.ROLLBACK_ASKED: lambda data: (
        f"roll back {text(data, 'workload')} to {text(data, 'holder', '') or 'what was healthy'}: "
        f"{text(data, 'reason')}"
    ),
    FactKind.CHANGE_ASKED: lambda data: (
        f"{text(data, 'wanted')} {text(data, 'part', '')}: {text(data, 'reason')}"
    ),
    FactKind.STATUS_DRAFTED: lambda data: (
        f"draft for the status page: {text(mapping(data.get('draft')), 'subject')}"
    ),
    FactKind.STATUS_APPROVED: lambda data: f"to be public: draft {text(data, 'hash')[:12]}",
    FactKind.ISOLATION_JUDGED: lambda data: (
        f"isolation: {text(data, 'word')}: {text(data, 'reason')}"
    ),
    FactKind.PLAN_PROPOSED: _planned,
    FactKind.DRY_RUN: _dry_run,
    FactKind.PLAN_DECIDED: _decided,
    FactKind.STEP_STARTED: lambda data: (
        f"{text(data, 'step')} on {text(data, 'target')}, fencing token "
        f"{text(data, 'fencing_token')}"
    ),
    FactKind.STEP_DONE: lambda data: f"{text(data, 'step')}: {text(data, 'summary')}",
    FactKind.STEP_FAILED: lambda data: f"{text(data, 'step')}: {text(data, 'error')}",
    FactKind.VERIFIED: _verified,
    FactKind.NOTIFIED: lambda data: (
        f"{text(data, 'audience')} by {text(data, 'channel')}: {text(data, 'summary')}"
    ),
    FactKind.NOTIFY_FAILED: lambda data: (
        f"{text(data, 'audience')} by {text(data, 'channel')}: {text(data, 'error')}"
    ),
    FactKind.ESCALATED: lambda data: (
        f"{text(data, 'step')} to {text(data, 'to')}: {text(data, 'reason')}"
    ),
    FactKind.CLOCK_STARTED: lambda data: (
        f"{text(data, 'clock')} for {text(data, 'recipient')}, due {text(data, 'due')}"
    ),
    FactKind.CLOCK_STOPPED: lambda data: f"{text(data, 'clock')}: {text(data, 'reason', '')}",
    FactKind.ANSWERED: lambda data: f"{text(data, 'question')}: {text(data, 'text')}",
    FactKind.ACTION_SET: lambda data: (
        f"{text(data, 'item')}: {text(data, 'action')} ({text(data, 'kind')}, "
        f"{text(data, 'owner')}, due {text(data, 'due')})"
    ),
    FactKind.ACTION_ENDED: lambda data: (
        f"{text(data, 'item')} {text(data, 'ending')}: {text(data, 'text')}"
    ),
    FactKind.SIGNED_OFF: lambda data: text(data, "text", ""),
    FactKind.COMPLIANCE_DECIDED: lambda data: (
        f"{text(data, 'matter')}: {text(data, 'answer')}: {text(data, 'reason')}"
    ),
    FactKind.NOTE: lambda data: text(data, "text", ""),
    FactKind.LEAD_TAKEN: lambda data: text(data, "text", ""),
    FactKind.ALERTS_RESOLVED: lambda data: text(data, "text", ""),
    FactKind.REPORTED: lambda data: (
        "report written as HTML, PDF and JSON"
        + (", signed" if data.get("note") else ", not signed")
    ),
    FactKind.CLOSED: lambda data: f"{text(data, 'outcome')}: {text(data, 'summary', '')}",
}


def told(fact: Fact) -> str:
    """The fact in one line, for people."""
    return _TOLD.get(fact.kind, _summary)(fact.data)


def timeline(facts: Iterable[Fact]) -> tuple[TimelineRow, ...]:
    """Every fact, in the journal's order, after the moment that the alert claims to have begun."""
    known = list(facts)
    start = beginning(known)
    if start is None:
        return ()
    rows = [_row(fact, start) for fact in known]
    claimed = claimed_start(known)
    if claimed is not None and claimed != start:
        before = TimelineRow(
            seq=None,
            at=utc(claimed),
            since=(claimed - start).total_seconds(),
            kind="condition began",
            who="alert",
            what="as the alert itself claims (startsAt); the damage may be older",
            section="detection",
            weight=True,
        )
        rows.insert(0, before)
    return tuple(rows)


def _row(fact: Fact, start: datetime) -> TimelineRow:
    return TimelineRow(
        seq=fact.seq,
        at=utc(fact.at),
        since=(fact.at - start).total_seconds(),
        kind=fact.kind.value,
        who=visible(fact.actor, 120),
        what=told(fact),
        section=SECTION.get(fact.kind, ""),
        weight=fact.kind not in _ROUTINE,
    )


def shortened(rows: tuple[TimelineRow, ...], limit: int) -> tuple[tuple[TimelineRow, ...], int]:
    """At most `limit` rows and how many were left out: routine first, then from the middle."""
    if len(rows) <= limit:
        return rows, 0
    weighty = tuple(row for row in rows if row.weight)
    if len(weighty) > limit:
        half = limit // 2
        kept = weighty[: limit - half] + weighty[len(weighty) - half :]
    else:
        room = limit - len(weighty)
        routine = [place for place, row in enumerate(rows) if not row.weight][:room]
        places = set(routine) | {place for place, row in enumerate(rows) if row.weight}
        kept = tuple(rows[place] for place in sorted(places))
    return kept, len(rows) - len(kept)
