"""An incident is the fold of its facts; nothing about it is stored anywhere else.

A fact that lacks what its kind must say changes nothing, and stays among the facts: one odd line of
a version that is older or newer than ours must not keep people from their incident. Where staying
quiet would be dangerous, odd means no: a plan that cannot be read replaces the standing one.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.domain.change_wish import ChangeWish, Wanted
from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, Fact, FactKind
from tasks.domain.holds import Glass, Hold, broken_glass, standing_holds
from tasks.domain.plan import Plan
from tasks.domain.proofs import is_holding
from tasks.domain.recovery_target import Target
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.routes import Remedy
from tasks.domain.severity import Severity

APPROVED = "approved"
APPROVED_BY_POLICY = "approved by policy"
"""The runbook's own yes; it counts only where the policy says that the remedy is automatic."""


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
    group_key: str = ""
    owner: str = ""
    remedy: str = ""
    approvers_needed: int = 1
    closes_on_resolve: bool = False
    cooldown_minutes: float | None = None
    lead: str = ""
    opened_by: str = ""
    opened_at: datetime | None = None
    alerts_resolved_at: datetime | None = None
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
    target: Target | None = None
    target_by: str = ""
    rollback: RollbackWish | None = None
    wish: ChangeWish | None = None
    plan: Plan | None = None
    plan_hash: str = ""
    decisions: list[Decision] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
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
        if said - {APPROVED, APPROVED_BY_POLICY}:
            return Stage.OPEN
        return Stage.CARRYING_OUT if self.is_approved() else Stage.AWAITING_APPROVAL

    @property
    def approvers_required(self) -> int:
        """How many people must approve the standing plan: what it asks for, or the policy."""
        return max(self.plan.approvers_needed if self.plan else 1, self.approvers_needed)

    def is_approved(self) -> bool:
        """Whether enough people, or the policy, have approved the standing plan in time."""
        return len(self.approvers()) >= self.approvers_required or self.is_approved_by_policy()

    def is_approved_by_policy(self) -> bool:
        """Whether the runbook has said so, in time, of a plan that the policy lets pass."""
        return self.policy_approves() and any(
            made.decision == APPROVED_BY_POLICY
            and made.by == RUNBOOK
            and self.plan is not None
            and made.at < self.plan.expires_at
            for made in self.decisions_on_plan()
        )

    def policy_approves(self) -> bool:
        """Whether the standing plan needs no person: an automatic remedy that destroys nothing.

        A plan or a policy that asks for two people means people, whatever the remedy.
        """
        return (
            self.remedy == Remedy.AUTOMATIC
            and self.plan is not None
            and self.plan.destroys_nothing
            and self.approvers_required == 1
        )

    @property
    def glass(self) -> list[Glass]:
        """Every glass that was broken for this incident, run out or not."""
        return broken_glass(self.facts)

    def held(self) -> list[Hold]:
        """The holds that this incident has set and that were not lifted; sealed ones too."""
        return standing_holds(self.facts)

    @property
    def asked_by(self) -> tuple[str, ...]:
        """Who may not approve the plan: who opened the incident, or said where it leads."""
        wishes = [each.by for each in (self.rollback, self.wish) if each is not None]
        return tuple(name for name in (self.opened_by, self.target_by, *wishes) if name)

    def approvers(self) -> set[str]:
        """Who has approved the standing plan in time: persons, and none who asked for it."""
        return {
            made.by
            for made in self.decisions_on_plan()
            if made.decision == APPROVED
            and self.plan is not None
            and made.at < self.plan.expires_at
            and made.by not in {RUNBOOK, *self.asked_by}
        }

    def decisions_on_plan(self) -> list[Decision]:
        """Decisions on the plan that stands now; those on replaced plans do not count."""
        return [made for made in self.decisions if made.hash == self.plan_hash]

    def done(self, step: str) -> Mapping[str, Any] | None:
        """The result of a step that was carried out under the standing plan, else None."""
        return self.steps.get(step)


def _key(fact: Fact, key: str) -> str:
    """What the fact is about. Raises BadInput without it: then it says nothing."""
    found = fact.data.get(key)
    if not isinstance(found, str) or not found:
        raise BadInput(
            f"expected {key} of the fact {fact.seq} ({fact.kind}) as text, found "
            f"{type(found).__name__}"
        )
    return found


def _words(fact: Fact, key: str) -> str:
    """Words for people: without them the rest of the fact still holds."""
    found = fact.data.get(key)
    return found if isinstance(found, str) else ""


def _opened(state: Incident, fact: Fact) -> None:
    state.group_key = _words(fact, "group_key")
    state.owner = _words(fact, "owner")
    state.remedy = _words(fact, "remedy")
    state.closes_on_resolve = fact.data.get("closes_on_resolve") is True
    cooldown = fact.data.get("cooldown_minutes")
    if isinstance(cooldown, int | float) and not isinstance(cooldown, bool):
        state.cooldown_minutes = max(0.0, float(cooldown))
    approvers = fact.data.get("approvers")
    if type(approvers) is int:
        state.approvers_needed = max(1, approvers)
    state.title = _words(fact, "title")
    state.component = _words(fact, "component")
    state.procedure = _words(fact, "procedure")
    state.cause = _words(fact, "cause")
    state.opened_by = fact.actor
    state.opened_at = fact.at


def _alert(state: Incident, fact: Fact) -> None:
    state.alerts.append(fact.data)
    if fact.data.get("status") != "firing":
        return
    state.alerts_resolved_at = None
    # Whoever joins keeps the terms of its own route where they are the stricter ones.
    if fact.data.get("closes_on_resolve") is False:
        state.closes_on_resolve = False
    approvers = fact.data.get("approvers")
    if type(approvers) is int:
        state.approvers_needed = max(state.approvers_needed, approvers)


