"""Runbook: Audit Trail Issues / Diagnosis; nightly, and whenever an alert asks."""

from prefect import flow
from prefect.futures import wait

from tasks.artifacts import show_verdict
from tasks.audit_api import check_api_integrity, check_api_merkle, check_recent_records
from tasks.audit_log import (
    advance_anchor,
    choose_tonights_scope,
    compare_with_kept_anchor,
    compare_with_shown_head,
    find_head_size,
    verify_audit_table,
    verify_sealed_log,
)
from tasks.domain.errors import RunbookError
from tasks.domain.ledger import Status, Verdict, combine
from tasks.domain.ledger.scope import FULL, Scope
from tasks.journal import declare_incident, record_diagnosis, record_success
from tasks.work.successes import Work


@flow(name="integrity", flow_run_name="integrity", persist_result=False)
def integrity(*, full: bool = False) -> str:
    """Verify the table and the sealed log. Changes nothing.

    Each night what is new and a sample of what is older, each week everything. Damage opens an
    incident, or is noted in the open one: one incident is enough for it. So does a verification
    that could not be made: a proof that silently did not happen is no proof.
    """
    try:
        scope = FULL if full else choose_tonights_scope()
        verdict, shown = compare_with_what_was_signed(scope)
        show_verdict("nightly", verdict)
        if verdict.status is not Status.UNVERIFIABLE:
            record_success(Work.VERIFICATION)
        if verdict.status is Status.VERIFIED:
            said = f"verified: {verdict.signed} signed records, {verdict.records} hashed in all"
            if not shown:
                return f"{said}; not anchored: the API showed no head"
            advance_anchor(verdict)
            return said
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
    verdict, _ = compare_with_what_was_signed(FULL)
    record_diagnosis(incident_id, verdict)
    show_verdict(incident_id, verdict)
    wait(looks)


def compare_with_what_was_signed(scope: Scope) -> tuple[Verdict, bool]:
    """Table, object store, anchor and API against one signed checkpoint.

    The second answer: whether the API showed a head at all; one that is away is not tampering.
    """
    size = find_head_size()
    table = verify_audit_table.submit(scope, size)
    sealed = verify_sealed_log.submit(scope, size)
    anchored = compare_with_kept_anchor.submit(size)
    shown = compare_with_shown_head.submit(size).result()
    others = [sealed.result(), anchored.result(), *([shown] if shown else [])]
    return combine(table.result(), *others), shown is not None
