"""What the log's unsigned tail says of other tables, without being obeyed.

Whoever can write to the damaged database can append an event to it, so an erasure that nothing
signs deletes no row here: it is listed, for a person. A lost record may have been a release.
"""

from itertools import islice

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.ledger import LOST_EVENT
from tasks.domain.reconciled import What
from tasks.domain.reconciliation_rules import ReconciliationRules
from tasks.work.log_events import events_of
from tasks.work.reconciliation_book import count_on, note

_NAMED = 1000
"""Erasures of a tail that are named one by one; of more only the number is told."""

_ABOUT = "SELECT signed, tail_to FROM audit_recovery.about"
_FORGET = "DELETE FROM audit_recovery.entries WHERE what = ANY(%s)"
_BEGIN_AGAIN = "UPDATE audit_recovery.about SET signed = %s, tail_to = %s, releases_to = 0"


def look_at_tail(
    scratch: Connection[TupleRow], rules: ReconciliationRules, signed: int, end: int
) -> None:
    """Records signed..end-1, each once. `signed`: the size that the scratch log is proven to.

    When more was signed since the last call, the tail was replaced by what is signed, and all that
    rests on it is counted anew: releases too.
    """
    row = scratch.execute(_ABOUT).fetchone()
    known, first = row if row is not None else (0, 0)
    with scratch.transaction():
        if known != signed:
            scratch.execute("DELETE FROM audit_recovery.spent")
            kinds = (What.UNSIGNED, What.LOST, What.BAD_RELEASE)
            scratch.execute(_FORGET, ([what.value for what in kinds],))
            scratch.execute(_BEGIN_AGAIN, (signed, signed))
            first = signed
        if rules.erasures is not None:
            found = events_of(scratch, rules.erasures.event_type, first, end)
            seqs = [seq for seq, _ in found]
            for seq in islice(seqs, _NAMED):
                note(scratch, ("", ""), f"erasure {seq}", What.UNSIGNED)
            if seqs[_NAMED:]:
                count_on(scratch, ("", ""), "more erasures", What.UNSIGNED, len(seqs) - _NAMED)
        lost = sum(1 for _ in events_of(scratch, LOST_EVENT, first, end))
        if lost and rules.releases is not None:
            count_on(scratch, rules.releases.table, "records of the log", What.LOST, lost)
        scratch.execute("UPDATE audit_recovery.about SET tail_to = %s", (end,))
