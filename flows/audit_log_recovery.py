"""Runbook: Recovery Procedures / Data Recovery / Audit Log Recovery.

List the copies, restore them into a directory of ours, verify them there. The object store is only
read, so this needs no approval.
"""

from prefect import flow

from tasks.artifacts import show_recovery, show_verdict
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Status
from tasks.journal import declare_incident
from tasks.log_recovery import list_log_copies, restore_audit_logs, verify_restored_logs
from tasks.work.log_recovery import Ending


@flow(name="audit-log-recovery", flow_run_name="recover the audit log", persist_result=False)
def recover_audit_logs(source: str | None = None) -> str:
    """Bring back the newest copy, or the one under `source` (s3://bucket/prefix).

    Started again after a full disk or a kill, it goes on. Records that no copy has as they were
    written open an incident. NotProven, so that the run fails, where it could not be told, or where
    the disk is full.
    """
    copy = list_log_copies(source)
    recovery = restore_audit_logs(copy)
    show_recovery(recovery)
    verdict = verify_restored_logs(recovery)
    if verdict is not None:
        show_verdict("restored-logs", verdict)
    said = f"{recovery.ending.value}: {recovery.source} in {recovery.target}"
    is_altered = verdict is not None and verdict.status is Status.TAMPERED
    if recovery.ending is Ending.LOST or (recovery.ending is Ending.VERIFIED and is_altered):
        incident, is_new = declare_incident(
            "Audit log recovery: records are lost or altered", "audit-trail", "audit_trail"
        )
        return f"{said}: {incident} {'was opened' if is_new else 'is open already'}"
    if recovery.ending is not Ending.VERIFIED:
        raise NotProven(f"{said}: {recovery.reason}")
    if verdict is None or verdict.status is not Status.VERIFIED:
        raise NotProven(
            f"{said}, but not when it was read again: {verdict.reason if verdict else 'no verdict'}"
        )
    return said
