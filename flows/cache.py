"""Redis: what the runbook asks about in its first minutes and has no section for.

Its restart loses keys and queued tasks, so it is the last resort: only of a server that answers
neither from outside nor in its pod, after an approval of what goes with it.
"""

from flows.procedure import follow, mend, propose
from tasks.cache_procedure import (
    diagnose_cache,
    look_again,
    look_at_cache,
    plan_restart,
    remedy_door,
    restart_cache,
)
from tasks.domain.cache_diagnosis import COMPONENT, RESTART_CACHE
from tasks.domain.cache_plan import PROCEDURE, why_manual
from tasks.domain.cache_readings import CacheReadings
from tasks.domain.causes import Cause
from tasks.domain.incident import Incident
from tasks.domain.mending import serious, to_mend
from tasks.domain.outcome import Ending, Outcome
from tasks.remedies import keep_to_cap, record_causes

REMEDIES = {RESTART_CACHE: restart_cache}


def handle_cache_issues(incident: Incident) -> Outcome:
    """Diagnosis; then, once a person has approved it, the restart of its pod."""
    return follow(incident, PROCEDURE, look_and_propose, carry_out)


def look_and_propose(incident_id: str) -> Outcome:
    """Does it answer, here and there; memory, persistence, clients; what would mend it."""
    seen = look_at_cache(incident_id)
    causes = keep_to_cap(diagnose_cache(seen))
    record_causes(incident_id, COMPONENT, causes)
    cause = to_mend(causes)
    if cause is None:
        return nothing_to_mend(seen, causes)
    return propose(incident_id, plan_restart(incident_id, cause, seen))


def nothing_to_mend(seen: CacheReadings, causes: tuple[Cause, ...]) -> Outcome:
    """A cause that only people mend, one that could not be looked for, or none at all."""
    found = serious(causes)
    if found:
        return Outcome(Ending.MANUAL, f"{found[0].summary}; {why_manual(found[0])}")
    unread = seen.unread().get("state")
    if unread:
        return Outcome(Ending.MANUAL, f"Redis could not be looked at: {unread}")
    also = f"; possible, and not mended: {causes[0].summary}" if causes else ""
    return Outcome(Ending.NO_ACTION, f"nothing is wrong with Redis now; nothing was changed{also}")


def carry_out(incident_id: str) -> Outcome:
    """Resolution: through the door; then the same look again."""
    door = remedy_door(incident_id)
    return mend(incident_id, door, REMEDIES, look_again, look=look_and_propose, goes_on=True)
