"""Evidence before changes, and the report after them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.facts import FactKind
from tasks.domain.ledger import NoteSigner
from tasks.domain.untrusted import visible
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import evidence, journal, preserving, proof_in_service, ranges, rendering
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
        configured.evidence.recipients,
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


@task(name="Preserve what is volatile", tags={"runbook:breach.preserve"}, **READ)
def preserve_volatile(incident: str, hold: int, purpose: str) -> dict[str, str]:
    """Seal what the next second may change: sessions, locks, pods, events, the newest head.

    Each look has its time-out, none waits for another system twice. What could not be had, and why,
    by its id; the bag stays open for `preserve_everything`.
    """
    known = settings()
    place = preserving.bag_place(known, incident, hold, purpose)
    skipped = preserving.preserve_volatile(known, place, preserving.onset_of(incident))
    return {each.id: each.reason for each in skipped}


@task(
    name="Preserve everything",
    tags={
        "runbook:breach.evidence.logs",
        "runbook:breach.evidence.timeline",
        "runbook:breach.evidence.state",
    },
    **READ,
)
def preserve_everything(
    incident: str, scope: str, hold: int, purpose: str, sealed_beside: str = ""
) -> dict[str, Any]:
    """Seal all evidence of the incident in a signed bag, and anchor its custody log as a fact.

    `scope`: what the fact stands for: that of the hold that waits for it, or a name of its own.
    `hold`: the place of the hold in the journal, which names the bag. `sealed_beside`: where the
    database and the log are sealed already: they are not read again. A second call finds what is
    sealed. Answers what the fact says; that it could not be closed is a note in the journal.
    """
    known = settings()
    place = preserving.bag_place(known, incident, hold, purpose)
    try:
        closed = preserving.preserve_everything(
            known,
            place,
            preserving.onset_of(incident),
            proof_in_service.signer(),
            sealed_beside=sealed_beside,
        )
        stamped = preserving.stamp(known, place)
    except RunbookError as error:
        text = f"The bag of evidence {place.root} is not closed yet: {visible(str(error), 500)}"
        journal.append(incident, FactKind.NOTE, {"text": text}, key=f"bag:{scope}:{hold}:open")
        raise
    fact = journal.append(
        incident,
        FactKind.EVIDENCE_SEALED,
        {
            "scope": scope,
            "hold": hold,
            "bucket": known.store.evidence_bucket,
            "items": [item.as_json() for item in closed.items],
            "bag": closed.root,
            "encrypted": closed.encrypted,
            "skipped": [each.as_json() for each in closed.skipped],
            "custody": {"entries": closed.seal.custody.entries, "hash": closed.seal.custody.hash},
            "manifest": closed.seal.manifest,
            "key": closed.seal.key,
            "timestamp": stamped,
        },
        key=f"bag:{scope}:{hold}",
    )
    return dict(fact.data)


@task(name="Keep error rate and latency", **READ)
def keep_ranges(incident: str) -> None:
    """What Prometheus knows of the time around the incident, as a fact; never in the way."""
    ranges.keep(settings().metrics, incident, datetime.now(UTC))


@task(name="Write report", tags={"runbook:post.compliance.report"}, **READ)
def write_report(incident: str) -> Published:
    """HTML, PDF and JSON from the journal, signed together; digests and signature are a fact.

    A key that cannot be read costs the signature, and the fact says so, never the report.
    """
    directory = settings().responder.reports
    signer, unsigned = _signer()
    state, now = journal.read(incident), datetime.now(UTC)
    written = rendering.write_report(state, directory, now, signer)
    url = f"{settings().gateway.url}/reports/{incident}/{written.html_sha256}.html"
    journal.append(
        incident,
        FactKind.REPORTED,
        {
            "html": {"path": str(written.html_path), "sha256": written.html_sha256},
            "pdf": {"path": str(written.pdf_path), "sha256": written.pdf_sha256},
            "json": {"path": str(written.json_path), "sha256": written.json_sha256},
            "seal": {"path": str(written.seal_path or ""), "sha256": written.seal_sha256},
            "facts": written.facts,
            "note": written.note,
            "key": signer.verifier.encoded if signer else "",
            "unsigned": unsigned,
            "url": url,
        },
        key=f"report:{written.html_sha256}",
    )
    return Published(url, str(written.html_path), str(written.pdf_path))


def _signer() -> tuple[NoteSigner | None, str]:
    """The responder's, or why there is none."""
    try:
        return proof_in_service.signer(), ""
    except (BadInput, OSError) as error:
        return None, visible(str(error), 300)
