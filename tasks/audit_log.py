"""The audit log against what was signed."""

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain.ledger import NoteVerifier, Verdict
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import anchors, verification
from tasks.work.log_store import LogStore, ObjectLog


def production_target() -> str:
    """The name of the production database as a target of plans, holds and locks."""
    return f"database/{settings().database.name}"


def sealed_log() -> LogStore:
    """The sealed log in the object store."""
    store = settings().store
    return ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)


def log_verifier() -> NoteVerifier:
    """The sealer's public key."""
    return NoteVerifier.parse(settings().ledger.log_key)


@task(name="Verify the audit table", tags={"runbook:audit.diagnosis.integrity"}, **READ)
def verify_audit_table() -> Verdict:
    """Hash every row as stored and compare with the signed checkpoint (RFC 6962 root)."""
    return verification.verify_table(
        settings().database.reader_dsn.get_secret_value(),
        sealed_log(),
        log_verifier(),
        settings().ledger.origin,
    )


@task(name="Verify the sealed log", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def verify_sealed_log() -> Verdict:
    """Segments and tiles of the object store against the same signed checkpoint."""
    return verification.verify_log(sealed_log(), log_verifier(), settings().ledger.origin)


@task(name="Advance the anchor", **READ)
def advance_anchor() -> int:
    """Keep the verified checkpoint outside the patient's blast radius; its size."""
    return anchors.advance(sealed_log(), log_verifier(), settings().ledger.origin)
