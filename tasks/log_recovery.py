"""The audit log's copies in the object store, brought back into a directory."""

import logging
from dataclasses import replace

from prefect import task

from tasks.clients.bulk import BulkReader
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Verdict
from tasks.domain.ledger.legacy_keys import MAX_KEY_BYTES, LegacyKey
from tasks.progress import shown_progress
from tasks.retries import READ
from tasks.sections.files import read_bytes
from tasks.settings import settings
from tasks.work import log_recovery
from tasks.work.kept_notes import kept_notes
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
        found = newest_copy(reader, settings().store, wanted)
    finally:
        reader.close()
    if found.days:
        _logger.info("%s copies by day, %s to %s", len(found.days), found.days[0], found.days[-1])
    if found.doubt:
        _logger.warning("%s", found.doubt)
    return found.source


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
    notes, unread = kept_notes(trust)
    return replace(proof, trust=trust, notes=notes, unread=unread)
