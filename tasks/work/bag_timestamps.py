"""A time-stamp token over a bag of evidence: that it was closed by then says a third party.

`signatures/bag.tsr` is a reply of RFC 3161 over the bytes of the bag's note, which covers all the
rest. It comes after the note and never holds one up: while the authority is away the token is
pending, and the next run of the incident asks again. No manifest lists it.
"""

from datetime import UTC, datetime, timedelta

from tasks.clients import timestamps
from tasks.clients.object_store import ObjectStore
from tasks.domain.bag_seal import NOTE, TIME_STAMP
from tasks.domain.errors import RunbookError
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.untrusted import visible
from tasks.sections.components import EvidenceSettings
from tasks.sections.systems import StoreSettings

STORED, NONE = "stored", "none"
_REASON_LIMIT = 300


def stamp_bag(
    evidence: EvidenceSettings, store: ObjectStore, settings: StoreSettings, root: str
) -> str:
    """See to it that a closed bag has a token: "stored", "pending: why", "none" if not asked."""
    if not evidence.timestamp_url or evidence.timestamp_roots is None:
        return NONE
    bucket = settings.evidence_bucket
    try:
        if not store.list(bucket, root + TIME_STAMP):
            token = timestamps.request_token(
                evidence.timestamp_url,
                store.get(bucket, root + NOTE, MAX_NOTE_BYTES),
                evidence.timestamp_roots,
                timeout_seconds=evidence.timestamp_seconds,
            )
            until = datetime.now(UTC) + timedelta(days=settings.retention_days)
            store.put(bucket, root + TIME_STAMP, token, retain_until=until)
    except RunbookError as error:  # the bag is closed: a token is no reason to call it open
        return visible(f"pending: {error}", _REASON_LIMIT)
    return STORED
