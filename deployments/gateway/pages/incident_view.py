"""One incident for its page: the fold of its facts, in words and tables, for one person."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from deployments.gateway.pages.alerts_view import AlertView, alerts
from deployments.gateway.pages.breach_view import BreachView, breach_view
from deployments.gateway.pages.holds_view import (
    Binding,
    HoldView,
    bindings,
    glass_view,
    hold_view,
)
from deployments.gateway.pages.isolation_view import IsolationView, isolation_view
from deployments.gateway.pages.links import Link, links_of
from deployments.gateway.pages.plan_view import PlanView, plan_view
from deployments.gateway.pages.review_view import ReviewView, review_view
from tasks.domain.acknowledging import acknowledged_at
from tasks.domain.alert_state import AlertState
from tasks.domain.facts import Fact
from tasks.domain.incident import Incident, Stage
from tasks.domain.journaled import UNKNOWN, mapping, text
from tasks.domain.report_changes import ProofRow, proofs
from tasks.domain.report_tables import (
    CheckRow,
    ClockRow,
    EvidenceRow,
    MessageRow,
    SeverityRow,
    checks,
    clocks,
    evidence,
    messages,
    severities,
)
from tasks.domain.response_targets import response_clock
from tasks.domain.roles import Act, may
from tasks.domain.timeline import TimelineRow, shortened, timeline
from tasks.domain.untrusted import visible
from tasks.work.people import Person

_TIMELINE_ROWS = 500
_ROWS = 100
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ReportLink:
    """A report by its content's hash."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class IncidentView:
    """What the template shows. Texts have passed `visible`; the template escapes them.

    `stoppable` names the clocks that a person stops: the response target ends by answering.
    """

    id: str
    place: int
    title: str
    component: str
    procedure: str
    owner: str
    remedy: str
    stage: str
    is_closed: bool
    outcome: str
    opened_at: datetime | None
    opened_by: str
    closed_at: datetime | None
    mitigated_at: datetime | None
    resolved_at: datetime | None
    severity: str
    severity_reason: str
    severity_rule: str
    severities: tuple[SeverityRow, ...]
    acknowledged_at: datetime | None
    acknowledged_by: str
    lead: str
    simulated: bool
    plan: PlanView | None
    bindings: tuple[Binding, ...]
    checks: tuple[CheckRow, ...]
    diagnosis: tuple[tuple[str, str], ...]
    proofs: tuple[ProofRow, ...]
    is_held: bool
    holds: tuple[HoldView, ...]
    glass: tuple[HoldView, ...]
    clocks: tuple[ClockRow, ...]
    stoppable: frozenset[str]
    isolation: IsolationView | None
    breach: BreachView | None
    review: ReviewView
    alerts: list[AlertView]
    alerts_hidden: int
    evidence: tuple[EvidenceRow, ...]
    messages: tuple[MessageRow, ...]
    reports: tuple[ReportLink, ...]
    links: list[Link]
    timeline: tuple[TimelineRow, ...]
    timeline_hidden: int
    acts: frozenset[Act]


def incident_view(
    incident: Incident,
    person: Person,
    judged: Iterable[AlertState],
    about_holds: Sequence[Fact],
    now: datetime,
) -> IncidentView:
    """The incident as `person` sees it at `now`; it has facts.

    `about_holds` are the facts of `holds.KINDS` of all incidents.
    """
    facts = incident.facts
    rows, hidden = shortened(timeline(facts), _TIMELINE_ROWS)
    shown_alerts, hidden_alerts = alerts(incident, judged)
    assigned = severities(facts)
    seen_at = acknowledged_at(incident)
    started = clocks(facts, now)
    return IncidentView(
        id=incident.id,
        place=facts[-1].seq,
        title=visible(incident.title, 200) or "Incident without a title",
        component=visible(incident.component, 120),
        procedure=visible(incident.procedure, 120),
        owner=visible(incident.owner, 120),
        remedy=visible(incident.remedy, 40),
        stage=incident.stage.value,
        is_closed=incident.stage is Stage.CLOSED,
        outcome=visible(incident.outcome, 120),
        opened_at=incident.opened_at,
        opened_by=visible(incident.opened_by, 120),
        closed_at=incident.closed_at,
        mitigated_at=incident.mitigated_at,
        resolved_at=incident.alerts_resolved_at,
        severity=incident.severity.value if incident.severity else "",
        severity_reason=visible(incident.severity_reason, 600),
        severity_rule=_rule(incident, assigned),
        severities=assigned[-_ROWS:],
        acknowledged_at=seen_at,
        acknowledged_by=next((visible(f.actor, 120) for f in facts if f.at == seen_at), ""),
        lead=visible(incident.lead, 120),
        simulated=any(fact.data.get("simulated") is True for fact in facts),
        plan=plan_view(incident, person, now),
        bindings=bindings(incident, about_holds, now),
        checks=checks(facts)[:_ROWS],
        diagnosis=_diagnosis(incident),
        proofs=proofs(facts)[-_ROWS:],
        is_held=any(not hold.sealed for hold in incident.held()),
        holds=tuple(hold_view(hold) for hold in incident.held()[-_ROWS:]),
        glass=tuple(glass_view(broken, now) for broken in incident.glass[-_ROWS:]),
        clocks=(*response_clock(incident, now), *started),
        stoppable=frozenset(clock.clock for clock in started),
        isolation=isolation_view(incident),
        breach=breach_view(incident),
        review=review_view(incident, now),
        alerts=shown_alerts,
        alerts_hidden=hidden_alerts,
        evidence=evidence(facts)[:_ROWS],
        messages=messages(facts)[-_ROWS:],
        reports=_reports(incident),
        links=links_of(incident),
        timeline=rows,
        timeline_hidden=hidden,
        acts=frozenset(act for act in Act if may(person.role, act, incident.procedure)),
    )


def _rule(incident: Incident, assigned: tuple[SeverityRow, ...]) -> str:
    """The rule of the assignment that stands, by the runbook's own id."""
    standing = incident.severity.value if incident.severity else UNKNOWN
    return next((row.rule for row in reversed(assigned) if row.severity == standing), "")


def _diagnosis(incident: Incident) -> tuple[tuple[str, str], ...]:
    """What a verification said, as (name, value); empty before one."""
    data = incident.diagnosis
    if data is None:
        return ()
    keys = ("verdict", "source", "records", "signed", "findings_total", "reason", "summary")
    return tuple((key.replace("_", " "), text(data, key)) for key in keys if data.get(key))


def _reports(incident: Incident) -> tuple[ReportLink, ...]:
    """Of the newest report: addresses by hash, which are hexadecimal or are none of ours."""
    found = []
    for suffix in ("html", "pdf", "json", "seal"):
        digest = mapping(mapping(incident.report).get(suffix)).get("sha256")
        if isinstance(digest, str) and _DIGEST.fullmatch(digest):
            path = f"/reports/{incident.id}/{digest}.{suffix}"
            found.append(ReportLink(f"Report as {suffix.upper()}", path))
    return tuple(found)
