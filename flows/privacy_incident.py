"""Runbook: Data Privacy Incident."""

from prefect import flow

from tasks.artifacts import show_notices
from tasks.domain.breach_decision import decision_of
from tasks.domain.incident import Incident
from tasks.domain.observation import Health, Observation
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.policy import DPO_CLOCK
from tasks.domain.privacy_scope import Scope
from tasks.journal import read_incident
from tasks.notifications import notify_dpo, tell_meanwhile, wait_until_told
from tasks.privacy_incident import (
    assess_scope,
    contain,
    document_individuals,
    prepare_notifications,
)


@flow(name="privacy-incident", flow_run_name="privacy {incident_id}", persist_result=False)
def privacy_incident(incident_id: str) -> str:
    """The whole procedure for an incident that may concern personal data, whatever it began as."""
    incident = read_incident(incident_id)
    tell_dpo(incident)
    outcome = handle_privacy_incident(incident)
    wait_until_told()
    return outcome.summary


def handle_privacy_incident(incident: Incident) -> Outcome:
    """GDPR/Privacy Violation Response. It never ends by itself: a person decides on the risk.

    Releases are refused first: measuring takes its time, and data leaves meanwhile. Then the text's
    1. scope, 2. individuals, 3. DPO, who was told at once and now hears what was measured, and
    4. notifications, whose measures name the refusal.
    """
    contained = contain(incident.id)
    scope = assess_scope(incident.id)
    document_individuals(incident.id, scope)
    tell_dpo_the_scope(incident, scope)
    drafts = prepare_notifications(incident.id)
    show_notices(incident.id, drafts)
    return left_to_people(read_incident(incident.id), scope, len(drafts), contained)


def tell_dpo(incident: Incident) -> None:
    """3. Notify DPO within 1 hour. The clock began with the alert and runs until acknowledged."""
    tell_meanwhile(
        notify_dpo,
        incident.id,
        f"{incident.id}: personal data may be concerned ({incident.title}). Scope and affected "
        "individuals are not known yet. Please acknowledge.",
    )


def tell_dpo_the_scope(incident: Incident, scope: Scope) -> None:
    """What was measured, once: numbers, and whose decision is asked for."""
    if DPO_CLOCK not in incident.clocks:
        tell_dpo(incident)
    tell_meanwhile(
        notify_dpo,
        incident.id,
        f"{incident.id}: {scope.words()}. Your decision is needed: runbook privacy decide "
        f"{incident.id}",
        "privacy scope",
    )


def left_to_people(
    incident: Incident, scope: Scope, drafts: int, contained: Observation
) -> Outcome:
    """What is done, and what only people do."""
    decided = decision_of(incident)
    risk = (
        f"the risk was decided to be {decided.risk} by {decided.by}"
        if decided
        else f"the risk is undecided: runbook privacy decide {incident.id}"
    )
    stopped = (
        contained.summary
        if contained.health is Health.HEALTHY
        else (f"releases must be stopped by a person ({contained.summary})")
    )
    return Outcome(
        Ending.MANUAL,
        f"{incident.id}: {scope.words()}; {risk}; {drafts} notices are drafted and none is sent; "
        f"{stopped}; other containment is manual: only people know who has the data",
    )
