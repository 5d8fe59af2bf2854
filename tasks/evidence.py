"""Evidence before changes, and the report after them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain.facts import FactKind
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import evidence, journal, rendering
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog


@dataclass(frozen=True, slots=True)
class Published:
    """A written report and the address under which the gateway serves it."""

    url: str
    html: str
    pdf: str


@task(name="Seal evidence", tags={"runbook:breach.preserve"}, **READ)
def seal_evidence(incident: str, scope: str, hold: int, damage: str) -> int:
    """Snapshot of the damaged table, the segments and the checkpoint, under Object Lock.

    `hold`: the place of the hold that it is for, which was set for this damage. Adds objects and
    changes nothing else; a second call finds what is sealed.
    """
    configured = settings()
    store = ObjectStore(configured.store)
    log = ObjectLog(store, configured.store.backups_bucket, configured.store.audit_prefix)
    sealed = evidence.seal_snapshot(
        incident,
        hold,
        configured.database.reader_dsn.get_secret_value(),
        log,
        latest_head(log, configured.ledger.read_trust()),
        store,
        configured.store,
    )
    journal.append(
        incident,
        FactKind.EVIDENCE_SEALED,
        {
            "scope": scope,
            "hold": hold,
            "damage": damage,
            "bucket": configured.store.evidence_bucket,
            "items": [item.as_json() for item in sealed],
        },
        key=f"evidence:{scope}:{hold}",
    )
    return len(sealed)


@task(name="Write report", tags={"runbook:post.compliance.report"}, **READ)
def write_report(incident: str) -> Published:
    """HTML, PDF and JSON from the journal; their digests are facts."""
    directory = settings().responder.reports
    written = rendering.write_report(journal.read(incident), directory, datetime.now(UTC))
    url = f"{settings().gateway.url}/reports/{incident}/{written.html_sha256}.html"
    journal.append(
        incident,
        FactKind.REPORTED,
        {
            "html": {"path": str(written.html_path), "sha256": written.html_sha256},
            "pdf": {"path": str(written.pdf_path), "sha256": written.pdf_sha256},
            "url": url,
        },
        key=f"report:{written.html_sha256}",
    )
    return Published(url, str(written.html_path), str(written.pdf_path))
