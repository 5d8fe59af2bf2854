"""Decisions on plans: named, authenticated, bound to one hash, each person once.

A yes may be taken back by its own person, a no may not: whoever sees a change go wrong stops it.
"""

from datetime import UTC, datetime
from typing import Literal

from tasks.domain.approval import APPROVED, APPROVED_BY_POLICY, DENIED, Standing, standing
from tasks.domain.errors import BadInput, NotApproved, PlanStale
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.names import appearance, is_same_person
from tasks.domain.roles import Act, decided_as, deciders, may
from tasks.work import incidents, journal
from tasks.work.people import Person

_REASON_LIMIT = 2000


class NoPlan(BadInput):
    """The incident has no plan, or is none."""


def decide(
    incident: str,
    plan_hash: str,
    decision: Literal["approved", "denied"],
    person: Person,
    reason: str,
) -> Fact:
    """Record a person's decision on the standing plan, and return its fact.

    Compare-and-set: the same person's second click finds the first. Raises NoPlan, BadInput (a
    denial without a reason, or too long a one), PlanStale (another plan stands now), NotApproved
    (role, own plan, expired, or decided already).
    """
    if len(reason) > _REASON_LIMIT:
        raise BadInput(f"expected a reason of at most {_REASON_LIMIT} characters")
    if decision == DENIED and not reason.strip():
        raise BadInput("expected a reason for the denial, found none: those who plan anew need it")
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        had_approved = _check(state, plan_hash, decision, person)
        taken_back = f":{DENIED}" if had_approved and decision == DENIED else ""
        fact, _ = journal.append_in(
            connection,
            incident,
            FactKind.PLAN_DECIDED,
            {"hash": plan_hash, "decision": decision, "reason": reason, "role": person.role.value},
            actor=person.name,
            key=f"decision:{plan_hash}:{appearance(person.name)}{taken_back}",
        )
        return fact


def decide_by_policy(incident: str, plan_hash: str) -> bool:
    """Record the routing policy's yes to the standing plan, if it says one; whether it does.

    It does for a plan that destroys nothing, of an incident whose remedy is automatic.
    """
    with incidents.durably() as connection:
        journal.lock(connection)
        state = journal.read_in(connection, incident)
        if state.plan_hash != plan_hash or not state.policy_approves():
            return False
        route = next(str(fact.data.get("route", "")) for fact in state.facts)
        data = {
            "hash": plan_hash,
            "decision": APPROVED_BY_POLICY,
            "reason": f"route {route} of the policy: the remedy is automatic, nothing is destroyed",
            "role": "policy",
        }
        key = f"decision:{plan_hash}:policy"
        journal.append_in(connection, incident, FactKind.PLAN_DECIDED, data, key=key)
    return True


def _check(state: Incident, plan_hash: str, decision: str, person: Person) -> bool:
    """Whether the person has approved this plan before. Raises as `decide`."""
    if state.plan is None:
        raise NoPlan(f"expected an incident with a plan, found none for {state.id[:80]!r}")
    procedure = decided_as(state.procedure, state.plan.procedure)
    if not may(person.role, Act.DECIDE, procedure):
        roles = " or ".join(sorted(deciders(procedure)))
        raise NotApproved(f"expected {roles}, found {person.name} with role {person.role}")
    if state.plan_hash != plan_hash:
        raise PlanStale(
            f"expected the standing plan {state.plan_hash[:12]}, found {plan_hash[:12]!r}: "
            "read the new plan before deciding"
        )
    asked = any(is_same_person(person.name, name) for name in state.asked_by)
    if asked and decision == APPROVED:
        raise NotApproved(
            f"{person.name} opened {state.id} or chose its target: somebody else must approve its "
            "plan"
        )
    if state.stage is Stage.CLOSED:
        raise NotApproved(f"{state.id} is closed: there is nothing left to decide")
    mine = [
        made.decision for made in state.decisions_on_plan() if is_same_person(made.by, person.name)
    ]
    if decision == APPROVED and DENIED in mine:
        raise NotApproved(f"{person.name} has {DENIED} this plan already")
    now = standing(state, datetime.now(UTC))
    stops = decision == DENIED and now is Standing.APPROVED  # before the next step begins
    if decision not in mine and now is not Standing.WAITING and not stops:
        raise NotApproved(f"expected a plan that waits for a decision, found it {now}")
    return APPROVED in mine
