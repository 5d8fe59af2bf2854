"""The audit log's copies in the object store, brought back into a directory."""

import logging
from dataclasses import replace

from prefect import task

from tasks.clients.bulk import BulkReader
from tasks.clients.errors import ClientError
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Trust, Verdict
from tasks.domain.ledger.legacy_keys import MAX_KEY_BYTES, LegacyKey
from tasks.progress import shown_progress
from tasks.retries import READ
from tasks.settings import read_bytes, settings
from tasks.work import anchors, log_recovery
from tasks.work.log_directory import DirectoryLog
from tasks.work.log_mirror import Done
from tasks.work.log_recovery import Proof, Recovery, Watch
from tasks.work.recovery_sources import Source, newest_copy

_logger = logging.getLogger(__name__)


@task(name="List the audit log's copies", tags={"runbook:recovery.log.list"}, **READ)
def list_log_copies(source: str | None = None) -> Source:
    """Where the newest copy lies; without a source below the prefix that the settings name."""
    wanted = Source.parse(source, settings().store)
    reader = BulkReader(settings().store, wanted.bucket)
    try:
        found, days = newest_copy(reader, wanted)
    finally:
        reader.close()
    if days:
        _logger.info("%s copies by day, %s to %s", len(days), days[0], days[-1])
    return found


@task(name="Restore the audit logs", tags={"runbook:recovery.log.restore"}, **READ)
def restore_audit_logs(source: Source) -> Recovery:
    """Fetch what differs, put right what is proven elsewhere. Tried again, it goes on."""
    files = shown_progress("recovery-files", "objects brought")
    records = shown_progress("recovery-records", "restored records hashed")

    def brought(done: Done) -> None:
        files(done.files, done.files_due)

    return log_recovery.recover(
        source,
        settings().responder.restored_logs,
        settings().store,
        _proof(),
        progress=Watch(brought, records),
    )


@task(name="Verify the restored logs", tags={"runbook:recovery.log.verify"}, **READ)
def verify_restored_logs(recovery: Recovery) -> Verdict | None:
    """Read the directory anew, as `runbook verify` does; None when there is nothing to judge by.

    A legacy log was judged with its manifest while it was restored: that verdict stands.
    """
    proof = _proof()
    if recovery.verdict is None or proof.trust is None or not recovery.verdict.root:
        return recovery.verdict
    return log_recovery.verify_restored(
        DirectoryLog(recovery.target), proof.trust, proof.kept_heads, workers=proof.workers
    )


def _proof() -> Proof:
    ledger = settings().ledger
    key = ledger.legacy_key_file
    proof = Proof(
        table_dsn=settings().database.reader_dsn.get_secret_value(),
        public_key=LegacyKey.parse(read_bytes(key, MAX_KEY_BYTES)) if key else None,
        workers=ledger.workers,
    )
    try:
        trust = ledger.read_trust()
    except BadInput as error:
        _logger.warning("a sealed log will be brought, but not proven: %s", error)
        return proof
    return replace(proof, trust=trust, notes=_anchor(trust))


def _anchor(trust: Trust) -> tuple[str, ...]:
    """The head that we kept outside the object store."""
    try:
        anchor = anchors.newest(trust)
    except ClientError as error:
        _logger.warning("our own kept head cannot be read: %s", error)
        return ()
    return (anchor.note,) if anchor is not None else ()
