"""Runbook: Component-Specific Procedures / Audit Trail Issues."""

from collections.abc import Mapping
from typing import Any

from flows.database_recovery import recover_database
from flows.integrity import verify_integrity
from flows.log_rebuild import (
    is_in_hand,
    propose_rebuild,
    prove_again,
    rebuild_sealed_log,
    was_rebuilt,
)
from flows.preservation import preserve
from tasks.clients.errors import Transient
from tasks.domain import rebuild_plan
from tasks.domain.approval import Standing
from tasks.domain.errors import Refused, RunbookError
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.domain.outcome import Ending, Outcome
from tasks.journal import plan_standing, read_incident, record_refusal
from tasks.log_rebuild import remake_proofs
from tasks.notifications import notify_compliance, tell_meanwhile


def handle_audit_trail_issues(incident: Incident) -> Outcome:
    """Diagnosis; then rebuild what proves the log, restore from backup if data loss; tell.

    Nothing is rebuilt over the original (that would destroy evidence): what is damaged is preserved
    first. Proven damage stays the diagnosis; anything else is looked at again by every run: a
    person may have mended it since.
    """
    if is_in_hand(incident):
        waiting = rebuild_or_restore(incident)
        if waiting is not None:
            return waiting
        verify_integrity(incident.id)
        incident = read_incident(incident.id)
    elif (incident.diagnosis or {}).get("verdict") != Status.TAMPERED:
        verify_integrity(incident.id)
        incident = read_incident(incident.id)
    return act_on(incident)


def rebuild_or_restore(incident: Incident) -> Outcome | None:
    """Carry the plan to rebuild out; None: done. Lost records do not wait for one that fails.

    The sealer needs the database itself, to seal nothing at the same time: where that is lost,
    only a restore brings both back.
    """
    try:
        outcome = rebuild_sealed_log(incident.id)
    except Refused:
        raise  # a rule forbids it now; a restore has the same rules
    except RunbookError as error:
        now = read_incident(incident.id)
        for_good = rebuild_plan.has_failed_for_good(now, transient=isinstance(error, Transient))
        if not (rebuild_plan.needs_restore(now) and for_good):
            raise
        why = f"the plan to put back what proves the log could not be carried out: {error}"
    else:
        is_over = outcome is not None and outcome.ending in {Ending.DENIED, Ending.EXPIRED}
        if outcome is None or not is_over or not rebuild_plan.needs_restore(incident):
            return outcome
        why = f"what proves the log is not put back: {outcome.summary}"
    record_refusal(incident.id, f"{why}; records are lost too, so on to the restore")
    preserve(incident)
    return restored(incident.id)


def act_on(incident: Incident) -> Outcome:
    """What the diagnosis asks for.

    The object store comes first: a restore takes records from its segments. What it lacks and the
    restored table has is put back after the restore.
    """
    verdict = incident.diagnosis or {}
    status = verdict.get("verdict")
    if status == Status.VERIFIED:
        return prove_again(incident.id) if was_rebuilt(incident.id) else nothing_wrong(verdict)
    lost_records = status == Status.TAMPERED and bool(verdict["altered"] or verdict["missing"])
    if lost_records:
        preserve(incident)
        if is_being_restored(incident):
            return restored(incident.id)
    unmended = ""
    if verdict.get("stored_damage"):
        waiting, unmended = propose_rebuild(incident.id)
        if waiting is not None:
            tell_of_stored_damage(incident.id)
            return waiting
    if lost_records:
        return restored(incident.id)
    if status == Status.TAMPERED:
        return Outcome(
            Ending.MANUAL,
            f"the table is as signed, but not what proves it ({verdict.get('reason', '')}), and "
            f"nothing of it can be put back by us ({unmended or 'all that is known is there'}): a "
            "person must look, and find out who wrote there",
        )
    return Outcome(
        Ending.MANUAL,
        f"the audit log could not be verified ({verdict.get('reason', 'unknown')}"
        f"{'; ' if unmended else ''}{unmended}): a person must look; nothing was changed",
    )


def nothing_wrong(verdict: Mapping[str, Any]) -> Outcome:
    """Everything is as it was signed."""
    return Outcome(
        Ending.NO_ACTION,
        f"all {verdict['checkpoint']['size']} signed records are as they were signed; "
        "nothing was changed",
    )


def is_being_restored(incident: Incident) -> bool:
    """Whether a plan to restore the database stands: then its decision is what is waited for."""
    plan = incident.plan
    return (
        plan is not None
        and plan.procedure != rebuild_plan.PROCEDURE
        and plan_standing(incident.id) is not Standing.NONE
    )


def restored(incident_id: str) -> Outcome:
    """The database restored; then what still lacks in the object store, and the proofs again."""
    outcome = recover_database(incident_id)
    if outcome.ending is not Ending.RESTORED:
        return outcome
    if (read_incident(incident_id).diagnosis or {}).get("stored_damage"):
        waiting, unmended = propose_rebuild(incident_id)
        if waiting is not None:
            return waiting
        if unmended:
            return Outcome(Ending.MANUAL, f"{outcome.summary}; but of its proof: {unmended}")
    return Outcome(outcome.ending, f"{outcome.summary}; {remake_proofs(incident_id)}")


def tell_of_stored_damage(incident_id: str) -> None:
    """The compliance team hears of what was done to the proof, once."""
    tell_meanwhile(
        notify_compliance,
        incident_id,
        f"{incident_id}: what proves the audit log was damaged in the object store. It is to be "
        "put back from what is proven, after an approval; nothing is signed anew.",
        "proof damaged",
    )
