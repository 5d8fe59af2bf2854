"""What becomes of an incident's plan when a person wants something else."""

from tasks.domain.approval import DENIED, EXPIRED, Standing, standing
from tasks.domain.errors import NotApproved
from tasks.domain.facts import FactKind
from tasks.domain.mending import was_verified
from tasks.work import incidents, locks
from tasks.work.floor import Floor


def require_nobody_at_work(speaker: Floor) -> None:
    """Raise NotApproved while a run carries out the approved plan: its steps are not parted.

    One that failed, or whose plan was denied, is at work no more.
    """
    state = speaker.state
    if not state.begun or was_verified(state):
        return
    if standing(state, speaker.now) is not Standing.APPROVED or not _is_at_work(speaker):
        return
    raise NotApproved(
        f"expected a wish while no run is at work, found {state.id} being carried out: wait for "
        "its end, or deny its plan and ask again"
    )


def end_plan(speaker: Floor, reason: str) -> None:
    """A plan for what is no longer wanted can be approved no more, and is not gone on with.

    That it has ended is on record with it, so that the next run plans anew.
    """
    state = speaker.state
    found = standing(state, speaker.now)
    if found is Standing.NONE or was_verified(state):
        return
    if found in {Standing.WAITING, Standing.APPROVED}:
        decision = DENIED if state.begun else EXPIRED  # what has begun does not expire
        data = {"hash": state.plan_hash, "decision": decision, "reason": reason, "role": ""}
        speaker.say(FactKind.PLAN_DECIDED, data, key=f"decision:{state.plan_hash}:{decision}")
    note = {"text": f"the plan has ended: {reason}", "ended_plan": state.plan_hash}
    speaker.say(FactKind.NOTE, note)


def _is_at_work(speaker: Floor) -> bool:
    """A run is ordered and not over, or holds the lock of what the plan changes."""
    state, connection = speaker.state, speaker.connection
    if incidents.response_is_ordered(connection, state.id):
        return True
    targets = {step.target for step in state.plan.steps} if state.plan else set()
    return any(locks.is_held_in(connection, each, state.id) for each in targets)
