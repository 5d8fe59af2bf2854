"""The whole response to one incident: triage, procedure, approval, close, report.

Every start reads the journal first and goes on where it ends, so a run that was killed, resumed,
retried or started twice does nothing a second time. The incident's id is the only parameter:
nothing that a run is given can express an approval. Without a deployment (a plain call) there is
nothing to suspend: the run ends, and the decision starts another.
"""

import time
from collections.abc import Callable, Mapping

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import deployment

from flows.api_service import handle_api_service_issues
from flows.audit_trail import handle_audit_trail_issues
from flows.breach import handle_suspected_breach, stop
from flows.cache import handle_cache_issues
from flows.database import handle_database_issues
from flows.database_recovery import handle_database_recovery
from flows.emergency import handle_emergency
from flows.post_incident import write_post_incident_report
from flows.privacy_engine import handle_privacy_engine_issues
from flows.privacy_incident import handle_privacy_incident
from flows.rollback import roll_back
from flows.scaling import handle_scaling
from flows.triage import communicate, respond_at_once
from tasks.artifacts import run_name
from tasks.clients.errors import Transient
from tasks.domain.errors import RunbookError
from tasks.domain.incident import Incident, Stage
from tasks.domain.isolation_state import PROCEDURE as BREACH
from tasks.domain.mending import was_verified
from tasks.domain.messages import Moment
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.severity import assess_alerts
from tasks.journal import (
    assign_severity,
    begin_response,
    close_incident,
    declare_incident,
    leave_open,
    read_incident,
    record_refusal,
)
from tasks.notifications import (
    announce_end,
    draft_status,
    tell_meanwhile,
    tell_the_end,
    wait_until_told,
)
from tasks.sealing import seal_journal

APPROVAL_SECONDS = 30 * 24 * 3600
"""Prefect's own time-out of a suspended run; expiry is the journal's and much shorter."""

PAUSES = (2.0, 5.0, 15.0)
"""Seconds before a run that met a system which did not answer begins again."""

JOINED_MEANWHILE = "but alerts that joined meanwhile still fire: another run looks at them"

Procedure = Callable[[Incident], Outcome]


def handle_by_hand(incident: Incident) -> Outcome:
    """The runbook has no procedure for this component that may run by itself."""
    return Outcome(
        Ending.MANUAL,
        f"triage is done; the remedy for {incident.component or 'this component'} is manual: "
        "the runbook's procedure for it is not automated",
    )


PROCEDURES: Mapping[str, Procedure] = {
    "api_service": handle_api_service_issues,
    "audit_trail": handle_audit_trail_issues,
    "breach": handle_suspected_breach,
    "cache": handle_cache_issues,
    "database": handle_database_issues,
    "database_recovery": handle_database_recovery,
    "privacy_engine": handle_privacy_engine_issues,
    "privacy_incident": handle_privacy_incident,
    "rollback": roll_back,
    "emergency": handle_emergency,
    "scaling": handle_scaling,
}

NEEDED_BY_API = frozenset({"cache", "database", "scaling"})
"""Their alerts may be about the API as well: where they are well, and it fires, that is looked at.
"""


@flow(name="incident", flow_run_name=run_name(), persist_result=False)
def incident(incident_id: str | None = None) -> str:
    """Respond to an incident; without an id (a run started by hand) declare one.

    The declared incident has a run of its own: this one knows no id, so if it were suspended and
    resumed it would declare another.
    """
    if incident_id is None:
        opened, is_new = declare_incident(
            "Declared by hand: check the audit trail", "audit-trail", "audit_trail"
        )
        return f"{opened} {'was opened' if is_new else 'is open already'}"
    state = read_incident(incident_id)
    if state.stage is Stage.CLOSED and state.report:
        return state.outcome
    begin_response(incident_id)
    if state.stage is Stage.CLOSED:
        return report_end(incident_id)
    try:
        outcome = respond_patiently(state)
    except RunbookError as error:
        why = type(error).__name__  # the whole reason may quote records: it stays in the journal
        record_refusal(incident_id, str(error))
        announce_end(incident_id, f"stopped {len(state.facts)}", f"{incident_id} stopped: {why}")
        raise
    finally:
        wait_until_told()
    if outcome.ending is Ending.AWAITING:
        if deployment.id:
            suspend_flow_run(timeout=APPROVAL_SECONDS, key=f"approval-{len(state.facts)}")
        return outcome.ending
    return end(incident_id, outcome)


def respond_patiently(state: Incident) -> Outcome:
    """Respond, and begin again after a short while when a system did not answer.

    Beginning again is what a killed run does too: the journal says what is done already.
    """
    for pause in PAUSES:
        try:
            return respond(state)
        except Transient as error:
            record_refusal(state.id, f"{error}; beginning again in {pause} s")
            time.sleep(pause)
            state = read_incident(state.id)
    return respond(state)


def respond(state: Incident) -> Outcome:
    """Triage, then the runbook's procedure.

    Whoever has chosen a target wants a restore, whatever the incident began with. Of an earlier
    run's triage only the telling is repeated, and the severity looked at again:
    alerts may have joined since, and who was told of them is not told again. A severity alone is no
    sign of a triage: a person may have said it before any run began. In a suspected breach nothing
    is looked at before every change is held.
    """
    if state.procedure == BREACH:
        stop(state)
    if state.severity is None or not state.checks:
        respond_at_once(state)
    else:
        severity = assign_severity(state.id, assess_alerts(state.alerts))
        communicate(state, severity)
    state = read_incident(state.id)
    procedure = procedure_of(state)
    outcome = PROCEDURES.get(procedure, handle_by_hand)(state)
    fires = bool(state.alerts) and state.alerts_resolved_at is None
    if procedure in NEEDED_BY_API and fires and outcome.ending is Ending.NO_ACTION:
        return handle_api_service_issues(read_incident(state.id))
    return outcome


def procedure_of(state: Incident) -> str:
    """The incident's own; a plan that another one has made, and that stands, is that one's."""
    if state.target is not None:
        return "database_recovery"
    plan = state.plan
    is_others = plan is not None and plan.procedure != state.procedure and not was_verified(state)
    return "api_service" if is_others and state.procedure in NEEDED_BY_API else state.procedure


def end(incident_id: str, outcome: Outcome) -> str:
    """Close what is over, with a report; leave open, and say so, what a person must mend."""
    if outcome.closes and close_incident(incident_id, outcome):
        return report_end(incident_id)
    if outcome.closes:
        outcome = Outcome(Ending.MANUAL, f"{outcome.summary}; {JOINED_MEANWHILE}")
    leave_open(incident_id, outcome)
    moment = f"{outcome.ending} {read_incident(incident_id).plan_hash[:12]}".strip()
    announce_end(incident_id, moment, f"{incident_id}: {outcome.summary}")
    return outcome.ending


def report_end(incident_id: str) -> str:
    """The report of a closed incident, the word to everybody, the seal; safe to do again."""
    write_post_incident_report(incident_id)
    outcome = read_incident(incident_id).outcome
    tell_meanwhile(tell_the_end, incident_id)
    tell_meanwhile(draft_status, incident_id, Moment.CLOSED)
    announce_end(incident_id, "closed", f"{incident_id} is closed: {outcome}")
    wait_until_told()
    seal_journal(incident_id)
    return outcome
