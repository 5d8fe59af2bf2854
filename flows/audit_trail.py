"""Runbook: Component-Specific Procedures / Audit Trail Issues."""

from flows.database_recovery import recover_database
from flows.integrity import verify_integrity
from tasks.domain.damage import damage_digest
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.severity import assess_alteration
from tasks.evidence import seal_evidence
from tasks.journal import assign_severity, read_incident, set_hold
from tasks.notifications import notify_compliance, tell_meanwhile
from tasks.work.targets import production_target


def handle_audit_trail_issues(incident: Incident) -> Outcome:
    """Diagnosis; then restore from backup if data loss, and notify the compliance team.

    The Merkle tree is never rebuilt over the original (that would destroy evidence): what is
    damaged is preserved first, and the log is restored beside it. Proven damage stays the
    diagnosis; anything else is looked at again by every run: a person may have mended it since.
    """
    if (incident.diagnosis or {}).get("verdict") != Status.TAMPERED:
        verify_integrity(incident.id)
        incident = read_incident(incident.id)
    verdict = incident.diagnosis or {}
    match verdict.get("verdict"):
        case Status.VERIFIED:
            return Outcome(
                Ending.NO_ACTION,
                f"all {verdict['checkpoint']['size']} signed records are as they were signed; "
                "nothing was changed",
            )
        case Status.TAMPERED if not verdict["altered"] and not verdict["missing"]:
            return Outcome(
                Ending.MANUAL,
                f"the table is as signed, but not what proves it ({verdict.get('reason', '')}): "
                "restoring the database would mend nothing; a person must mend the object store "
                "and find out who wrote there",
            )
        case Status.TAMPERED:
            preserve(incident)
            return recover_database(incident.id)
        case _:
            return Outcome(
                Ending.MANUAL,
                f"the audit log could not be verified ({verdict.get('reason', 'unknown')}): "
                "a person must look; nothing was changed",
            )


def preserve(incident: Incident) -> None:
    """Before anything is touched: hold every change, seal the damaged state, tell compliance.

    Evidence of the damage that was diagnosed before is no evidence of what was found since.
    """
    verdict = incident.diagnosis or {}
    target = production_target()
    altered, missing = verdict["altered"], verdict["missing"]
    damage = damage_digest(verdict)
    if incident.evidence.get(target, {}).get("damage") != damage:
        assign_severity(incident.id, assess_alteration(altered, missing))
        reason = f"{altered} audit records altered, {missing} missing: proven"
        hold = set_hold(incident.id, target, reason, damage)
        seal_evidence(incident.id, target, hold, damage)
    tell_meanwhile(
        notify_compliance,
        incident.id,
        f"{incident.id}: proven damage to the audit log, {altered} records altered and {missing} "
        "missing. The damaged state is sealed; a restore is being planned.",
    )
