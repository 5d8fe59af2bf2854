"""Runbook: Data Privacy Incident."""

from prefect import flow

from tasks.domain.incident import Incident
from tasks.domain.outcome import Ending, Outcome
from tasks.journal import read_incident
from tasks.notifications import notify_dpo, tell_meanwhile, wait_until_told


@flow(name="privacy-incident", flow_run_name="privacy {incident_id}", persist_result=False)
def privacy_incident(incident_id: str) -> str:
    """Tell the data protection officer of an incident; the rest is a person's."""
    state = read_incident(incident_id)
    tell_dpo(state)
    wait_until_told()
    return handle_privacy_incident(state).summary


def tell_dpo(incident: Incident) -> None:
    """3. Notify DPO within 1 hour. The clock began with the alert and runs until acknowledged."""
    tell_meanwhile(
        notify_dpo,
        incident.id,
        f"{incident.id}: personal data may be concerned ({incident.title}). Scope and affected "
        "individuals are not known yet. Please acknowledge.",
    )


def handle_privacy_incident(incident: Incident) -> Outcome:
    """1, 2, 4 and 5 (scope, individuals, notifications, containment) are a person's."""
    return Outcome(
        Ending.MANUAL,
        f"{incident.id}: the DPO is told and the one-hour clock runs until it is acknowledged; "
        "scope, affected individuals, notifications and containment are manual",
    )
