"""Runbook: Component-Specific Procedures / Database Issues."""

from dataclasses import replace

from tasks.artifacts import show_plan
from tasks.backups import check_backups
from tasks.database_procedure import (
    cancel_queries,
    diagnose_database,
    end_sessions,
    look_at_database,
    plan_remedy,
    planned_steps,
    record_causes,
    relieve_connections,
    remedy_door,
    verify_symptom_gone,
)
from tasks.domain.approval import Standing
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import assess
from tasks.domain.database_plan import PROCEDURE, serious, to_mend, was_verified, why_manual
from tasks.domain.database_readings import Backups, DatabaseReadings
from tasks.domain.errors import PlanStale
from tasks.domain.incident import Incident
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.journal import (
    assign_severity,
    plan_standing,
    propose_plan,
    read_incident,
    record_refusal,
)
from tasks.notifications import ask_for_approval

REMEDIES = {CANCEL: cancel_queries, TERMINATE: end_sessions, RELIEVE: relieve_connections}


def handle_database_issues(incident: Incident) -> Outcome:
    """Diagnosis; then end what blocks, runs for too long or leaks, once a person has approved it.

    A plan whose effect was looked at is over: whoever starts the incident again gets a new look.
    """
    is_over = was_verified(read_incident(incident.id))
    match Standing.NONE if is_over else plan_standing(incident.id, PROCEDURE):
        case Standing.APPROVED:
            return carry_out(incident.id)
        case Standing.WAITING:
            return Outcome(Ending.AWAITING, "the plan waits for a decision")
        case Standing.DENIED:
            return Outcome(Ending.DENIED, "the plan was denied; nothing was changed")
        case Standing.EXPIRED:
            return Outcome(Ending.EXPIRED, "the plan expired undecided; nothing was changed")
        case _:
            return look_and_propose(incident.id)


def look_and_propose(incident_id: str) -> Outcome:
    """Diagnosis: databases, sessions, locks, disk, backups; what is wrong; what would mend it."""
    looking = look_at_database.submit(incident_id)
    backups = check_backups(incident_id)
    seen = replace(looking.result(), backups=Backups(backups.health, backups.summary))
    causes = diagnose_database(seen)
    record_causes(incident_id, causes)
    assign_severity(incident_id, assess(causes))
    cause = to_mend(causes)
    if cause is None:
        return nothing_to_mend(seen, causes)
    proposal = plan_remedy(incident_id, cause, seen)
    plan_hash = propose_plan(incident_id, proposal.plan, proposal.dry_run)
    show_plan(incident_id, proposal.plan)
    ask_for_approval(incident_id, plan_hash)
    return Outcome(Ending.AWAITING, f"plan {plan_hash[:12]} waits for a decision")


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

    What is no longer as it was approved is looked at anew: it may have passed by itself.
    """
    try:
        with remedy_door(incident_id) as passage:
            for step in planned_steps(incident_id):
                REMEDIES[step](passage)
    except PlanStale as error:
        record_refusal(incident_id, str(error))
        return look_and_propose(incident_id)
    gone, text = verify_symptom_gone(incident_id)
    if gone:
        return Outcome(Ending.RESOLVED, text)
    return Outcome(Ending.MANUAL, f"{text}; what was ended stays ended: a person must look")
