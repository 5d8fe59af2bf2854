"""Runbook: Recovery Procedures / Data Recovery / Database Recovery.

As its author meant: beside production and never over the evidence, verified against what was
signed and not by a COUNT(*), and put into service by a rename.
"""

from prefect import flow

from flows.integrity import verify_integrity
from flows.preservation import preserve
from tasks.artifacts import run_name, show_plan
from tasks.backups import (
    carry_over_newer_records,
    list_backups,
    plan_recovery,
    reconcile_other_tables,
    recovery_door,
    restore_beside_production,
    swap_databases,
    target_has_changed,
    verify_restored_log,
)
from tasks.domain.approval import Standing
from tasks.domain.errors import PlanStale
from tasks.domain.incident import Incident
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.recovery_plan import PROCEDURE, is_damage
from tasks.journal import (
    declare_incident,
    plan_standing,
    propose_plan,
    read_incident,
    record_refusal,
)
from tasks.notifications import ask_for_approval
from tasks.work.targets import production_target


def handle_database_recovery(incident: Incident) -> Outcome:
    """A person wants a restore: it is planned whatever verification says.

    What is provably damaged is preserved first: the restore is made beside it, but the swap closes
    it to everybody.
    """
    if incident.plan is None:
        verify_integrity(incident.id)
        incident = read_incident(incident.id)
    if is_damage(incident.diagnosis):
        preserve(incident)
    return recover_database(incident.id)


@flow(name="database-recovery", flow_run_name=run_name("recover"), persist_result=False)
def recover_database(incident_id: str | None = None) -> Outcome:
    """Plan, and once a person has approved exactly that plan, carry it out and prove it.

    Started by hand without an incident, it opens one (or finds it), whose own run stops at its
    plan.
    """
    if incident_id is None:
        incident_id, is_new = declare_incident(
            "Declared by hand: recover the database", "audit-trail", PROCEDURE
        )
        said = "was opened; it will stop at its plan" if is_new else "is open already"
        return Outcome(Ending.MANUAL, f"{incident_id} {said}")
    is_other = target_has_changed(incident_id)
    match Standing.NONE if is_other else plan_standing(incident_id, PROCEDURE):
        case Standing.APPROVED:
            return carry_out(incident_id)
        case Standing.WAITING:
            return Outcome(Ending.AWAITING, "the plan waits for a decision")
        case Standing.DENIED:
            return Outcome(Ending.DENIED, "the plan was denied; nothing was changed")
        case Standing.EXPIRED:
            return Outcome(Ending.EXPIRED, "the plan expired undecided; nothing was changed")
        case _:
            return propose(incident_id)


def propose(incident_id: str) -> Outcome:
    """List available backups, choose, and write down exactly what would be done."""
    backups = list_backups()
    planned = plan_recovery(incident_id, backups)
    if planned.plan is None:
        return Outcome(Ending.MANUAL, planned.reason)
    plan_hash = propose_plan(incident_id, planned.plan, planned.dry_run)
    show_plan(incident_id, planned.plan)
    ask_for_approval(incident_id, plan_hash)
    return Outcome(Ending.AWAITING, f"plan {plan_hash[:12]} waits for a decision")


def carry_out(incident_id: str) -> Outcome:
    """Restore beside production, prove, carry newer records and rows over, swap, prove again.

    A plan that no longer fits what is there is not bent to fit: a person gets a new one.
    """
    try:
        with recovery_door(incident_id, production_target()) as passage:
            restore_beside_production(passage)
            carry_over_newer_records(passage)
            reconcile_other_tables(passage)
            swap_databases(passage)
    except PlanStale as error:
        record_refusal(incident_id, str(error))
        return propose(incident_id)
    proof = verify_restored_log(incident_id)
    return Outcome(
        Ending.RESTORED,
        f"the log in service reproduces the signed root of {proof['size']} records; "
        f"{proof['records']} records in all, {proof['records_lost']} lost",
    )
