"""Runbook: Escalation Matrix. When in doubt, escalate early and communicate frequently."""

from datetime import UTC, datetime

from prefect import flow

from tasks.escalation import bring_in, due_escalations, escalate


@flow(name="escalation", flow_run_name="escalate {incident_id}", persist_result=False)
def escalation(incident_id: str) -> list[str]:
    """Take every step of the matrix that is due now and was not taken; the steps taken."""
    due = due_escalations(incident_id, datetime.now(UTC))
    for step in due:
        escalate(incident_id, step)
    if due:
        bring_in(incident_id, due)
    return [step.step for step in due]
