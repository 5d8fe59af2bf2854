"""The audit log against what was signed."""

from prefect import task

from tasks.clients.errors import NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, Code, Finding, Status, Trust, Verdict
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import anchors, verification
from tasks.work.log_heads import latest_head
from tasks.work.log_store import LogStore, ObjectLog


def production_target() -> str:
    """The name of the production database as a target of plans, holds and locks."""
    return f"database/{settings().database.name}"


def sealed_log() -> LogStore:
    """The sealed log in the object store."""
    store = settings().store
    return ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)


def log_trust() -> Trust:
    """Whose signatures on the log count."""
    return settings().ledger.read_trust()


@task(name="Verify the audit table", tags={"runbook:audit.diagnosis.integrity"}, **READ)
def verify_audit_table() -> Verdict:
    """Hash every row as stored and compare with the signed checkpoint (RFC 6962 root)."""
    return verification.verify_table(
        settings().database.reader_dsn.get_secret_value(),
        sealed_log(),
        log_trust(),
    )


@task(name="Verify the sealed log", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def verify_sealed_log() -> Verdict:
    """Segments and tiles of the object store against the same signed checkpoint."""
    return verification.verify_log(sealed_log(), log_trust())


@task(name="Compare with the anchor", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def compare_with_anchor() -> Verdict:
    """Whether the newest head continues the one that was kept elsewhere (rollback, fork).

    Without it a log that was cut back together with its checkpoints would look as signed.
    """
    log, trust = sealed_log(), log_trust()
    anchor = anchors.newest(trust)
    if anchor is None:
        return Verdict(Status.VERIFIED, "anchor", 0, 0, reason="there is no anchor yet")
    try:
        head = latest_head(log, trust)
        anchors.check(log, head, trust)
    except anchors.AnchorBroken as error:
        finding = Finding(error.code, "anchor", detail=str(error)[:300])
        return Verdict(Status.TAMPERED, "anchor", 0, 0, (finding,), reason=str(error)[:300])
    except NotFound:
        text = f"every checkpoint is gone, the anchor has {anchor.checkpoint.size} records"
        finding = Finding(Code.ROLLBACK, "anchor", detail=text)
        return Verdict(Status.TAMPERED, "anchor", 0, 0, (finding,), reason=text)
    except NotProven as error:
        return Verdict(Status.UNVERIFIABLE, "anchor", 0, 0, reason=str(error)[:300])
    return Verdict(Status.VERIFIED, "anchor", 0, 0)


@task(name="Advance the anchor", **READ)
def advance_anchor(verified: Verdict) -> int:
    """Keep the verified checkpoint outside the patient's blast radius; its size."""
    checkpoint = Checkpoint(verified.origin, verified.signed, bytes.fromhex(verified.root))
    return anchors.advance(sealed_log(), log_trust(), checkpoint)