def _alerts_resolved(state: Incident, fact: Fact) -> None:
    state.alerts_resolved_at = fact.at


def _lead(state: Incident, fact: Fact) -> None:
    state.lead = fact.actor


def _severity(state: Incident, fact: Fact) -> None:
    named = _key(fact, "severity")
    if named not in set(Severity):
        raise BadInput(f"expected a severity of {', '.join(Severity)}, found {named[:40]!r}")
    severity = Severity(named)
    # By itself it only rises, in whatever order two runs wrote it; a person may lower it.
    if state.severity is None or fact.actor != RUNBOOK or severity < state.severity:
        state.severity = severity
        state.severity_reason = _words(fact, "reason")


def _targeted(state: Incident, fact: Fact) -> None:
    if fact.actor == RUNBOOK:
        raise BadInput("expected a person who chooses the target, found the runbook")
    state.target = Target.from_json(fact.data.get("target"))
    state.target_by = fact.actor


def _asked_back(state: Incident, fact: Fact) -> None:
    if fact.actor == RUNBOOK:
        raise BadInput("expected a person who asks for a rollback, found the runbook")
    state.rollback = RollbackWish(_key(fact, "workload"), _words(fact, "holder"), fact.actor)


def _asked_to_change(state: Incident, fact: Fact) -> None:
    if fact.actor == RUNBOOK:
        raise BadInput("expected a person who asks for a change, found the runbook")
    wanted, replicas = _key(fact, "wanted"), fact.data.get("replicas", 0)
    if wanted not in set(Wanted) or type(replicas) is not int or replicas < 0:
        raise BadInput(f"expected a change of {', '.join(Wanted)}, found {wanted[:40]!r}")
    state.wish = ChangeWish(Wanted(wanted), fact.actor, _words(fact, "part"), replicas)


def _planned(state: Incident, fact: Fact) -> None:
    state.plan, state.plan_hash, state.steps, state.begun = None, "", {}, set()
    plan = Plan.from_json(fact.data.get("plan"))
    if plan.hash != _key(fact, "hash"):
        raise BadInput(f"expected the plan {plan.hash}, found it named {_key(fact, 'hash')[:80]!r}")
    state.plan, state.plan_hash = plan, plan.hash


def _decided(state: Incident, fact: Fact) -> None:
    state.decisions.append(
        Decision(
            hash=_key(fact, "hash"),
            decision=_words(fact, "decision"),  # without one it is no yes
            by=fact.actor,
            role=_words(fact, "role"),
            at=fact.at,
            reason=_words(fact, "reason"),
        )
    )


def _verified(state: Incident, fact: Fact) -> None:
    state.proof = fact.data
    if fact.data.get("holds") is True and not is_holding(fact):
        state.mitigated_at = fact.at


def _closed(state: Incident, fact: Fact) -> None:
    state.closed_at = fact.at
    state.outcome = _words(fact, "outcome")


def _diagnosed(state: Incident, fact: Fact) -> None:
    state.diagnosis = fact.data


def _reported(state: Incident, fact: Fact) -> None:
    state.report = fact.data


_APPLY: Mapping[FactKind, Callable[[Incident, Fact], object]] = {
    FactKind.OPENED: _opened,
    FactKind.ALERT_RECEIVED: _alert,
    FactKind.ALERTS_RESOLVED: _alerts_resolved,
    FactKind.LEAD_TAKEN: _lead,
    FactKind.CHECK_OBSERVED: lambda state, fact: state.checks.update(
        {_key(fact, "step"): fact.data}
    ),
    FactKind.SEVERITY_ASSIGNED: _severity,
    FactKind.DIAGNOSED: _diagnosed,
    FactKind.HOLD_SET: lambda state, fact: state.holds.update({_key(fact, "scope"): fact.data}),
    FactKind.HOLD_LIFTED: lambda state, fact: state.holds.pop(_key(fact, "scope"), None),
    FactKind.EVIDENCE_SEALED: lambda state, fact: state.evidence.update(
        {_key(fact, "scope"): fact.data}
    ),
    FactKind.TARGET_CHOSEN: _targeted,
    FactKind.ROLLBACK_ASKED: _asked_back,
    FactKind.CHANGE_ASKED: _asked_to_change,
    FactKind.PLAN_PROPOSED: _planned,
    FactKind.PLAN_DECIDED: _decided,
    FactKind.STEP_STARTED: lambda state, fact: state.begun.add(_key(fact, "step")),
    FactKind.STEP_DONE: lambda state, fact: state.steps.update({_key(fact, "step"): fact.data}),
    FactKind.VERIFIED: _verified,
    FactKind.NOTIFIED: lambda state, fact: state.notified.append(fact.data),
    FactKind.ESCALATED: lambda state, fact: state.escalations.update({_key(fact, "step"): fact}),
    FactKind.CLOCK_STARTED: lambda state, fact: state.clocks.update(
        {_key(fact, "clock"): fact.data}
    ),
    FactKind.CLOCK_STOPPED: lambda state, fact: state.clocks_stopped.add(_key(fact, "clock")),
    FactKind.REPORTED: _reported,
    FactKind.CLOSED: _closed,
}
"""How each kind changes the state; kinds that are not here (notes, runs) only fill the timeline.

Each raises BadInput for a fact that does not say what its kind must, before it changes more than
it may.
"""


def fold(incident: str, facts: Iterable[Fact]) -> Incident:
    """The state of `incident`. Facts of other incidents are ignored; order is the journal's."""
    state = Incident(id=incident)
    for fact in facts:
        if fact.incident != incident:
            continue
        state.facts.append(fact)
        apply = _APPLY.get(fact.kind)
        if apply is not None:
            with suppress(BadInput):
                apply(state, fact)
    return state
