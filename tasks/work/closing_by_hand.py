"""The end of an incident by a person's word, and what speaks against it.

Not while a step is at work, a hold of the incident keeps the door closed, a clock of it runs or
something is isolated that goes back by itself:
who closes it would leave them to nobody, and nothing would ask for them again.
"""

from collections.abc import Mapping
from typing import Any

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import NotApproved
from tasks.domain.facts import Fact, FactKind
from tasks.domain.isolation import RETURN
from tasks.domain.isolation_state import Word, isolation_of
from tasks.domain.names import is_same_person
from tasks.domain.roles import Act
from tasks.work import incidents, locks
from tasks.work.floor import Floor, floor, said
from tasks.work.people import Person

CLOSED_BY_HAND = "closed by hand"

HALF = "half carried out: "
"""How the reason begins by which a person closes an incident whose plan has been begun only."""


def close(incident: str, person: Person, reason: str) -> Fact:
    """End the incident by hand, and order the run that writes its report.

    A plan that is half carried out and goes on no more is left so only by saying it: the reason
    begins with `HALF`.
    """
    words = said(reason, "a reason for closing")
    with floor(incident, person, Act.CLOSE) as speaker:
        closed = speaker.last(FactKind.CLOSED)
        if closed is not None and is_same_person(closed.actor, person.name):
            return closed
        if closed is not None:
            raise NotApproved(f"{incident} was closed by {closed.actor} already: read its report")
        _refuse_isolation(speaker)
        _refuse_changes_that_go_on(speaker)
        _refuse_holds_and_clocks(speaker)
        data = {"outcome": CLOSED_BY_HAND, "summary": _summary(speaker, words)}
        fact = speaker.say(FactKind.CLOSED, data, key="closed")
        incidents.enqueue_in(speaker.connection, incident, incidents.INCIDENT, f"report:{incident}")
    return fact


def _refuse_changes_that_go_on(speaker: Floor) -> None:
    """Whatever was decided since: a denial stops the next step, not the one that is at work."""
    state = speaker.state
    unfinished = _unfinished(speaker)
    if unfinished and standing(state, speaker.now) is Standing.APPROVED:
        raise NotApproved(
            f"expected no plan that is being carried out, found {', '.join(unfinished)} not done: "
            "let it end, or deny the plan, which stops it before its next step"
        )
    under_way = _under_way(speaker)
    if under_way and (
        incidents.response_is_ordered(speaker.connection, state.id)
        or any(locks.is_held_in(speaker.connection, each, state.id) for each in under_way.values())
    ):
        raise NotApproved(
            f"expected no step at work, found {', '.join(under_way)} begun and neither done nor "
            "failed: let it end"
        )


def _refuse_holds_and_clocks(speaker: Floor) -> None:
    held = [hold.scope for hold in speaker.state.held() if not hold.sealed]
    if held:
        raise NotApproved(
            f"expected no hold that keeps the door closed, found one on {', '.join(held)}: have "
            "it lifted, or its evidence sealed, and close the incident then"
        )
    for clock in sorted(speaker.state.clocks.keys() - speaker.state.clocks_stopped):
        until = str(speaker.state.clocks[clock].get("due", ""))[:16].replace("T", " ")
        raise NotApproved(
            f"expected no clock that runs, found the clock {clock}, which runs until {until} UTC: "
            f"tell the {_whom(speaker.state.clocks[clock], clock)} and stop it first"
        )


def _refuse_isolation(speaker: Floor) -> None:
    """Of a closed incident nothing goes back by itself: whoever stays cut off is confirmed."""
    isolation = isolation_of(speaker.state)
    if isolation is None or isolation.returned or isolation.word is Word.CONFIRM:
        return
    raise NotApproved(
        f"expected no isolation that goes back at {isolation.until:%Y-%m-%d %H:%M} UTC, found one: "
        f"runbook isolation confirm {speaker.state.id}, or return it, and close the incident then"
    )


def _whom(clock: Mapping[str, Any], name: str) -> str:
    """Who is to be told: the clock's recipient; one of the clock's own name is an office."""
    recipient = str(clock.get("recipient") or name)
    return name.upper() if recipient == name else recipient


def _summary(speaker: Floor, words: str) -> str:
    unfinished = _unfinished(speaker)
    if not unfinished:
        return words
    if not words.lower().startswith(HALF):
        raise NotApproved(
            f"expected a plan of which all or nothing was done, found {', '.join(unfinished)} not "
            f"done: to leave it so, begin the reason with {HALF.strip()!r} and say what stays"
        )
    return HALF + words[len(HALF) :]


def _unfinished(speaker: Floor) -> list[str]:
    """The steps that are not done of a plan that was begun; none of one that was not.

    What a person has confirmed does not go back: that step is not to be done any more.
    """
    state = speaker.state
    steps = state.plan.steps if state.plan and state.begun else ()
    isolation = isolation_of(state)
    stays = isolation is not None and isolation.word is Word.CONFIRM
    void = {RETURN} if stays else set()
    return [each.step for each in steps if not state.done(each.step) and each.step not in void]


def _under_way(speaker: Floor) -> dict[str, str]:
    """Steps that began and neither ended nor failed since, each with its target."""
    under_way: dict[str, str] = {}
    for fact in speaker.state.facts:
        step = str(fact.data.get("step"))
        if fact.kind is FactKind.PLAN_PROPOSED:
            under_way.clear()
        elif fact.kind is FactKind.STEP_STARTED:
            under_way[step] = str(fact.data.get("target"))
        elif fact.kind in {FactKind.STEP_DONE, FactKind.STEP_FAILED}:
            under_way.pop(step, None)
    return under_way
