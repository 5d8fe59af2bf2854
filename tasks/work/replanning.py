"""Another run of the response, when a person asks for it: most of all for a new plan.

A plan that was denied or has expired stands no more and nothing follows it by itself: a person has
the next step. So it is after a run that stopped before it had carried out what was approved.
"""

from datetime import datetime

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import NotApproved
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.names import is_same_person
from tasks.domain.roles import Act
from tasks.domain.severity import Severity
from tasks.work import incidents
from tasks.work.floor import Floor, floor
from tasks.work.people import Person

_ENDED = frozenset({Standing.DENIED, Standing.EXPIRED})
_ASKED = "asked_again"


def is_dead_end(state: Incident, now: datetime) -> bool:
    """Whether the incident is open with a plan on which nobody has to decide any more.

    Unless a run is ordered or at work, only `replan` goes on from there.
    """
    is_over = standing(state, now) in {*_ENDED, Standing.APPROVED}
    return is_over and state.stage is not Stage.CLOSED


def replan(incident: str, person: Person) -> Fact:
    """Order another run under the person's name; the note that says so.

    It makes a new plan when the standing one was denied or has expired, and else goes on where the
    journal ends. Raises NotPermitted, BadInput (no such incident), or NotApproved: it is closed, a
    run is ordered or at work, or the standing plan waits for a decision. The same person's second
    click finds the first.
    """
    with floor(incident, person, Act.LEAD) as speaker:
        speaker.require_open("make a new plan")
        found = standing(speaker.state, speaker.now)
        if incidents.response_is_ordered(speaker.connection, incident):
            return _asked_before(speaker)
        if found is Standing.WAITING:
            raise NotApproved(
                "expected no plan that waits for a decision, found "
                f"{speaker.state.plan_hash[:12]}: deny it, and ask for another then"
            )
        return _order(speaker, found)


def _order(speaker: Floor, found: Standing) -> Fact:
    state = speaker.state
    what = "a new plan" if found in _ENDED else "another run"
    data = {"text": f"{speaker.person.name} asks for {what}", _ASKED: True}
    if found in _ENDED:
        data["ended_plan"] = state.plan_hash  # else the run would only end that plan once more
    fact = speaker.say(FactKind.NOTE, data)
    incidents.enqueue_in(
        speaker.connection,
        state.id,
        incidents.INCIDENT,
        f"{state.id}:replan:{fact.seq}",
        priority=(state.severity or Severity.P2).rank,
        component=state.component,
    )
    return fact


def _asked_before(speaker: Floor) -> Fact:
    last = speaker.last(FactKind.NOTE)
    if (
        last is None
        or _ASKED not in last.data
        or not is_same_person(last.actor, speaker.person.name)
    ):
        raise NotApproved(
            f"a run of {speaker.state.id} is ordered or at work already: wait for what it brings"
        )
    return last
