"""Verifying our own journal: its facts as they are stored against what the sealer signed."""

from datetime import datetime

from tasks.domain.ledger import Trust, Verdict
from tasks.work import audit_table
from tasks.work.audit_table import JOURNAL
from tasks.work.log_files import LogStore
from tasks.work.verification import verify_rows


def verify_journal(
    dsn: str, log: LogStore, trust: Trust, *, now: datetime | None = None
) -> Verdict:
    """Every fact against the newest head of `log`; `dsn`: a role that reads the journal.

    Facts newer than the head are chained only, as records are. Errors of reaching the server are
    raised.
    """
    with audit_table.reading(dsn) as connection, audit_table.snapshot(connection):
        return verify_rows(audit_table.stored_rows(connection, table=JOURNAL), log, trust, now=now)
