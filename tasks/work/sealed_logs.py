"""The two sealed logs, the audit log and our own journal: where they lie, whom to believe."""

from enum import StrEnum

from tasks.domain.ledger import Trust
from tasks.settings import Settings


class LogName(StrEnum):
    """A log that is sealed."""

    AUDIT = "audit"
    JOURNAL = "journal"


def place_of(name: LogName, settings: Settings) -> tuple[str, str]:
    """(bucket, prefix) of the sealed log."""
    store = settings.store
    if name is LogName.AUDIT:
        return store.backups_bucket, store.audit_prefix
    return store.evidence_bucket, store.journal_prefix


def trust_of(name: LogName, settings: Settings) -> Trust:
    """Whose signatures on the log count. Raises BadInput when nobody is named."""
    ledger = settings.ledger
    return ledger.read_trust() if name is LogName.AUDIT else ledger.read_journal_trust()
