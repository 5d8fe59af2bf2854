"""Runbook: Recovery Procedures / System Recovery / Rolling Back Deployment."""

from flows.procedure import follow, mend, propose
from tasks.domain.incident import Incident
from tasks.domain.mending import to_mend
from tasks.domain.observation import Observation
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.release_diagnosis import COMPONENT, nothing_to_undo
from tasks.domain.rollback_plan import PROCEDURE, RETURN, UNDO
from tasks.domain.rollout_history import CannotUndo
from tasks.journal import read_incident
from tasks.remedies import record_causes
from tasks.rollback import (
    diagnose_release,
    look_at_rollout,
    plan_rollback,
    return_rollout,
    review_history,
    rollback_door,
    undo_rollout,
)


def roll_back(incident: Incident) -> Outcome:
    """History; then, once a person has approved it, undo, and watch the status."""
    return follow(incident, PROCEDURE, review_and_propose, undo_and_watch)


def review_and_propose(incident_id: str) -> Outcome:
    """History: the revisions, what is known of each, and to which of them there is a way back."""
    looked = review_history(incident_id)
    if isinstance(looked, Observation):
        return Outcome(Ending.MANUAL, f"the history could not be read: {looked.summary}")
    causes = diagnose_release(read_incident(incident_id), looked)
    record_causes(incident_id, COMPONENT, causes)
    cause = to_mend(causes)
    if cause is None:
        return nothing_to_undo(looked, causes)
    proposal = plan_rollback(incident_id, cause)
    if isinstance(proposal, CannotUndo):
        return Outcome(Ending.MANUAL, f"{cause.summary}; no plan was made: {proposal.text}")
    return propose(incident_id, proposal)


def undo_and_watch(incident_id: str) -> Outcome:
    """Undo and status, through the door; a rollback that fails is returned from."""
    return mend(
        incident_id,
        rollback_door(incident_id),
        {UNDO: undo_rollout},
        look_at_rollout,
        look=review_and_propose,
        undo={RETURN: return_rollout},
    )
