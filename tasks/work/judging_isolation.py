"""A person's word on an isolation that stands: confirm it, or have it taken back now."""

from datetime import datetime

from tasks.domain.errors import NotApproved
from tasks.domain.facts import Fact, FactKind
from tasks.domain.isolation_state import Isolation, Word, isolation_of
from tasks.domain.names import is_same_person
from tasks.domain.roles import Act
from tasks.domain.severity import Severity
from tasks.work import incidents
from tasks.work.floor import Floor, floor, said
from tasks.work.people import Person

_LATER_SECONDS = 5.0
"""Beyond the minute by the clock that looks: then it is due by that clock too."""


def judge_isolation(incident: str, person: Person, word: Word, reason: str) -> Fact:
    """Record the word; RETURN also orders the run that takes the isolation back.

    The newest word counts, and the same person's second click finds the first. Raises NotPermitted,
    BadInput, or NotApproved: nothing is isolated, it went back already, the incident is closed.
    """
    words = said(reason, "a reason for the word on the isolation")
    with floor(incident, person, Act.JUDGE_ISOLATION) as speaker:
        speaker.require_open(f"{word} an isolation")
        isolation = isolation_of(speaker.state)
        if isolation is None or isolation.returned:
            what = "none" if isolation is None else "one that was taken back already"
            raise NotApproved(f"expected an isolation of {incident} that stands, found {what}")
        last = speaker.last(FactKind.ISOLATION_JUDGED)
        is_mine = last is not None and is_same_person(last.actor, person.name)
        if last is not None and is_mine and isolation.word is word and isolation.by == last.actor:
            return last
        data = {
            "word": word.value,
            "plan": isolation.plan_hash,
            "reason": words,
            "role": person.role.value,
        }
        fact = speaker.say(FactKind.ISOLATION_JUDGED, data)
        if word is Word.RETURN:
            order_return(speaker, fact)
    return fact


def order_return(speaker: Floor, fact: Fact) -> None:
    """The run that takes it back, first of all that waits; under the key that the ticker uses."""
    state = speaker.state
    state.facts.append(fact)
    isolation = isolation_of(state)
    if isolation is not None:
        key = return_order(state.id, isolation)
        incidents.enqueue_in(
            speaker.connection, state.id, incidents.INCIDENT, key, priority=Severity.P0.rank
        )


def return_order(incident: str, isolation: Isolation) -> str:
    """Names the order of one attempt to take it back: it is given once, whoever gives it."""
    return f"{incident}:isolation-back:{isolation.return_key}"


def order_return_again(incident: str, isolation: Isolation, now: datetime) -> bool:
    """For a run that was ordered to take it back and finds that it is not due: another, then.

    The clock of whoever orders may be ahead of ours (`now`), and each attempt is ordered once:
    without this nobody would come again. True when another run was ordered.
    """
    due = isolation.return_at
    if due is None or due <= now:
        return False
    order = return_order(incident, isolation)
    again = f"{order}:again:{now:%Y%m%d%H%M}"
    wait = (due - now).total_seconds() + _LATER_SECONDS
    with incidents.durably() as connection:
        if not incidents.is_ordered_in(connection, order):
            return False
        urgent = Severity.P0.rank
        return incidents.enqueue_in(
            connection, incident, incidents.INCIDENT, again, priority=urgent, after_seconds=wait
        )
