"""Runbook: Component-Specific Procedures / API Service Issues."""

from collections.abc import Callable, Collection, Mapping

from flows.audit_trail import handle_audit_trail_issues
from flows.cache import handle_cache_issues
from flows.database import handle_database_issues
from flows.privacy_engine import handle_privacy_engine_issues
from flows.procedure import follow, mend, propose
from flows.scaling import handle_scaling
from tasks.api_procedure import (
    assess_api,
    diagnose_api,
    look_after_remedy,
    look_again,
    look_at_api,
    plan_remedy,
    remedy_door,
    restart_pods,
    unexplained_trouble,
)
from tasks.domain import rebuild_plan, recovery_plan
from tasks.domain.api_diagnosis import COMPONENT
from tasks.domain.api_need_causes import needed_component
from tasks.domain.api_plan import (
    PROCEDURE,
    blind_spots,
    has_found,
    next_to_mend,
    why_manual,
)
from tasks.domain.api_readings import ApiReadings
from tasks.domain.causes import Cause
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.domain.mending import serious, was_verified
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.restart_plan import RESTART
from tasks.domain.rollback_plan import RETURN, UNDO
from tasks.domain.scale_plan import RETURN_SCALE, SCALE_API
from tasks.journal import assign_severity, read_incident
from tasks.remedies import record_causes
from tasks.rollback import return_rollout, undo_rollout
from tasks.scaling import scale_back, scale_up

REMEDIES = {RESTART: restart_pods, SCALE_API: scale_up, UNDO: undo_rollout}
UNDONE_BY = {RETURN_SCALE: scale_back, RETURN: return_rollout}

Procedure = Callable[[Incident], Outcome]

NEEDED: Mapping[str, Procedure] = {
    "cache": handle_cache_issues,
    "database": handle_database_issues,
}
"""The procedures of what the API needs, by component, which is the name of their plans as well."""

BESIDE: Mapping[str, Procedure] = {
    "cache": handle_cache_issues,
    "scaling": handle_scaling,
    "privacy_engine": handle_privacy_engine_issues,
}
"""Those of what may be in trouble while the API is well, although the alert names the API: workers
need the cache more than the API does."""

OF_RECORDS = frozenset({rebuild_plan.PROCEDURE, recovery_plan.PROCEDURE})
"""The plans about the records themselves: whatever the alert was, damage to them is looked for."""


def handle_api_service_issues(incident: Incident) -> Outcome:
    """Diagnosis; then, once a person has approved it, scale up, restart or roll back.

    Where something else is to blame the response goes on with that one's procedure, in the same
    incident: a plan that stands belongs to whoever has made it.
    """
    whose = incident.plan.procedure if incident.plan and not was_verified(incident) else ""
    if whose in NEEDED:
        return hand_over(incident.id, whose)
    if whose in BESIDE:
        return BESIDE[whose](incident)
    if whose in OF_RECORDS:
        return handle_audit_trail_issues(incident)
    return follow(incident, PROCEDURE, look_and_propose, carry_out)


def look_and_propose(incident_id: str) -> Outcome:
    """Diagnosis: requests, resources, connections, recent changes; what is wrong and mends it."""
    seen = look_at_api(incident_id)
    assign_severity(incident_id, assess_api(seen))
    return mend_what_is_found(incident_id, seen)


def mend_what_is_found(
    incident_id: str, seen: ApiReadings, gone_through: Collection[str] = ()
) -> Outcome:
    """A plan, the procedure of what the API needs, or why neither."""
    causes = diagnose_api(seen)
    record_causes(incident_id, COMPONENT, causes)
    cause = next_to_mend(causes, gone_through)
    if cause is None:
        return nothing_to_mend(incident_id, seen, causes, gone_through)
    component = needed_component(cause)
    if cause.remedy is None and component in NEEDED:
        return hand_over(incident_id, component, gone_through)
    if cause.remedy is None:
        return Outcome(Ending.MANUAL, f"{cause.summary}; {why_manual(cause)}")
    return propose(incident_id, plan_remedy(incident_id, cause, causes, seen))


def hand_over(incident_id: str, component: str, gone_through: Collection[str] = ()) -> Outcome:
    """The procedure of what the API needs; when that one is well, a look at the API itself."""
    outcome = NEEDED[component](read_incident(incident_id))
    return look_after(incident_id, outcome, {*gone_through, component})


def nothing_to_mend(
    incident_id: str,
    seen: ApiReadings,
    causes: tuple[Cause, ...],
    gone_through: Collection[str],
) -> Outcome:
    """A cause that only people mend, one that could not be looked for, or none at all."""
    found = serious(causes)
    if found:
        return Outcome(Ending.MANUAL, f"{found[0].summary}; {why_manual(found[0])}")
    elsewhere = look_elsewhere(incident_id, gone_through)
    if elsewhere is not None:
        return elsewhere
    trouble = unexplained_trouble(seen, causes)
    if trouble:
        return Outcome(Ending.MANUAL, f"{trouble}: a person must look")
    unseen = blind_spots(seen)
    if unseen:
        said = "; ".join(unseen)
        return Outcome(Ending.MANUAL, f"the API could not be looked at whole: {said}")
    also = f"; possible, and not mended: {causes[0].summary}" if causes else ""
    return Outcome(
        Ending.NO_ACTION, f"nothing is wrong with the API now; nothing was changed{also}"
    )


def look_elsewhere(incident_id: str, gone_through: Collection[str]) -> Outcome | None:
    """Neither the API nor what it needs says why: then what lives beside it, and the records."""
    for procedure in (BESIDE[name] for name in BESIDE if name not in gone_through):
        outcome = procedure(read_incident(incident_id))
        if outcome.ending is Ending.AWAITING or has_found(read_incident(incident_id)):
            return outcome
    outcome = handle_audit_trail_issues(read_incident(incident_id))
    damage = read_incident(incident_id).diagnosis or {}
    return outcome if damage.get("verdict") == Status.TAMPERED else None


def carry_out(incident_id: str) -> Outcome:
    """Resolution: through the door; then the same look again, and what did not help is undone."""
    outcome = mend(
        incident_id,
        remedy_door(incident_id),
        REMEDIES,
        look_again,
        look=look_and_propose,
        undo=UNDONE_BY,
    )
    return look_after(incident_id, outcome)


def look_after(incident_id: str, outcome: Outcome, gone_through: Collection[str] = ()) -> Outcome:
    """One cause is gone: is the API well? What else is found is mended next, in this incident."""
    if outcome.ending not in {Ending.RESOLVED, Ending.NO_ACTION}:
        return outcome
    seen = look_after_remedy(incident_id)
    causes = diagnose_api(seen)
    trouble = unexplained_trouble(seen, causes)
    if trouble:
        return Outcome(Ending.MANUAL, f"{outcome.summary}; but {trouble}: a person must look")
    return mend_what_is_found(incident_id, seen, gone_through) if serious(causes) else outcome
