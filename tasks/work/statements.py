"""What people say about an incident: every word is a fact under its name.

All raise NotPermitted (the role), BadInput (no such incident, no reason) or NotApproved (the
incident is not in a state for it), and then nothing is recorded. A repeated click finds what the
first one recorded. Incidents are declared in `declaring`, changes held and freed in `holding`.
"""

from tasks.domain.acknowledging import ACKNOWLEDGED
from tasks.domain.errors import BadInput
from tasks.domain.escalation import lowering
from tasks.domain.facts import Fact, FactKind
from tasks.domain.names import is_same_person
from tasks.domain.policy import DPO_CLOCK
from tasks.domain.reassessment import persons_word
from tasks.domain.roles import Act, may
from tasks.domain.severity import Severity
from tasks.settings import settings
from tasks.work import journal, privacy_incidents, telling
from tasks.work.closing_by_hand import CLOSED_BY_HAND, close
from tasks.work.declaring import declare, grade
from tasks.work.floor import Floor, NoSuchIncident, floor, said
from tasks.work.holding import break_glass, hold, hold_everything, lift, lift_from_everything
from tasks.work.people import Person

__all__ = [
    "CLOSED_BY_HAND",
    "NoSuchIncident",
    "acknowledge",
    "break_glass",
    "change_severity",
    "close",
    "declare",
    "hold",
    "hold_everything",
    "lift",
    "lift_from_everything",
    "note",
    "stop_clock",
    "take_lead",
]


def acknowledge(incident: str, person: Person) -> Fact:
    """A person has taken notice; the first time counts.

    The data protection officer's clock stops with it only when the DPO knows: by their own word, or
    because they were told. Until then it is still to be done, whoever else has taken notice.
    """
    with floor(incident, person, Act.ACKNOWLEDGE) as speaker:
        data = {"text": f"acknowledged by {person.name}", ACKNOWLEDGED: True}
        fact = speaker.say(FactKind.NOTE, data, key=f"acknowledged:{person.name}")
        is_dpos = may(person.role, Act.STOP_CLOCK)
        dpo = settings().contacts.dpo
        if DPO_CLOCK in speaker.state.clocks and (
            is_dpos or telling.was_told(speaker.state, dpo, telling.PRIVACY)
        ):
            told = "" if is_dpos else f", and {dpo} was told"
            _stop(speaker, DPO_CLOCK, f"{person.name} has acknowledged the incident{told}")
    return fact


def stop_clock(incident: str, person: Person, clock: str, reason: str) -> Fact:
    """What the clock was started for is done; the first time counts. Of a closed incident too."""
    words = said(reason, "a reason for stopping the clock")
    with floor(incident, person, Act.STOP_CLOCK) as speaker:
        if clock not in speaker.state.clocks:
            known = ", ".join(sorted(speaker.state.clocks)) or "none"
            raise BadInput(f"expected a clock of {incident}, {known}, found {clock[:80]!a}")
        fact = _stop(speaker, clock, words)
        privacy_incidents.settle_in(speaker.connection, incident)  # others may run from it
    return fact


def note(incident: str, person: Person, text: str) -> Fact:
    """What a person wants to have on record, of a closed incident too."""
    words = said(text, "a note")
    with floor(incident, person, Act.NOTE) as speaker:
        return speaker.say(FactKind.NOTE, {"text": words})


def take_lead(incident: str, person: Person) -> Fact:
    """The person leads the response from now on, in place of whoever did."""
    with floor(incident, person, Act.LEAD) as speaker:
        speaker.require_open("lead")
        taken = speaker.last(FactKind.LEAD_TAKEN)
        if taken is not None and is_same_person(taken.actor, person.name):
            return taken
        before = f", in place of {taken.actor}" if taken is not None else ""
        text = f"{person.name} leads the response{before}"
        return speaker.say(FactKind.LEAD_TAKEN, {"text": text})


def change_severity(incident: str, person: Person, severity: Severity, reason: str) -> Fact:
    """The person's word on the severity, up or down; it stands until something new is known."""
    words = said(reason, "a reason for the severity")
    with floor(incident, person, Act.CHANGE_SEVERITY) as speaker:
        speaker.require_open("change its severity")
        word = persons_word(speaker.state)
        if (
            word is not None
            and speaker.state.severity is severity
            and _is_same(word, speaker, words)
        ):
            return word
        fact = grade(speaker, severity, words)
        step = lowering(journal.read_in(speaker.connection, incident), fact.seq)
        if step is not None:
            speaker.escalate(step)
        return fact


def _stop(speaker: Floor, clock: str, reason: str) -> Fact:
    data = {"clock": clock, "reason": reason}
    return speaker.say(FactKind.CLOCK_STOPPED, data, key=f"clock-stopped:{clock}")


def _is_same(word: Fact, speaker: Floor, reason: str) -> bool:
    return word.data.get("reason") == reason and is_same_person(word.actor, speaker.person.name)
