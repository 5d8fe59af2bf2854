"""The audit log against what was signed."""

import logging
import secrets

from prefect import task

from tasks.clients import audit_api
from tasks.clients.errors import ClientError, NotFound
from tasks.clients.object_store import ObjectStore
from tasks.crews import hashing_crew
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, Trust, Verdict
from tasks.domain.ledger.scope import FULL, Scope, choose_scope
from tasks.progress import shown_progress
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import anchors, table_verification, verification
from tasks.work.comparisons import compare_with_anchor
from tasks.work.log_heads import latest_head
from tasks.work.log_store import LogStore, ObjectLog

_logger = logging.getLogger(__name__)


def sealed_log() -> LogStore:
    """The sealed log in the object store."""
    store = settings().store
    return ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)


def log_trust() -> Trust:
    """Whose signatures on the log count."""
    return settings().ledger.read_trust()


@task(name="Choose what to hash again", tags={"runbook:audit.diagnosis.integrity"}, **READ)
def choose_tonights_scope() -> Scope:
    """New records, and a share of the older blocks that nobody could foresee.

    The seed is drawn here, after the newest head was signed. Without an anchor everything is new.
    """
    ledger = settings().ledger
    trust = log_trust()
    anchor, head = anchors.newest(trust), latest_head(sealed_log(), trust)
    anchored = min(anchor.checkpoint.size, head.checkpoint.size) if anchor else 0
    return choose_scope(anchored, ledger.sample_share, secrets.token_bytes(32))


@task(name="Find the signed head", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def find_head_size() -> int | None:
    """Size of the newest head that counts, which everything is then compared with; None without."""
    try:
        return latest_head(sealed_log(), log_trust()).checkpoint.size
    except (NotFound, NotProven):
        return None


@task(name="Verify the audit table", tags={"runbook:audit.diagnosis.integrity"}, **READ)
def verify_audit_table(scope: Scope = FULL, size: int | None = None) -> Verdict:
    """Hash the rows as stored and compare with the signed checkpoint (RFC 6962 root)."""
    with hashing_crew() as crew:
        return table_verification.verify_table(
            settings().database.reader_dsn.get_secret_value(),
            sealed_log(),
            log_trust(),
            shown_progress("table", "records of the table hashed"),
            scope=scope,
            crew=crew,
            size=size,
        )


@task(name="Verify the sealed log", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def verify_sealed_log(scope: Scope = FULL, size: int | None = None) -> Verdict:
    """Segments and tiles of the object store against the same signed checkpoint."""
    with hashing_crew() as crew:
        return verification.verify_log(
            sealed_log(),
            log_trust(),
            shown_progress("store", "records of the object store hashed"),
            scope=scope,
            crew=crew,
            size=size,
        )


@task(name="Compare with the anchor", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def compare_with_kept_anchor(size: int | None = None) -> Verdict:
    """Whether the newest head continues the one that was kept elsewhere (rollback, fork).

    Without it a log that was cut back together with its checkpoints would look as signed.
    """
    trust = log_trust()
    anchor = anchors.newest(trust)
    return compare_with_anchor(
        sealed_log(), trust, anchor.checkpoint if anchor else None, size=size
    )


@task(name="Compare with the API's head", tags={"runbook:audit.diagnosis.merkle"}, **READ)
def compare_with_shown_head(head: int | None = None) -> Verdict | None:
    """Whether the API shows the history that was signed; None when it shows no head."""
    try:
        size, root = audit_api.merkle_head(settings().api)
    except ClientError as error:
        _logger.warning("the API shows no head to compare: %s", error)
        return None
    dsn = settings().database.reader_dsn.get_secret_value()
    return table_verification.compare_api_with_table(
        dsn, sealed_log(), log_trust(), size, root, head
    )


@task(name="Advance the anchor", **READ)
def advance_anchor(verified: Verdict) -> int:
    """Keep the verified checkpoint outside the patient's blast radius; its size."""
    checkpoint = Checkpoint(verified.origin, verified.signed, bytes.fromhex(verified.root))
    return anchors.advance(sealed_log(), log_trust(), checkpoint)
