"""The post-incident report as data: everything in it is read from the journal's facts.

The same facts give the same report, letter by letter, but for `generated_at` and clocks that
still run. Rendering (HTML, PDF, JSON) adds nothing: a figure that is not here is in none of them.
Runbook: Post-Incident Procedures.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tasks.domain.action_items import ActionItem, action_items
from tasks.domain.facts import Fact
from tasks.domain.incident import Incident
from tasks.domain.journaled import UNKNOWN, utc
from tasks.domain.metrics import acknowledged
from tasks.domain.narrative import (
    Statement,
    compliance,
    detection,
    impact,
    notices,
    summary,
)
from tasks.domain.questions import Prompt, prompts
from tasks.domain.readings import Readings, read
from tasks.domain.report_actions import Action, proposed_actions
from tasks.domain.review import FollowUpRow, follow_up_rows, status
from tasks.domain.severity import RESPONSE_MINUTES
from tasks.domain.suggestions import Suggestion, suggestions
from tasks.domain.untrusted import visible

SCHEMA = "rlhf-audit-runbook/report/2"
"""Of the JSON: a change of its shape is another version, with another file of a schema."""
TLP = "TLP:AMBER"
"""TLP 2.0: for the organisation and its clients, need to know. A person may change it."""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One of the figures at the top. `tone` is good, bad, unknown or plain."""

    label: str
    value: str
    note: str
    tone: str


@dataclass(frozen=True, slots=True)
class JournalExtent:
    """Which facts the report was made from. `digest` is SHA-256 over them in canonical JSON."""

    count: int
    first_seq: int | None
    last_seq: int | None
    digest: str


@dataclass(frozen=True, slots=True)
class Report:
    """A post-incident report; `status` says how far its review is (tasks.domain.review)."""

    schema: str
    incident: str
    title: str
    component: str
    procedure: str
    status: str
    tlp: str
    severity: str
    severity_reason: str
    stage: str
    outcome: str
    lead: str
    acknowledged_by: str
    opened_at: str
    closed_at: str
    generated_at: str
    notices: tuple[str, ...]
    summary: tuple[str, ...]
    key_figures: tuple[KeyFigure, ...]
    readings: Readings
    impact: tuple[Statement, ...]
    detection: tuple[str, ...]
    compliance: tuple[Statement, ...]
    items: tuple[ActionItem, ...]
    overdue: tuple[str, ...]
    actions: tuple[Action, ...]
    suggestions: tuple[Suggestion, ...]
    follow_ups: tuple[FollowUpRow, ...]
    prompts: tuple[Prompt, ...]
    journal: JournalExtent

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for programs and for the PDF's template."""
        return asdict(self)


def build_report(incident: Incident, now: datetime) -> Report:
    """The report of an incident as its facts stand; `now` is shown as the time of writing."""
    readings = read(incident, now)
    items = action_items(incident.facts)
    seen = acknowledged(incident.facts)
    return Report(
        schema=SCHEMA,
        incident=visible(incident.id, 120),
        title=visible(incident.title, 120) or UNKNOWN,
        component=visible(incident.component, 120) or UNKNOWN,
        procedure=visible(incident.procedure, 120) or UNKNOWN,
        status=status(incident.facts).value,
        tlp=TLP,
        severity=incident.severity.value if incident.severity else UNKNOWN,
        severity_reason=visible(incident.severity_reason) or UNKNOWN,
        stage=incident.stage.value,
        outcome=visible(incident.outcome, 120) or UNKNOWN,
        lead=visible(incident.lead, 120) or "nobody took the lead",
        acknowledged_by=visible(seen.actor, 120) if seen else "nobody",
        opened_at=utc(incident.opened_at) if incident.opened_at else UNKNOWN,
        closed_at=utc(incident.closed_at) if incident.closed_at else "not closed",
        generated_at=utc(now),
        notices=tuple(notices(incident, readings)),
        summary=summary(incident, readings),
        key_figures=tuple(_key_figures(incident, readings)),
        readings=readings,
        impact=tuple(impact(incident, readings)),
        detection=tuple(detection(readings)),
        compliance=tuple(compliance(incident, readings)),
        items=items,
        overdue=tuple(each.item for each in items if each.is_overdue(now.date())),
        actions=tuple(proposed_actions(incident, readings)),
        suggestions=tuple(suggestions(incident, readings)),
        follow_ups=tuple(follow_up_rows(incident)),
        prompts=prompts(incident.facts),
        journal=_extent(incident.facts),
    )


def _key_figures(incident: Incident, readings: Readings) -> Iterable[KeyFigure]:
    damage, proof = readings.damage, readings.proof
    damaged = f"{damage.affected:,}" if damage.verdict else UNKNOWN
    yield KeyFigure(
        "Records damaged",
        damaged if damage.complete else f"≥ {damaged}",
        f"of {damage.signed:,} signed" if damage.signed else "signed size UNKNOWN",
        "unknown" if not damage.verdict else "bad" if damage.against else "good",
    )
    lost = readings.lost
    yield KeyFigure(
        "Records lost",
        UNKNOWN if lost is None else f"{lost:,}",
        "after the restore, listed by number" if lost else "after the restore",
        "unknown" if lost is None else "bad" if lost else "good",
    )
    holds = proof.holds if proof else None
    yield KeyFigure(
        "Proof",
        UNKNOWN if holds is None else "holds" if holds else "FAILS",
        "against the signed checkpoint" if proof else "none in the journal",
        "unknown" if holds is None else "good" if holds else "bad",
    )
    for key, label, note in (
        ("outage", "Outage", "writers stood still"),
        ("alert_to_diagnosis", "Diagnosed after", "since the alert"),
        ("time_to_recover", "Recovered after", "proof held, since the alert's start"),
        ("time_to_acknowledge", "Acknowledged after", _response_target(incident, readings)),
        ("total", "Closed after", "since the alert"),
    ):
        figure = readings.figure(key)
        tone = "unknown" if figure.value is None else "plain"
        yield KeyFigure(label, figure.display, note, tone)


def _response_target(incident: Incident, readings: Readings) -> str:
    if incident.severity is None:
        return "target UNKNOWN"
    minutes = RESPONSE_MINUTES[incident.severity]
    target = f"target for {incident.severity}: " + (f"{minutes // 60} h" if minutes else "at once")
    simulated = readings.decisions and readings.decisions[0].simulated
    return f"simulated; {target}" if simulated else target


def _extent(facts: list[Fact]) -> JournalExtent:
    digest = hashlib.sha256()
    for fact in facts:
        line = {
            "actor": fact.actor,
            "at": fact.at.isoformat(),
            "data": fact.data,
            "incident": fact.incident,
            "kind": fact.kind.value,
            "seq": fact.seq,
        }
        text = json.dumps(line, sort_keys=True, separators=(",", ":"), default=str)
        digest.update(text.encode() + b"\n")
    return JournalExtent(
        count=len(facts),
        first_seq=facts[0].seq if facts else None,
        last_seq=facts[-1].seq if facts else None,
        digest=digest.hexdigest(),
    )
