"""Whether the records up to the newest signed head are in the table: after a restart, say."""

from tasks.clients import postgres
from tasks.clients.object_store import ObjectStore
from tasks.domain.alertmanager import clean
from tasks.domain.errors import RunbookError
from tasks.settings import settings
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog

_REASON_LIMIT = 200
_NEWEST = "SELECT max(seq), bool_or(seq = %(last)s) FROM public.audit_records WHERE seq >= %(last)s"


def look_for(dsn: str, seconds: float) -> tuple[bool, str]:
    """(whether records are missing, what was seen in words). That nobody could look is said."""
    try:
        size = _signed_size()
        found = _newest(dsn, seconds, size - 1) if size else (0, True)
    except RunbookError as error:
        reason = clean(str(error), _REASON_LIMIT)
        return False, f"whether the signed head is in the table could not be seen: {reason}"
    newest, is_there = found
    if not is_there:
        return True, f"record {size - 1} of the signed head is not in the table: restore it"
    return False, f"the records up to the signed head ({size:,}) are there, newest seq {newest}"


def _signed_size() -> int:
    known = settings()
    store = ObjectStore(known.store)
    try:
        log = ObjectLog(store, known.store.backups_bucket, known.store.audit_prefix)
        return latest_head(log, known.ledger.read_trust()).checkpoint.size
    finally:
        store.close()


def _newest(dsn: str, seconds: float, last: int) -> tuple[int, bool]:
    with (
        postgres.connect(dsn, timeout_seconds=seconds, statement_seconds=seconds) as connection,
        postgres.translated("look for the signed head"),
    ):
        row = connection.execute(_NEWEST, {"last": last}).fetchone()
    if row is None or row[0] is None:
        return -1, False
    return int(row[0]), bool(row[1])
