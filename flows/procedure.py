"""What the procedures of the components share: look, propose, wait, mend, look again.

A procedure has a plan of its own. As long as nobody has decided it waits; approved, it is carried
out; after its effect was looked at it is over, and the next start gets a new look.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from tasks.artifacts import show_plan
from tasks.domain.approval import Standing
from tasks.domain.errors import PlanStale
from tasks.domain.incident import Incident
from tasks.domain.mending import Effect, was_verified
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.plan import Proposal
from tasks.journal import plan_standing, propose_plan, read_incident, record_refusal
from tasks.notifications import ask_for_approval
from tasks.remedies import planned_steps, record_effect, shut_down_on_purpose
from tasks.work.door import Passage

Step = Callable[[Passage], object]
Look = Callable[[str], Outcome]
LookAgain = Callable[[str], Effect]

NO_STEPS: Mapping[str, Step] = {}


def follow(incident: Incident, procedure: str, look: Look, carry_out: Look) -> Outcome:
    """Go on from where the incident's plan of this procedure stands."""
    is_over = was_verified(read_incident(incident.id))
    match Standing.NONE if is_over else plan_standing(incident.id, procedure):
        case Standing.APPROVED:
            return carry_out(incident.id)
        case Standing.WAITING:
            return Outcome(Ending.AWAITING, "the plan waits for a decision")
        case Standing.DENIED:
            return Outcome(Ending.DENIED, "the plan was denied; nothing was changed")
        case Standing.EXPIRED:
            return Outcome(Ending.EXPIRED, "the plan expired undecided; nothing was changed")
        case _:
            return look(incident.id)


def propose(incident_id: str, proposal: Proposal) -> Outcome:
    """Put the plan before people, with what its dry run has shown; none to undo a shutdown."""
    kept = shut_down_on_purpose(proposal.plan)
    if kept:
        return Outcome(Ending.MANUAL, kept)
    plan_hash = propose_plan(incident_id, proposal.plan, proposal.dry_run)
    show_plan(incident_id, proposal.plan)
    ask_for_approval(incident_id, plan_hash)
    return Outcome(Ending.AWAITING, f"plan {plan_hash[:12]} waits for a decision")


def mend(
    incident_id: str,
    door: AbstractContextManager[Passage],
    remedies: Mapping[str, Step],
    look_again: LookAgain,
    *,
    look: Look,
    undo: Mapping[str, Step] = NO_STEPS,
    goes_on: bool = False,
) -> Outcome:
    """Through the door, step by step; then the same look again, and what did not help is undone.

    `remedies` and `undo` carry out the plan's steps by their ids; those of `undo` only when the
    planned cause is seen to be still there: what nobody could look at is not undone blindly, and
    what helps is not undone because it is not enough. A
    plan that no longer fits what there is leads to `look`, since the trouble may have passed by
    itself; so does another cause that is left, when the procedure `goes_on`.
    """
    try:
        with door as passage:
            planned = planned_steps(incident_id)
            for step in planned:
                if step in remedies:
                    remedies[step](passage)
            effect = look_again(incident_id)
            is_vain = not effect.gone and not effect.unseen and not effect.helps
            undone = [step for step in planned if step in undo] if is_vain else []
            for step in undone:
                undo[step](passage)
    except PlanStale as error:
        record_refusal(incident_id, str(error))
        return look(incident_id)
    record_effect(incident_id, effect)
    if effect.gone and effect.causes and goes_on:
        return look(incident_id)
    if effect.gone:
        return Outcome(Ending.RESOLVED, effect.text)
    left = "what was done was undone" if undone else "what was done stays done"
    return Outcome(Ending.MANUAL, f"{effect.text}; {left}: a person must look")
