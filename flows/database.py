"""Runbook: Component-Specific Procedures / Database Issues."""

from dataclasses import replace

from flows.procedure import follow, mend, propose
from tasks.backups import check_backups
from tasks.database_procedure import (
    cancel_queries,
    diagnose_database,
    end_sessions,
    enlarge_storage,
    look_again,
    look_at_database,
    plan_remedy,
    relieve_connections,
    remedy_door,
    restart_database,
)
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import COMPONENT, assess
from tasks.domain.database_plan import PROCEDURE, why_manual
from tasks.domain.database_readings import Backups, DatabaseReadings
from tasks.domain.incident import Incident
from tasks.domain.mending import serious, to_mend
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.domain.storage_plan import STORAGE, waits_for_pod
from tasks.journal import assign_severity, read_incident
from tasks.remedies import keep_to_cap, record_causes

REMEDIES = {
    CANCEL: cancel_queries,
    TERMINATE: end_sessions,
    RELIEVE: relieve_connections,
    STORAGE: enlarge_storage,
    RESTART_DATABASE: restart_database,
}


def handle_database_issues(incident: Incident) -> Outcome:
    """Diagnosis; then, once a person has approved it, the one remedy of the surest cause.

    Sessions that block, run long or leak are ended; a claim that runs full is enlarged; a server
    that does not answer inside its pod either is restarted, and nothing else is.
    """
    return follow(incident, PROCEDURE, look_and_propose, carry_out)


def look_and_propose(incident_id: str) -> Outcome:
    """Diagnosis: databases, sessions, locks, disk, backups; what is wrong; what would mend it."""
    looking = look_at_database.submit(incident_id)
    backups = check_backups(incident_id)
    seen = replace(looking.result(), backups=Backups(backups.health, backups.summary))
    causes = keep_to_cap(diagnose_database(seen))
    record_causes(incident_id, COMPONENT, causes)
    assign_severity(incident_id, assess(causes))
    cause = to_mend(causes)
    if cause is None:
        return nothing_to_mend(seen, causes)
    return propose(incident_id, plan_remedy(incident_id, cause, seen))


def nothing_to_mend(seen: DatabaseReadings, causes: tuple[Cause, ...]) -> Outcome:
    """A cause that only people mend, one that could not be looked for, or none at all."""
    found = serious(causes)
    if found:
        return Outcome(Ending.MANUAL, f"{found[0].summary}; {why_manual(found[0])}")
    unread = {name: why for name, why in seen.unread().items() if name in {"server", "sessions"}}
    if unread:
        said = "; ".join(f"{name}: {why}" for name, why in unread.items())
        return Outcome(Ending.MANUAL, f"the database could not be looked at whole: {said}")
    also = f"; possible, and not mended: {causes[0].summary}" if causes else ""
    return Outcome(
        Ending.NO_ACTION, f"nothing is wrong with the database now; nothing was changed{also}"
    )


def carry_out(incident_id: str) -> Outcome:
    """Resolution: through the door, step by step; then the same look again.

    A volume that has grown and waits for its pod needs a restart: that is another plan, because it
    ends connections.
    """
    door = remedy_door(incident_id)
    outcome = mend(incident_id, door, REMEDIES, look_again, look=look_and_propose)
    if outcome.ending is Ending.MANUAL and waits_for_pod(read_incident(incident_id)):
        return look_and_propose(incident_id)
    return outcome
