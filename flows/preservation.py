"""Runbook: Suspected Breach / Immediate Actions, for a damaged audit log: stop, preserve, tell."""

from tasks.domain.damage import damage_digest
from tasks.domain.incident import Incident
from tasks.domain.severity import assess_alteration
from tasks.evidence import seal_evidence
from tasks.journal import assign_severity, set_hold
from tasks.notifications import notify_compliance, tell_meanwhile
from tasks.work.targets import production_target


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
