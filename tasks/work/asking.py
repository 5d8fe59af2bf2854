"""When Alertmanager was asked what fires, and whether it answered: one row for all gateways.

Whoever sets `asked_at` may ask: so of several gateways one does, once in a while, and no
transaction is open while it waits for the answer. If it dies meanwhile, the next turn is another's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.settings import settings
from tasks.work import responder

EVERY = timedelta(seconds=60)
AT_ONCE = timedelta(seconds=5)
"""At least so long between two questions, however much somebody wants one."""

_CLAIM = """
WITH before AS (SELECT wanted_at IS NOT NULL AS wanted FROM reconciliation FOR UPDATE)
UPDATE reconciliation SET asked_at = %(now)s, wanted_at = NULL FROM before
 WHERE asked_at IS NULL OR asked_at <= %(due)s OR asked_at > %(future)s
    OR (wanted AND asked_at <= %(wanted_due)s)
RETURNING wanted
"""
_WANT = """
UPDATE reconciliation SET wanted_at = %(at)s WHERE wanted_at IS NULL OR wanted_at < %(at)s
"""
_ANSWERED = """
UPDATE reconciliation SET answered_at = greatest(answered_at, %s), unanswered_since = NULL
"""
_PARTLY = "UPDATE reconciliation SET unanswered_since = NULL"
_UNANSWERED = "UPDATE reconciliation SET unanswered_since = coalesce(unanswered_since, %s)"
_STANDING = "SELECT answered_at, unanswered_since FROM reconciliation"


class Turn(Enum):
    """Whether to ask now; `WANTED`: alerts are known to have been left out."""

    NOT_YET = "not yet"
    REGULAR = "regular"
    WANTED = "wanted"


@dataclass(frozen=True, slots=True)
class Standing:
    """`answered_at`: the last question that every peer answered; `unanswered_since`: none does."""

    answered_at: datetime | None
    unanswered_since: datetime | None


def claim(now: datetime) -> Turn:
    """Whether it is the caller's turn to ask, at `now`."""
    times = {
        "now": now,
        "due": now - EVERY,
        "wanted_due": now - AT_ONCE,
        "future": now + EVERY,  # a clock that was wrong must not silence us for ever
    }
    with responder.connection() as connection:
        row = connection.execute(_CLAIM, times).fetchone()
    if row is None:
        return Turn.NOT_YET
    return Turn.WANTED if row[0] else Turn.REGULAR


def want_in(connection: Connection[TupleRow], at: datetime) -> None:
    """Have Alertmanager asked at once: something is known to be missing since `at`."""
    connection.execute(_WANT, {"at": at})


def record(asked_at: datetime, peers: int, answered: int) -> None:
    """Record how many of the peers answered the question of `asked_at`."""
    with responder.connection() as connection:
        if answered == peers:
            connection.execute(_ANSWERED, (asked_at,))
        elif answered:
            connection.execute(_PARTLY)
        else:
            connection.execute(_UNANSWERED, (asked_at,))


def standing_in(connection: Connection[TupleRow]) -> Standing:
    """How it stands. Where nobody can be asked, nobody fails to answer."""
    row = connection.execute(_STANDING).fetchone()
    answered_at, unanswered_since = (None, None) if row is None else row
    return Standing(answered_at, unanswered_since if settings().alertmanager.urls else None)


def standing() -> Standing:
    """As `standing_in`, for who has no transaction."""
    with responder.connection() as connection:
        return standing_in(connection)
