"""The whole response to one incident: triage, procedure, approval, close, report.

Every start reads the journal first and goes on where it ends, so a run that was killed, resumed,
retried or started twice does nothing a second time. The incident's id is the only parameter:
nothing that a run is given can express an approval. Without a deployment (a plain call) there is
nothing to suspend: the run ends, and the decision starts another.
"""

from collections.abc import Callable, Mapping

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import deployment

from flows.audit_trail import handle_audit_trail_issues
from flows.post_incident import write_post_incident_report
from flows.privacy_incident import handle_privacy_incident
from flows.triage import respond_at_once
from tasks.artifacts import run_name
from tasks.domain.errors import RunbookError
from tasks.domain.incident import Incident, Stage
from tasks.domain.outcome import Ending, Outcome
from tasks.journal import (
    begin_response,
    close_incident,
    declare_incident,
    leave_open,
    read_incident,
    record_refusal,
)
from tasks.notifications import announce_end, wait_until_told

APPROVAL_SECONDS = 30 * 24 * 3600
"""Prefect's own time-out of a suspended run; expiry is the journal's and much shorter."""

Procedure = Callable[[Incident], Outcome]


def handle_by_hand(incident: Incident) -> Outcome:
    """The runbook has no procedure for this component that may run by itself."""
    return Outcome(
        Ending.MANUAL,
        f"triage is done; the remedy for {incident.component or 'this component'} is manual: "
        "the runbook's procedure for it is not automated",
    )


PROCEDURES: Mapping[str, Procedure] = {
    "audit_trail": handle_audit_trail_issues,
    "privacy_incident": handle_privacy_incident,
}


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
        write_post_incident_report(incident_id)
        return state.outcome
    try:
        outcome = respond(state)
    except RunbookError as error:
        record_refusal(incident_id, str(error))
        announce_end(incident_id, "stopped", f"{incident_id} stopped: {error}")
        raise
    finally:
        wait_until_told()
    if outcome.ending is Ending.AWAITING and deployment.id:
        suspend_flow_run(timeout=APPROVAL_SECONDS, key=f"approval-{len(state.facts)}")
    return end(incident_id, outcome)


def respond(state: Incident) -> Outcome:
    """Triage, unless an earlier run has done it; then the runbook's procedure."""
    if state.severity is None:
        respond_at_once(state)
    return PROCEDURES.get(state.procedure, handle_by_hand)(read_incident(state.id))


def end(incident_id: str, outcome: Outcome) -> str:
    """Close what is over, with a report; leave open, and say so, what a person must mend."""
    if not outcome.closes:
        leave_open(incident_id, outcome)
        announce_end(incident_id, outcome.ending, f"{incident_id}: {outcome.summary}")
        return outcome.ending
    close_incident(incident_id, outcome)
    write_post_incident_report(incident_id)
    announce_end(incident_id, outcome.ending, f"{incident_id}: {outcome.summary}")
    return outcome.ending
