"""Runbook: Recovery Procedures / System Recovery / Scaling Resources."""

from flows.procedure import follow, mend, propose
from tasks.api_procedure import restart_pods
from tasks.domain.causes import Cause
from tasks.domain.incident import Incident
from tasks.domain.mending import BY_PEOPLE, serious, to_mend
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.queue_diagnosis import COMPONENT, QueueSeen, assess
from tasks.domain.restart_plan import RESTART
from tasks.domain.scale_plan import (
    PROCEDURE,
    RETURN_SCALE,
    SCALE_API_BY_HAND,
    SCALE_WORKERS,
)
from tasks.journal import assign_severity, read_incident
from tasks.remedies import keep_to_cap, record_causes
from tasks.scaling import (
    consider_wish,
    diagnose_queue,
    look_again,
    plan_scaling,
    read_queue_depth,
    scale_back,
    scale_up,
    scaling_door,
    still_wrong,
    watch_usage,
)

REMEDIES = {SCALE_API_BY_HAND: scale_up, SCALE_WORKERS: scale_up, RESTART: restart_pods}
UNDO = {RETURN_SCALE: scale_back}


def handle_scaling(incident: Incident) -> Outcome:
    """Watch what is used and what waits; then scale, within bounds, what a person has approved."""
    return follow(incident, PROCEDURE, look_and_propose, carry_out)


def look_and_propose(incident_id: str) -> Outcome:
    """Monitor resource usage, and the workers' queue; what is wrong; what would mend it."""
    if read_incident(incident_id).wish is not None:
        return propose_what_is_asked(incident_id)
    watching = watch_usage.submit(incident_id)
    seen = read_queue_depth(incident_id)
    watching.result()
    causes = keep_to_cap(diagnose_queue(seen))
    record_causes(incident_id, COMPONENT, causes)
    assign_severity(incident_id, assess(causes))
    cause = to_mend(causes)
    if cause is None:
        return nothing_to_scale(seen, causes)
    return propose(incident_id, plan_scaling(incident_id, cause, seen.unread()))


def propose_what_is_asked(incident_id: str) -> Outcome:
    """A person wants another number of replicas: as far as every bound allows."""
    watch_usage(incident_id)
    cause = consider_wish(incident_id)
    if cause.remedy is None:
        is_there = cause.evidence["is_there"]
        return Outcome(Ending.NO_ACTION if is_there else Ending.MANUAL, cause.summary)
    return propose(incident_id, plan_scaling(incident_id, cause))


def nothing_to_scale(seen: QueueSeen, causes: tuple[Cause, ...]) -> Outcome:
    """A cause that only people mend, one that could not be looked for, or none at all."""
    found = serious(causes)
    if found:
        return Outcome(Ending.MANUAL, f"{found[0].summary}; {BY_PEOPLE}")
    unread = seen.unread()
    if unread:
        said = "; ".join(f"{name}: {why}" for name, why in unread.items())
        return Outcome(Ending.MANUAL, f"the queue could not be looked at whole: {said}")
    if causes:
        return Outcome(Ending.MANUAL, f"possible, and not mended: {causes[0].summary}")
    return Outcome(Ending.NO_ACTION, "no backlog: nothing is to be scaled; nothing was changed")


def carry_out(incident_id: str) -> Outcome:
    """Scale; then the same look again, and back to what there was if it did not help.

    One cause may hide another: of workers that are there again there may be too few.
    """
    door = scaling_door(incident_id)
    outcome = mend(incident_id, door, REMEDIES, look_again, look=look_and_propose, undo=UNDO)
    if outcome.ending is Ending.RESOLVED and still_wrong(incident_id):
        return look_and_propose(incident_id)
    return outcome
