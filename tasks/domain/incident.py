"""An incident is the fold of its facts; nothing about it is stored anywhere else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.plan import Plan
from tasks.domain.severity import Severity


class Stage(StrEnum):
    """Where the response stands; what people see in a list of incidents."""

    OPEN = "open"
    AWAITING_APPROVAL = "awaiting approval"
    CARRYING_OUT = "carrying out"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer to a plan's hash. `role` is the authenticated person's role."""

    hash: str
    decision: str
    by: str
    role: str
    at: datetime
    reason: str


@dataclass(slots=True)
class Incident:
    """State of one incident, read from its facts. Never written back."""

    id: str
    title: str = ""
    component: str = ""
    procedure: str = ""
    cause: str = ""
    opened_by: str = ""
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: str = ""
    severity: Severity | None = None
    severity_reason: str = ""
    facts: list[Fact] = field(default_factory=list)
    alerts: list[Mapping[str, Any]] = field(default_factory=list)
    checks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    diagnosis: Mapping[str, Any] | None = None
    holds: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    evidence: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    plan: Plan | None = None
    plan_hash: str = ""
    decisions: list[Decision] = field(default_factory=list)
    steps: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    clocks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    clocks_stopped: set[str] = field(default_factory=set)
    escalations: dict[str, Fact] = field(default_factory=dict)
    notified: list[Mapping[str, Any]] = field(default_factory=list)
    proof: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    mitigated_at: datetime | None = None

    @property
    def stage(self) -> Stage:
        """Open, waiting for a person, carrying out, or closed."""
        if self.closed_at is not None:
            return Stage.CLOSED
        if self.plan is None:
            return Stage.OPEN
        said = {made.decision for made in self.decisions_on_plan()}
        if said - {"approved"}:
            return Stage.OPEN
        enough = len(self.approvers()) >= self.plan.approvers_needed
        return Stage.CARRYING_OUT if enough else Stage.AWAITING_APPROVAL

    def approvers(self) -> set[str]:
        """Who has approved the standing plan in time: persons, and not the one who opened it."""
        return {
            made.by
            for made in self.decisions_on_plan()
            if made.decision == "approved"
            and self.plan is not None
            and made.at < self.plan.expires_at
            and made.by not in {RUNBOOK, self.opened_by}
        }

    def decisions_on_plan(self) -> list[Decision]:
        """Decisions on the plan that stands now; those on replaced plans do not count."""
        return [made for made in self.decisions if made.hash == self.plan_hash]

    def done(self, step: str) -> Mapping[str, Any] | None:
        """The result of a step that was carried out under the standing plan, else None."""
        return self.steps.get(step)


def _opened(state: Incident, fact: Fact) -> None:
    state.title = fact.data.get("title", "")
    state.component = fact.data.get("component", "")
    state.procedure = fact.data.get("procedure", "")
    state.cause = fact.data.get("cause", "")
    state.opened_by = fact.actor
    state.opened_at = fact.at


def _severity(state: Incident, fact: Fact) -> None:
    state.severity = Severity(fact.data["severity"])
    state.severity_reason = fact.data.get("reason", "")


def _planned(state: Incident, fact: Fact) -> None:
    state.plan = Plan.from_json(fact.data["plan"])
    state.plan_hash = fact.data["hash"]
    state.steps = {}


def _decided(state: Incident, fact: Fact) -> None:
    state.decisions.append(
        Decision(
            hash=fact.data["hash"],
            decision=fact.data["decision"],
            by=fact.actor,
            role=fact.data.get("role", ""),
            at=fact.at,
            reason=fact.data.get("reason", ""),
        )
    )


def _verified(state: Incident, fact: Fact) -> None:
    state.proof = fact.data
    if fact.data.get("holds"):
        state.mitigated_at = fact.at


def _closed(state: Incident, fact: Fact) -> None:
    state.closed_at = fact.at
    state.outcome = fact.data.get("outcome", "")


def _check(state: Incident, fact: Fact) -> None:
    state.checks[fact.data["step"]] = fact.data


def _diagnosed(state: Incident, fact: Fact) -> None:
    state.diagnosis = fact.data


def _reported(state: Incident, fact: Fact) -> None:
    state.report = fact.data


_APPLY: Mapping[FactKind, Callable[[Incident, Fact], object]] = {
    FactKind.OPENED: _opened,
    FactKind.ALERT_RECEIVED: lambda state, fact: state.alerts.append(fact.data),
    FactKind.CHECK_OBSERVED: _check,
    FactKind.SEVERITY_ASSIGNED: _severity,
    FactKind.DIAGNOSED: _diagnosed,
    FactKind.HOLD_SET: lambda state, fact: state.holds.update({fact.data["scope"]: fact.data}),
    FactKind.HOLD_LIFTED: lambda state, fact: state.holds.pop(fact.data["scope"], None),
    FactKind.EVIDENCE_SEALED: lambda state, fact: state.evidence.update(
        {fact.data["scope"]: fact.data}
    ),
    FactKind.PLAN_PROPOSED: _planned,
    FactKind.PLAN_DECIDED: _decided,
    FactKind.STEP_DONE: lambda state, fact: state.steps.update({fact.data["step"]: fact.data}),
    FactKind.VERIFIED: _verified,
    FactKind.NOTIFIED: lambda state, fact: state.notified.append(fact.data),
    FactKind.ESCALATED: lambda state, fact: state.escalations.update({fact.data["step"]: fact}),
    FactKind.CLOCK_STARTED: lambda state, fact: state.clocks.update(
        {fact.data["clock"]: fact.data}
    ),
    FactKind.CLOCK_STOPPED: lambda state, fact: state.clocks_stopped.add(fact.data["clock"]),
    FactKind.REPORTED: _reported,
    FactKind.CLOSED: _closed,
}
"""How each kind changes the state; kinds that are not here (notes, runs) only fill the timeline."""


def fold(incident: str, facts: Iterable[Fact]) -> Incident:
    """The state of `incident`. Facts of other incidents are ignored; order is the journal's."""
    state = Incident(id=incident)
    for fact in facts:
        if fact.incident != incident:
            continue
        state.facts.append(fact)
        apply = _APPLY.get(fact.kind)
        if apply is not None:
            apply(state, fact)
    return state
