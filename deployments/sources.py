"""What the options of a verb name: whom to believe, and where a log lies."""

from pathlib import Path
from urllib.parse import urlsplit

from tasks.domain.errors import BadInput
from tasks.domain.ledger import Trust
from tasks.domain.ledger.trust import MAX_TRUST_BYTES
from tasks.sections.files import read_text
from tasks.settings import settings
from tasks.work.log_directory import DirectoryLog
from tasks.work.log_files import LogStore

_S3 = "s3://"


def read_trust(trust_file: Path | None, log_key: str | None, origin: str | None) -> Trust:
    """Whom to believe: what the options name, else what the settings name."""
    if trust_file is not None:
        if log_key or origin:
            raise BadInput("expected --trust, or --log-key with --origin, not both")
        return Trust.parse(read_text(trust_file, MAX_TRUST_BYTES))
    if log_key:
        return Trust.in_key(log_key, origin or settings().ledger.origin)
    if origin:
        raise BadInput("expected --log-key with --origin, found none")
    return settings().ledger.read_trust()


def open_log(source: str | None, expected: str = "a directory or s3://bucket/prefix") -> LogStore:
    """The log in a directory or under s3://bucket/prefix; without a source the settings' own.

    `expected`: what a wrong source is told it should be.
    """
    if source is None or source.startswith(_S3):
        return _stored_log(source)
    directory = Path(source)
    try:
        found = directory.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        found = False
    if not found:
        raise BadInput(f"expected {expected}, found {source[:200]!r}")
    return DirectoryLog(directory)


def _stored_log(source: str | None) -> LogStore:
    # boto3 takes most of a second to load: not for those who verify a directory
    from tasks.clients.object_store import ObjectStore
    from tasks.work.log_store import ObjectLog

    store = settings().store
    if source is None:
        return ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    parts = urlsplit(source)
    return ObjectLog(ObjectStore(store), parts.netloc, parts.path.lstrip("/"))
