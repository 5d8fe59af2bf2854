"""A person asks for the database as of some state: the target is a fact under their name.

It joins the audit trail's open incident, because two recoveries of one database would only be in
each other's way, or opens one of its own. Nothing is changed by it: a plan follows, and somebody
else approves that.
"""

from dataclasses import dataclass

from tasks.domain.approval import EXPIRED, Standing, standing
from tasks.domain.errors import NotApproved
from tasks.domain.facts import Fact, FactKind
from tasks.domain.recovery_plan import PROCEDURE, is_under_way, was_restored
from tasks.domain.recovery_target import Target
from tasks.domain.roles import Act
from tasks.domain.severity import Severity
from tasks.work import incidents, journal
from tasks.work.declaring import Declaration, open_in
from tasks.work.floor import Floor, floor_in, require, said
from tasks.work.people import Person

COMPONENT = "audit-trail"


@dataclass(frozen=True, slots=True)
class Asked:
    """The incident whose plan will be for the target; `joined`: it was open already."""

    incident: str
    target: str
    joined: bool = False


def ask_for_restore(person: Person, target: Target, reason: str) -> Asked:
    """Record the target and order the run that plans for it; a repeated request changes nothing.

    Raises NotPermitted, BadInput (no reason), or NotApproved: a restore is being carried out.
    """
    require(person, Act.DECLARE)
    words = said(reason, "a reason for the restore")
    with incidents.durably() as connection:
        journal.lock(connection)
        known = incidents.open_one_of(connection, COMPONENT)
        if known is None:
            title = f"Restore the database: {target}"
            declared = Declaration(title, COMPONENT, PROCEDURE, Severity.P1, words)
            speaker = open_in(connection, person, declared)
            _choose(speaker, target, words)
            return Asked(speaker.state.id, str(target))
        speaker = floor_in(connection, known, person)
        order = _chosen(speaker, target, words)
        if order is not None:
            _order(speaker, order)
        return Asked(known, str(target), joined=True)


def _chosen(speaker: Floor, target: Target, reason: str) -> Fact | None:
    """The fact for which a run must look at the incident; None when one does, or its plan stands.

    Another target always needs a look, though a run is at work: it may have read the older one.
    """
    state = speaker.state
    if is_under_way(state):
        raise NotApproved(
            f"expected a target before the first step, found {state.id} being carried out: wait "
            "for its end, or deny its plan"
        )
    if was_restored(state):
        raise NotApproved(
            f"expected an incident without a restore, found {state.id} restored already: close it, "
            "then ask again"
        )
    if state.target != target:
        _end_plan(speaker, target)
        return _choose(speaker, target, reason)
    found = standing(state, speaker.now)
    if found is Standing.WAITING or incidents.response_is_ordered(speaker.connection, state.id):
        return None
    again = {"text": f"{speaker.person.name} asks again for {target}: {reason}"}
    if found in {Standing.DENIED, Standing.EXPIRED}:
        again["ended_plan"] = state.plan_hash  # else the run would only end that plan once more
    return speaker.say(FactKind.NOTE, again)


def _choose(speaker: Floor, target: Target, reason: str) -> Fact:
    return speaker.say(FactKind.TARGET_CHOSEN, {"target": target.as_json(), "reason": reason})


def _end_plan(speaker: Floor, target: Target) -> None:
    """A plan for another target than is wanted now can be approved no more."""
    state = speaker.state
    if state.plan is not None and state.plan.observed.get("target") == str(target):
        return
    if standing(state, speaker.now) not in {Standing.WAITING, Standing.APPROVED}:
        return
    data = {
        "hash": state.plan_hash,
        "decision": EXPIRED,
        "reason": "another target was chosen",
        "role": "",
    }
    speaker.say(FactKind.PLAN_DECIDED, data, key=f"decision:{state.plan_hash}:{EXPIRED}")


def _order(speaker: Floor, fact: Fact) -> None:
    state = speaker.state
    incidents.enqueue_in(
        speaker.connection,
        state.id,
        incidents.INCIDENT,
        f"{state.id}:restore:{fact.seq}",
        priority=(state.severity or Severity.P2).rank,
        component=state.component,
    )
