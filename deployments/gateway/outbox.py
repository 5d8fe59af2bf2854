"""The outbox between the journal and Prefect: rows of `dispatches`, leased to one gateway.

The most urgent row is taken first, then the oldest; a row that has waited for over ten minutes
counts as one class more urgent, so that a storm of P1 cannot starve a P2 for ever. Rows of one
incident are worked off in order, so that a resumption waits until the run before it has really
ended; escalations wait for nobody. Of one component at most `cap` rows are leased at once.
`lease_until` also says "not before" on a row that has to be tried again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.work import responder
from tasks.work.incidents import CHANNEL, ESCALATION, REPORT

LEASE_SECONDS = 30

P0, P3 = 0, 3
"""The most and the least urgent class: whoever takes down to P3 takes anything."""

_LOCK = 0x4F555442  # "OUTB": one gateway takes at a time, or two would fill one cap twice
_AGED_MINUTES = 10

# In each class the oldest row that may be worked on is the class's most urgent, aged or not: so
# four short looks along the index instead of a sort of everything that is open.
_TAKE = """
WITH held AS MATERIALIZED (
    SELECT component, count(*) AS rows FROM dispatches
     WHERE done_at IS NULL AND holder IS NOT NULL AND lease_until >= statement_timestamp()
     GROUP BY component),
first AS MATERIALIZED (
    SELECT head.id FROM generate_series(0, %(least)s) AS class, LATERAL (
        SELECT id, enqueued_at FROM dispatches AS row
         WHERE priority = class AND done_at IS NULL
           AND (lease_until IS NULL OR lease_until < statement_timestamp())
           AND (cap = 0 OR component = '' OR cap > coalesce(
                (SELECT rows FROM held WHERE held.component = row.component), 0))
           AND (deployment = %(escalation)s OR NOT EXISTS (
                SELECT 1 FROM dispatches AS earlier
                 WHERE earlier.incident = row.incident AND earlier.id < row.id
                   AND earlier.done_at IS NULL AND earlier.deployment <> %(escalation)s))
         ORDER BY id LIMIT 1) AS head
     ORDER BY class - (head.enqueued_at < now() - make_interval(mins => %(aged)s))::int, head.id
     LIMIT 1),
next AS (
    SELECT id FROM dispatches
     WHERE id = (SELECT id FROM first) AND done_at IS NULL
       AND (lease_until IS NULL OR lease_until < statement_timestamp())
       FOR UPDATE SKIP LOCKED)
UPDATE dispatches
   SET holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM next WHERE dispatches.id = next.id
RETURNING dispatches.id, incident, deployment, key, flow_run::text, attempts, priority
"""
_EXTEND = """
UPDATE dispatches SET lease_until = clock_timestamp() + make_interval(secs => %s)
 WHERE id = %s AND holder = %s AND done_at IS NULL
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
 WHERE incident = %s AND flow_run IS NOT NULL AND deployment <> ALL(%s)
 ORDER BY id DESC LIMIT 1
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
    priority: int = 2


class Outbox:
    """The rows that one gateway (`holder`) may work on."""

    def __init__(self, holder: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._holder = holder
        self._lease = lease_seconds

    def take(self, least_urgent: int = P3) -> Row | None:
        """Lease the row that is next, of the classes P0 to `least_urgent`; None: there is none."""
        what = {
            "escalation": ESCALATION,
            "holder": self._holder,
            "lease": self._lease,
            "least": least_urgent,
            "aged": _AGED_MINUTES,
        }
        with responder.connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            row = connection.execute(_TAKE, what).fetchone()
        return None if row is None else Row(*row)

    def extend(self, rows: Iterable[int]) -> set[int]:
        """Extend the leases; the rows that are still ours. The others have another holder now.

        One row at a time: two locks at once could wait for the intake, and the intake for us.
        """
        with responder.connection() as connection:
            return {
                row
                for row in rows
                if connection.execute(_EXTEND, (self._lease, row, self._holder)).rowcount == 1
            }

    def record_run(self, row: Row, run: str) -> bool:
        """Bind the row to its run before anything starts; False when the lease was lost."""
        with responder.connection() as connection:
            return connection.execute(_RUN, (run, row.id, self._holder)).rowcount == 1

    def release(self, row: Row, after_seconds: float = 0) -> None:
        """Give the row back, to be taken again by anybody after that time; at once: all hear it."""
        with responder.connection() as connection:
            connection.execute(_RELEASE, (after_seconds, row.id, self._holder))
            if not after_seconds:
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, row.key))

    def finish(self, row: Row, result: str) -> None:
        """Nothing is left to do for this row."""
        with responder.connection() as connection:
            connection.execute(_FINISH, (result, row.id, self._holder))


def last_run(incident: str) -> str | None:
    """The last response run that was created for an incident."""
    with responder.connection() as connection:
        row = connection.execute(_LAST_RUN, (incident, [ESCALATION, REPORT])).fetchone()
    return None if row is None else row[0]
