"""Runbook: Audit Trail Issues / Resolution: rebuild the Merkle tree, make the proofs again.

Not as it stands there. The API's own `POST /api/v1/audit/merkle/rebuild` makes a new tree over
whatever the table holds: it would sign damage and hide it. Here the tree that was signed is put
back, object by object, from what is proven to be as it was signed.
"""

from tasks.artifacts import show_plan
from tasks.clients.errors import Transient
from tasks.domain.approval import Standing
from tasks.domain.errors import PlanStale, RunbookError
from tasks.domain.incident import Incident
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.rebuild_plan import PROCEDURE, REBUILD, changed_so_far, needs_restore, rebuilds
from tasks.journal import plan_standing, propose_plan, read_incident, record_refusal
from tasks.log_rebuild import (
    plan_rebuild,
    rebuild_door,
    rebuild_tree,
    record_rebuilt,
    remake_proofs,
)
from tasks.notifications import ask_for_approval


def is_in_hand(incident: Incident) -> bool:
    """Whether the standing plan is one to rebuild, and not carried out yet."""
    plan = incident.plan
    return plan is not None and plan.procedure == PROCEDURE and incident.done(REBUILD) is None


def rebuild_sealed_log(incident_id: str) -> Outcome | None:
    """Plan, and once a person has approved exactly that plan, have it carried out.

    None: it was carried out now, and the log is to be verified again.
    """
    match plan_standing(incident_id, PROCEDURE):
        case Standing.APPROVED:
            return carry_out(incident_id)
        case Standing.WAITING:
            return Outcome(Ending.AWAITING, "the plan waits for a decision")
        case Standing.DENIED:
            return Outcome(
                Ending.DENIED, f"the plan was denied; {changed_so_far(read_incident(incident_id))}"
            )
        case Standing.EXPIRED:
            return Outcome(
                Ending.EXPIRED,
                f"the plan expired undecided; {changed_so_far(read_incident(incident_id))}",
            )
        case _:
            return propose_rebuild(incident_id)[0]


def propose_rebuild(incident_id: str) -> tuple[Outcome | None, str]:
    """(what waits for a decision, or None; why there is nothing that can be put back).

    Whatever keeps us from looking is such a reason: a restore needs nothing of this. Only where
    none is needed, a system that does not answer is waited for.
    """
    try:
        proposal = plan_rebuild(incident_id)
    except RunbookError as error:
        if isinstance(error, Transient) and not needs_restore(read_incident(incident_id)):
            raise
        return None, f"what proves the log could not be looked at: {error}"
    if proposal.plan is None:
        return None, proposal.reason
    plan_hash = propose_plan(incident_id, proposal.plan, proposal.dry_run)
    show_plan(incident_id, proposal.plan)
    ask_for_approval(incident_id, plan_hash)
    return Outcome(Ending.AWAITING, f"plan {plan_hash[:12]} waits for a decision"), ""


def carry_out(incident_id: str) -> Outcome | None:
    """Order it from the sealer; a plan that no longer fits is made anew."""
    try:
        with rebuild_door(incident_id) as passage:
            rebuild_tree(passage)
    except PlanStale as error:
        record_refusal(incident_id, str(error))
        return propose_rebuild(incident_id)[0]
    return None


def was_rebuilt(incident_id: str) -> bool:
    """Whether something was put back for this incident."""
    return bool(rebuilds(read_incident(incident_id)))


def prove_again(incident_id: str) -> Outcome:
    """The log is verified: make the proofs again, and record that all of it holds."""
    said = record_rebuilt(incident_id, remake_proofs(incident_id))
    return Outcome(Ending.RESTORED, said)
