"""The outbox between the journal and Prefect: rows of `dispatches`, leased to one gateway.

Rows of one incident are worked off in order, so that a resumption waits until the run before it
has really ended; escalations wait for nobody. `lease_until` also says "not before" on a row that
has to be tried again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.work import responder
from tasks.work.incidents import ESCALATION

LEASE_SECONDS = 30

_TAKE = """
WITH next AS (
    SELECT id FROM dispatches AS row
     WHERE done_at IS NULL AND (lease_until IS NULL OR lease_until < clock_timestamp())
       AND (deployment = %(escalation)s OR NOT EXISTS (
            SELECT 1 FROM dispatches AS earlier
             WHERE earlier.incident = row.incident AND earlier.id < row.id
               AND earlier.done_at IS NULL AND earlier.deployment <> %(escalation)s))
     ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE dispatches
   SET holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM next WHERE dispatches.id = next.id
RETURNING dispatches.id, incident, deployment, key, flow_run::text, attempts
"""
_EXTEND = """
UPDATE dispatches SET lease_until = clock_timestamp() + make_interval(secs => %s)
 WHERE id = ANY(%s) AND holder = %s AND done_at IS NULL RETURNING id
"""
_RUN = """
UPDATE dispatches SET flow_run = %s, attempts = attempts + 1 WHERE id = %s AND holder = %s
"""
_RELEASE = """
UPDATE dispatches
   SET holder = NULL, lease_until = clock_timestamp() + make_interval(secs => %s)
 WHERE id = %s AND holder = %s
"""
_FINISH = """
UPDATE dispatches SET done_at = clock_timestamp(), result = %s WHERE id = %s AND holder = %s
"""
_LAST_RUN = """
SELECT flow_run::text FROM dispatches
 WHERE incident = %s AND flow_run IS NOT NULL AND deployment <> %s ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A leased order. `attempts` runs were created for it so far, the last is `flow_run`."""

    id: int
    incident: str
    deployment: str
    key: str
    flow_run: str | None
    attempts: int


class Outbox:
    """The rows that one gateway (`holder`) may work on."""

    def __init__(self, holder: str) -> None:
        self._holder = holder

    def take(self) -> Row | None:
        """Lease the oldest row that is due; None when there is none."""
        with responder.connection() as connection:
            row = connection.execute(
                _TAKE, {"escalation": ESCALATION, "holder": self._holder, "lease": LEASE_SECONDS}
            ).fetchone()
        return None if row is None else Row(*row)

    def extend(self, rows: Iterable[int]) -> set[int]:
        """Extend the leases; the rows that are still ours. The others have another holder now."""
        with responder.connection() as connection:
            kept = connection.execute(_EXTEND, (LEASE_SECONDS, list(rows), self._holder)).fetchall()
        return {row for (row,) in kept}

    def record_run(self, row: Row, run: str) -> bool:
        """Bind the row to its run before anything starts; False when the lease was lost."""
        with responder.connection() as connection:
            return connection.execute(_RUN, (run, row.id, self._holder)).rowcount == 1

    def release(self, row: Row, after_seconds: float = 0) -> None:
        """Give the row back, to be taken again by anybody after that time."""
        with responder.connection() as connection:
            connection.execute(_RELEASE, (after_seconds, row.id, self._holder))

    def finish(self, row: Row, result: str) -> None:
        """Nothing is left to do for this row."""
        with responder.connection() as connection:
            connection.execute(_FINISH, (result, row.id, self._holder))


def last_run(incident: str) -> str | None:
    """The last response run that was created for an incident."""
    with responder.connection() as connection:
        row = connection.execute(_LAST_RUN, (incident, ESCALATION)).fetchone()
    return None if row is None else row[0]
