"""Decisions on plans: named, authenticated, bound to one hash, each person once."""

from datetime import UTC, datetime
from typing import Literal

from tasks.domain.approval import APPROVED, DENIED, Standing, standing
from tasks.domain.errors import BadInput, NotApproved, PlanStale
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, Stage
from tasks.work import journal, responder
from tasks.work.people import Person, Role

_REASON_LIMIT = 2000


def decide(
    incident: str,
    plan_hash: str,
    decision: Literal["approved", "denied"],
    person: Person,
    reason: str,
) -> Fact:
    """Record a person's decision on the standing plan, and return its fact.

    Compare-and-set: the same person's second click finds the first. Raises BadInput (no such
    incident or plan), PlanStale (another plan stands now), NotApproved (role, own plan, expired,
    or decided already).
    """
    if len(reason) > _REASON_LIMIT:
        raise BadInput(f"expected a reason of at most {_REASON_LIMIT} characters")
    if person.role is not Role.APPROVER:
        raise NotApproved(f"expected an approver, found {person.name} with role {person.role}")
    with responder.connection() as connection, connection.transaction():
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        _check(state, plan_hash, decision, person)
        fact, _ = journal.append_in(
            connection,
            incident,
            FactKind.PLAN_DECIDED,
            {"hash": plan_hash, "decision": decision, "reason": reason, "role": person.role.value},
            actor=person.name,
            key=f"decision:{plan_hash}:{person.name}",
        )
        return fact


def _check(state: Incident, plan_hash: str, decision: str, person: Person) -> None:
    if state.plan is None:
        raise BadInput(f"expected an incident with a plan, found none for {state.id[:80]!r}")
    if state.plan_hash != plan_hash:
        raise PlanStale(
            f"expected the standing plan {state.plan_hash[:12]}, found {plan_hash[:12]!r}: "
            "read the new plan before deciding"
        )
    if person.name == state.opened_by and decision == APPROVED:
        raise NotApproved(f"{person.name} opened {state.id}: somebody else must approve its plan")
    if state.stage is Stage.CLOSED:
        raise NotApproved(f"{state.id} is closed: there is nothing left to decide")
    mine = [made for made in state.decisions_on_plan() if made.by == person.name]
    now = standing(state, datetime.now(UTC))
    stops = decision == DENIED and now is Standing.APPROVED  # before the next step begins
    if now is not Standing.WAITING and not mine and not stops:
        raise NotApproved(f"expected a plan that waits for a decision, found it {now}")
    if mine and mine[0].decision != decision:
        raise NotApproved(f"{person.name} has {mine[0].decision} this plan already")
