"""A person wants a release gone: the wish is a fact under their name, and a plan follows.

It has an incident of its own, one for each workload, beside one that an alert may have opened about
what the workload serves: the lock of the workload keeps the two apart. Nothing is changed by it,
and somebody else approves the plan.
"""

import re
from dataclasses import dataclass

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind
from tasks.domain.roles import Act
from tasks.domain.rollback_plan import PROCEDURE
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.severity import Severity
from tasks.domain.untrusted import visible
from tasks.work import incidents, journal
from tasks.work.declaring import Declaration, open_in
from tasks.work.earlier_plans import end_plan, require_nobody_at_work
from tasks.work.floor import Floor, floor_in, require, said
from tasks.work.people import Person

_WORKLOAD = re.compile("(deployment|statefulset)/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_HOLDER = re.compile("([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?")
_COMPONENT_LIMIT = 64
_NOT_IN_A_COMPONENT = re.compile("[^a-z0-9-]")
_ENDED = frozenset({Standing.DENIED, Standing.EXPIRED})


@dataclass(frozen=True, slots=True)
class Asked:
    """The incident whose plan will be for the wish; `joined`: it was open already."""

    incident: str
    workload: str
    joined: bool = False


def ask_for_rollback(person: Person, workload: str, holder: str, reason: str) -> Asked:
    """Record the wish and order the run that plans for it; a repeated request changes nothing.

    `holder` names a revision by its ReplicaSet or ControllerRevision; empty: the last one that was
    healthy by evidence. Raises NotPermitted, BadInput, or NotApproved: a rollback is being carried
    out.
    """
    require(person, Act.DECLARE)
    wish = _wish(person, workload, holder)
    words = said(reason, "a reason for the rollback")
    component = component_of(workload)
    with incidents.durably() as connection:
        journal.lock(connection)
        known = incidents.open_one_of(connection, component)
        if known is None:
            title = f"Roll back {workload}"
            declared = Declaration(title, component, PROCEDURE, Severity.P2, words)
            speaker = open_in(connection, person, declared)
            _say(speaker, wish, words)
            return Asked(speaker.state.id, workload)
        speaker = floor_in(connection, known, person)
        order = _wished(speaker, wish, words)
        if order is not None:
            _order(speaker, order)
        return Asked(known, workload, joined=True)


def component_of(workload: str) -> str:
    """The component of a workload's own incident: `deployment-rlhf-audit-trail`."""
    return _NOT_IN_A_COMPONENT.sub("-", workload)[:_COMPONENT_LIMIT]


def _wish(person: Person, workload: str, holder: str) -> RollbackWish:
    if _WORKLOAD.fullmatch(workload) is None:
        raise BadInput(
            f"expected deployment/NAME or statefulset/NAME, found {visible(workload, 80)!r}"
        )
    if _HOLDER.fullmatch(holder) is None:
        raise BadInput(
            "expected the name of the ReplicaSet or ControllerRevision that keeps a revision, "
            f"found {visible(holder, 80)!r}"
        )
    return RollbackWish(workload, holder, person.name)


def _wished(speaker: Floor, wish: RollbackWish, reason: str) -> Fact | None:
    """The fact for which a run must look at the incident; None when one does, or its plan stands.

    Another wish always needs a look, though a run is at work: it may have read the older one.
    """
    state = speaker.state
    require_nobody_at_work(speaker)
    before = state.rollback
    if before is None or (before.workload, before.holder) != (wish.workload, wish.holder):
        end_plan(speaker, "another revision was asked for")
        return _say(speaker, wish, reason)
    found = standing(state, speaker.now)
    if found is Standing.WAITING or incidents.response_is_ordered(speaker.connection, state.id):
        return None
    again = {"text": f"{speaker.person.name} asks again to roll back {wish.workload}: {reason}"}
    if found in _ENDED:
        again["ended_plan"] = state.plan_hash  # else the run would only end that plan once more
    return speaker.say(FactKind.NOTE, again)


def _say(speaker: Floor, wish: RollbackWish, reason: str) -> Fact:
    data = {"workload": wish.workload, "holder": wish.holder, "reason": reason}
    return speaker.say(FactKind.ROLLBACK_ASKED, data)


def _order(speaker: Floor, fact: Fact) -> None:
    state = speaker.state
    incidents.enqueue_in(
        speaker.connection,
        state.id,
        incidents.INCIDENT,
        f"{state.id}:rollback:{fact.seq}",
        priority=(state.severity or Severity.P2).rank,
        component=state.component,
    )
