"""The standing plan for a page: what it does, what that costs, and who still has to say yes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.incident import Decision, Incident, Stage
from tasks.domain.journaled import items, of_kind
from tasks.domain.names import is_same_person
from tasks.domain.plan import NOTHING, Plan
from tasks.domain.report_changes import StepRow, steps
from tasks.domain.roles import Act, decided_as, may
from tasks.domain.untrusted import visible
from tasks.work.people import Person

_LINES = 60
_OBSERVED = 60
_VALUE = 200


class Say(StrEnum):
    """What the person who looks can do about the plan now."""

    DECIDE = "approve or deny"
    DENY = "deny only: they opened the incident"
    STOP = "deny what is approved, before its next step"
    NOTHING = "look on"


@dataclass(frozen=True, slots=True)
class StepView:
    """One step, with how its carrying out stands: waiting, not finished, done or failed."""

    step: str
    action: str
    target: str
    destroys: str
    keeps_all: bool
    outcome: str
    summary: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One observation that the plan rests on, before (in the former plan) and now."""

    name: str
    was: str
    now: str
    changed: bool


@dataclass(frozen=True, slots=True)
class PlanView:
    """All that a person has to read before they decide. Text is fit to be shown."""

    hash: str
    summary: str
    will_be_lost: str
    steps: tuple[StepView, ...]
    standing: Standing
    expires_at: datetime
    needed: int
    approved_by: tuple[str, ...]
    decisions: tuple[Decision, ...]
    former: str
    differences: tuple[Difference, ...]
    dry_run: tuple[str, ...]
    say: Say
    why_not: str

    @property
    def missing(self) -> int:
        """Approvals that are still to come."""
        return max(0, self.needed - len(self.approved_by))


def plan_view(incident: Incident, person: Person, now: datetime) -> PlanView | None:
    """The standing plan as `person` sees it; None while there is none."""
    plan = incident.plan
    if plan is None:
        return None
    say, why_not = _say(incident, person, now)
    former = _former(incident)
    return PlanView(
        hash=incident.plan_hash,
        summary=visible(plan.summary, 1000),
        will_be_lost=visible(plan.will_be_lost, 1000),
        steps=_steps(incident, plan),
        standing=standing(incident, now),
        expires_at=plan.expires_at,
        needed=incident.approvers_required,
        approved_by=tuple(sorted(visible(name, 120) for name in incident.approvers())),
        decisions=tuple(incident.decisions_on_plan()),
        former=former.hash if former else "",
        differences=_differences(former, plan),
        dry_run=_dry_run(incident),
        say=say,
        why_not=why_not,
    )


def _say(incident: Incident, person: Person, now: datetime) -> tuple[Say, str]:
    """What they can do, and why not more."""
    stands = standing(incident, now)
    if incident.stage is Stage.CLOSED or stands not in {Standing.WAITING, Standing.APPROVED}:
        return Say.NOTHING, ""
    theirs = incident.plan.procedure if incident.plan else ""
    if not may(person.role, Act.DECIDE, decided_as(incident.procedure, theirs)):
        return Say.NOTHING, f"As {person.role} you may read this plan, not decide on it."
    mine = [made for made in incident.decisions_on_plan() if is_same_person(made.by, person.name)]
    if mine:
        another = " Another person must approve it too." if stands is Standing.WAITING else ""
        return Say.NOTHING, f"You have {mine[0].decision} this plan.{another}"
    if stands is Standing.APPROVED:
        return Say.STOP, ""
    if any(is_same_person(person.name, name) for name in incident.asked_by):
        return Say.DENY, "You asked for this: somebody else must approve the plan."
    return Say.DECIDE, ""


def _steps(incident: Incident, plan: Plan) -> tuple[StepView, ...]:
    proposed = [
        place
        for place, fact in enumerate(incident.facts)
        if fact.kind is FactKind.PLAN_PROPOSED and fact.data.get("hash") == incident.plan_hash
    ]
    since = incident.facts[proposed[-1] :] if proposed else incident.facts
    tried: dict[str, StepRow] = {row.step: row for row in steps(since)}
    return tuple(
        StepView(
            step=visible(step.step, 120),
            action=visible(step.action, 1000),
            target=visible(step.target),
            destroys=visible(step.destroys, 1000),
            keeps_all=step.destroys == NOTHING,
            outcome=tried[step.step].outcome if step.step in tried else "waiting",
            summary=tried[step.step].summary if step.step in tried else "",
        )
        for step in plan.steps
    )


def _former(incident: Incident) -> Plan | None:
    """The plan before the standing one, if it can be read."""
    for fact in reversed(of_kind(incident.facts, FactKind.PLAN_PROPOSED)):
        if fact.data.get("hash") == incident.plan_hash:
            continue
        try:
            return Plan.from_json(fact.data.get("plan"))
        except BadInput:
            return None
    return None


def _differences(former: Plan | None, plan: Plan) -> tuple[Difference, ...]:
    """Every observation of the standing plan and, where there is one, of the former."""
    before: Mapping[str, Any] = former.observed if former else plan.observed
    names = [*plan.observed, *(name for name in before if name not in plan.observed)]
    return tuple(
        Difference(
            visible(name, 120),
            _shown(before, name),
            _shown(plan.observed, name),
            changed=before.get(name) != plan.observed.get(name),
        )
        for name in names[:_OBSERVED]
    )


def _shown(observed: Mapping[str, Any], name: str) -> str:
    if name not in observed:
        return "not looked at"
    value = observed[name]
    return visible(value if isinstance(value, str) else json.dumps(value), _VALUE)


def _dry_run(incident: Incident) -> tuple[str, ...]:
    lines: list[str] = []
    for fact in of_kind(incident.facts, FactKind.DRY_RUN):
        if fact.data.get("hash") == incident.plan_hash:
            lines += [visible(line) for line in items(fact.data.get("lines"))]
    return tuple(lines[:_LINES])
