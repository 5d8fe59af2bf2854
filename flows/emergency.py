"""Emergency shutdown and start-up: in order, with two approvers. The runbook has no such section.

Its last resort when the system must stop as a whole: workers, API, privacy engine, Redis,
PostgreSQL, and back.
"""

from flows.procedure import follow, propose
from tasks.domain.change_wish import Wanted
from tasks.domain.emergency_plan import PROCEDURE, START, STOP
from tasks.domain.errors import PlanStale
from tasks.domain.incident import Incident
from tasks.domain.outcome import Ending, Outcome
from tasks.emergency import emergency_doors, look_at_parts, plan_asked, start_part, stop_part
from tasks.journal import read_incident, record_refusal
from tasks.remedies import planned_steps, record_effect

STEPS = {**dict.fromkeys(STOP.values(), stop_part), **dict.fromkeys(START.values(), start_part)}


def handle_emergency(incident: Incident) -> Outcome:
    """What a person has asked for, once two others have approved it."""
    return follow(incident, PROCEDURE, look_and_propose, carry_out)


def look_and_propose(incident_id: str) -> Outcome:
    """The parts, in their order, and what the API server would answer to each step."""
    wish = read_incident(incident_id).wish
    if wish is None or wish.wanted is Wanted.SCALE:
        return Outcome(Ending.MANUAL, "nobody has asked for a shutdown or for a start")
    proposal = plan_asked(incident_id, wish.wanted)
    if proposal is not None:
        return propose(incident_id, proposal)
    if wish.wanted is Wanted.SHUT_DOWN:
        return Outcome(Ending.MANUAL, "nothing is left to stop; start it: runbook emergency start")
    return Outcome(Ending.NO_ACTION, "nothing was stopped by us that is not started")


def carry_out(incident_id: str) -> Outcome:
    """Part by part; the first that does not stop, or start, ends it."""
    try:
        with emergency_doors(incident_id) as passages:
            for step in planned_steps(incident_id):
                STEPS[step](passages[step], step)
            effect = look_at_parts(incident_id)
    except PlanStale as error:
        record_refusal(incident_id, str(error))
        return look_and_propose(incident_id)
    wish = read_incident(incident_id).wish
    record_effect(incident_id, effect)
    if effect.gone and wish is not None and wish.wanted is Wanted.START:
        return Outcome(Ending.RESOLVED, effect.text)
    return Outcome(Ending.MANUAL, f"{effect.text}; start it again: runbook emergency start")
