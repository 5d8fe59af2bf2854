"""Runbook: Immediate Response (First 15 minutes)."""

from prefect import flow
from prefect.futures import PrefectFuture, wait

from flows.privacy_incident import tell_dpo
from tasks.alerting import check_silences
from tasks.artifacts import show_checks
from tasks.audit_api import check_api_health
from tasks.cache import check_cache
from tasks.database import check_database
from tasks.domain.incident import Incident
from tasks.domain.messages import Moment
from tasks.domain.metrics import onset
from tasks.domain.observation import Observation
from tasks.domain.policy import DPO_CLOCK, SECURITY
from tasks.domain.routes import OWNERS, Remedy
from tasks.domain.severity import Severity, assess_alerts, assess_checks, assess_impact
from tasks.journal import assign_severity, name_affected, read_incident
from tasks.logs import review_logs
from tasks.metrics import check_firing_alerts, estimate_impact
from tasks.notifications import (
    OPENED,
    draft_status,
    keep_channel,
    make_channel,
    notify_on_call,
    notify_owner,
    notify_security,
    page_on_call,
    tell_meanwhile,
    wait_until_told,
)
from tasks.workloads import review_deployments


@flow(name="triage", flow_run_name="triage {incident_id}", persist_result=False)
def triage(incident_id: str) -> str:
    """Immediate Response of one incident; what it saw is in the journal. Changes nothing."""
    severity = respond_at_once(read_incident(incident_id))
    wait_until_told()
    return severity


def respond_at_once(incident: Incident) -> Severity:
    """All three steps. Called by the incident's own run, so that its first checks come at once.

    What is looked at is looked at at once, each with its own time-out: the whole takes no longer
    than the longest of them.
    """
    looks = [*initial_assessment(incident.id), *closer_looks(incident)]
    wait(looks)
    severity = initial_triage(incident, [look.result() for look in looks])
    communicate(incident, severity)
    return severity


def initial_assessment(incident_id: str) -> list[PrefectFuture[Observation]]:
    """1. Initial Assessment: is the system healthy, does what it stands on answer."""
    return [
        check_api_health.submit(incident_id),
        check_database.submit(incident_id),
        check_cache.submit(incident_id),
        check_firing_alerts.submit(incident_id),
        check_silences.submit(incident_id),
    ]


def closer_looks(incident: Incident) -> list[PrefectFuture[Observation]]:
    """3. Initial Triage, what takes a look: user impact, deployments and logs around the onset."""
    began = onset(incident.facts)
    return [
        estimate_impact.submit(incident.id, began),
        review_deployments.submit(incident.id, began, incident.component),
        review_logs.submit(incident.id, began),
    ]


def initial_triage(incident: Incident, seen: list[Observation]) -> Severity:
    """3. Initial Triage: affected components and severity, with the rule that fired."""
    affected = name_affected(incident.id, seen)
    severity = assign_severity(
        incident.id, assess_alerts(incident.alerts), assess_checks(seen), assess_impact(seen)
    )
    show_checks(incident.id, [*seen, affected])
    return severity


def moment_of(incident: Incident) -> str:
    """Alerts that join an incident later are told as well, once for each number of them."""
    return OPENED if len(incident.alerts) <= 1 else f"{len(incident.alerts)} alerts"


def communicate(incident: Incident, severity: Severity) -> None:
    """2. Communication: a channel, then the on-call engineer. Chat never delays the response."""
    channel = tell_meanwhile(make_channel, incident.id)
    text = f"{incident.id}, severity {severity}, {len(incident.alerts)} alerts: {incident.title}"
    tell_meanwhile(page_on_call, incident.id, text)  # waits for no chat
    told = tell_meanwhile(notify_on_call, incident.id, moment_of(incident), text, after=[channel])
    tell_meanwhile(keep_channel, incident.id, after=[told])
    tell_meanwhile(draft_status, incident.id, Moment.OPENED, after=[told])
    if incident.remedy == Remedy.MANUAL and incident.owner in OWNERS:
        theirs = f"{text}; its remedy is manual and yours"
        moment = f"owner {moment_of(incident)}"
        tell_meanwhile(notify_owner, incident.id, incident.owner, moment, theirs, after=[channel])
    if incident.component == SECURITY:
        tell_meanwhile(notify_security, incident.id, moment_of(incident), text, after=[channel])
    if DPO_CLOCK in incident.clocks:
        tell_dpo(incident)
