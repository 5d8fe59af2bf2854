"""Runbook: Suspected Breach / Immediate Actions, for a damaged audit log: stop, preserve, tell."""

from tasks.domain.damage import damage_digest
from tasks.domain.incident import Incident
from tasks.domain.severity import assess_alteration
from tasks.evidence import preserve_everything, preserve_volatile, seal_evidence
from tasks.journal import assign_severity, set_hold
from tasks.notifications import notify_compliance, tell_meanwhile
from tasks.work.evidence import snapshot_prefix
from tasks.work.targets import production_target

SURROUNDINGS = "surroundings"
"""What the bag stands for, beside the damaged database itself: no hold waits for it."""


def preserve(incident: Incident) -> None:
    """Before anything is touched: hold every change, seal the damaged state, tell compliance.

    Evidence of the damage that was diagnosed before is no evidence of what was found since. What a
    restore replaces is sealed before it is planned; what is around it, while it is planned.
    """
    verdict = incident.diagnosis or {}
    target = production_target()
    altered, missing = verdict["altered"], verdict["missing"]
    damage = damage_digest(verdict)
    reason = f"{altered} audit records altered, {missing} missing: proven"
    sealed = incident.evidence.get(target, {})
    hold = sealed.get("hold", 0)
    if sealed.get("damage") != damage:
        assign_severity(incident.id, assess_alteration(altered, missing))
        hold = set_hold(incident.id, target, reason, damage)
        preserve_volatile(incident.id, hold, reason)
        seal_evidence(incident.id, target, hold, damage)
    if incident.evidence.get(SURROUNDINGS, {}).get("hold") != hold:
        beside = snapshot_prefix(incident.id, hold)
        # The run waits for it before it ends, as for everything that goes on meanwhile.
        tell_meanwhile(preserve_everything, incident.id, SURROUNDINGS, hold, reason, beside)
    tell_meanwhile(
        notify_compliance,
        incident.id,
        f"{incident.id}: proven damage to the audit log, {altered} records altered and {missing} "
        "missing. The damaged state is sealed; a restore is being planned.",
    )
