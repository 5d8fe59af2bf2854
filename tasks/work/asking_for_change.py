"""A person wants other replicas, or the whole system stopped or started again.

The wish is a fact under their name in an incident of its own, and a plan follows: nothing is
changed by it, and others than who asked approve the plan.
"""

from dataclasses import dataclass
from typing import Any

from tasks.domain import emergency_plan, scale_plan
from tasks.domain.approval import Standing, standing
from tasks.domain.change_wish import ChangeWish, Wanted
from tasks.domain.errors import BadInput
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.mending import was_verified
from tasks.domain.roles import Act
from tasks.domain.scale_plan import SCALED_PARTS
from tasks.domain.severity import Severity
from tasks.work import incidents, journal
from tasks.work.declaring import Declaration, open_in
from tasks.work.earlier_plans import end_plan, require_nobody_at_work
from tasks.work.floor import Floor, floor_in, require, said
from tasks.work.people import Person

_MOST_REPLICAS = 1000
_ENDED = frozenset({Standing.DENIED, Standing.EXPIRED})


@dataclass(frozen=True, slots=True)
class Asked:
    """The incident whose plan will be for the wish; `joined`: it was open already."""

    incident: str
    wanted: str
    joined: bool = False


def ask_for_change(
    person: Person, wanted: Wanted, reason: str, part: str = "", replicas: int = 0
) -> Asked:
    """Record the wish and order the run that plans for it; a repeated request changes nothing.

    `part` and `replicas` are needed to scale. Raises NotPermitted, BadInput, or NotApproved: the
    plan for an earlier wish is being carried out.
    """
    require(person, Act.DECLARE)
    wish = _checked(ChangeWish(wanted, person.name, part, replicas))
    words = said(reason, "a reason for the change")
    declared = _declared(wish, words)
    with incidents.durably() as connection:
        journal.lock(connection)
        known = incidents.open_one_of(connection, declared.component)
        if known is None:
            terms = {"cooldown_minutes": 0.0} if wanted is not Wanted.SCALE else {}
            speaker = open_in(connection, person, declared, terms)
            _say(speaker, wish, words)
            return Asked(speaker.state.id, wanted.value)
        speaker = floor_in(connection, known, person)
        order = _wished(speaker, wish, words)
        if order is not None:
            _order(speaker, order)
        return Asked(known, wanted.value, joined=True)


def _checked(wish: ChangeWish) -> ChangeWish:
    if wish.wanted is not Wanted.SCALE:
        if wish.part or wish.replicas:
            raise BadInput("expected a shutdown or a start of all parts, found one part named")
        return wish
    if wish.part not in SCALED_PARTS:
        parts = " or ".join(SCALED_PARTS)
        raise BadInput(f"expected {parts} to scale, found {wish.part[:40]!a}")
    if not 1 <= wish.replicas <= _MOST_REPLICAS:
        raise BadInput(f"expected 1 to {_MOST_REPLICAS} replicas, found {wish.replicas}")
    return wish


def _declared(wish: ChangeWish, reason: str) -> Declaration:
    if wish.wanted is Wanted.SCALE:
        title = f"Scale the {wish.part} to {wish.replicas} replicas"
        component = f"scale-{wish.part}"
        return Declaration(title, component, scale_plan.PROCEDURE, Severity.P3, reason)
    title = "Emergency: shut down" if wish.wanted is Wanted.SHUT_DOWN else "Emergency: start"
    return Declaration(title, "emergency", emergency_plan.PROCEDURE, Severity.P0, reason)


def _wished(speaker: Floor, wish: ChangeWish, reason: str) -> Fact | None:
    """The fact for which a run must look at the incident; None when one does, or its plan stands.

    Another wish always needs a look, though a run is at work: it may have read the older one.
    """
    state = speaker.state
    require_nobody_at_work(speaker)
    if not _is_same(state, wish):
        end_plan(speaker, "another change was asked for")
        return _say(speaker, wish, reason)
    found = standing(state, speaker.now)
    waits = found is Standing.WAITING and not was_verified(state)
    if waits or incidents.response_is_ordered(speaker.connection, state.id):
        return None
    again = {"text": f"{speaker.person.name} asks again to {wish.wanted}: {reason}"}
    if found in _ENDED:
        again["ended_plan"] = state.plan_hash  # else the run would only end that plan once more
    return speaker.say(FactKind.NOTE, again)


def _is_same(state: Incident, wish: ChangeWish) -> bool:
    before = state.wish
    return before is not None and (before.wanted, before.part, before.replicas) == (
        wish.wanted,
        wish.part,
        wish.replicas,
    )


def _say(speaker: Floor, wish: ChangeWish, reason: str) -> Fact:
    data: dict[str, Any] = {"wanted": wish.wanted.value, "reason": reason}
    if wish.wanted is Wanted.SCALE:
        data |= {"part": wish.part, "replicas": wish.replicas}
    return speaker.say(FactKind.CHANGE_ASKED, data)


def _order(speaker: Floor, fact: Fact) -> None:
    state = speaker.state
    incidents.enqueue_in(
        speaker.connection,
        state.id,
        incidents.INCIDENT,
        f"{state.id}:change:{fact.seq}",
        priority=(state.severity or Severity.P2).rank,
        component=state.component,
    )
