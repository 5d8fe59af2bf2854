"""Runbook: Audit Trail Issues / Diagnosis; nightly, and whenever an alert asks."""

from prefect import flow
from prefect.futures import wait

from tasks.artifacts import show_verdict
from tasks.audit_api import check_api_integrity, check_api_merkle, check_recent_records
from tasks.audit_log import (
    advance_anchor,
    compare_with_anchor,
    verify_audit_table,
    verify_sealed_log,
)
from tasks.domain.errors import RunbookError
from tasks.domain.ledger import Status, Verdict, combine
from tasks.journal import declare_incident, record_diagnosis


@flow(name="integrity", flow_run_name="integrity", persist_result=False)
def integrity() -> str:
    """Verify the table and the sealed log. Changes nothing.

    Damage opens an incident, or is noted in the open one: one incident is enough for it. So does
    a verification that could not be made: a proof that silently did not happen is no proof.
    """
    try:
        verdict = compare_with_what_was_signed()
        show_verdict("nightly", verdict)
        if verdict.status is Status.VERIFIED:
            advance_anchor(verdict)
            return f"verified: {verdict.signed} records"
        found = verdict.status.value
    except RunbookError as error:
        found = f"not possible ({type(error).__name__})"
    incident, is_new = declare_incident(
        f"Nightly verification: {found}", "audit-trail", "audit_trail"
    )
    return f"{found}: {incident} {'was opened' if is_new else 'is open already'}"


@flow(name="verify-integrity", flow_run_name="verify {incident_id}", persist_result=False)
def verify_integrity(incident_id: str) -> None:
    """Diagnosis of one incident: what the API says, and what the signatures prove."""
    looks = [
        check_api_integrity.submit(incident_id),
        check_recent_records.submit(incident_id),
        check_api_merkle.submit(incident_id),
    ]
    verdict = compare_with_what_was_signed()
    record_diagnosis(incident_id, verdict)
    show_verdict(incident_id, verdict)
    wait(looks)


def compare_with_what_was_signed() -> Verdict:
    """Table and object store against the signed checkpoint, and that against the anchor."""
    table = verify_audit_table.submit()
    sealed = verify_sealed_log.submit()
    anchored = compare_with_anchor.submit()
    return combine(table.result(), sealed.result(), anchored.result())
