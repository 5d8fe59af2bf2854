"""When scheduled work last succeeded: read by our metrics, so that its absence raises an alert.

Prometheus watches it, not Prefect: a scheduler that is dead cannot say so.
"""

from datetime import UTC, datetime
from enum import StrEnum

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.work import responder

_RECORD = """
INSERT INTO successes (work, at) VALUES (%s, clock_timestamp())
    ON CONFLICT (work) DO UPDATE SET at = EXCLUDED.at
"""


class Work(StrEnum):
    """What must happen again and again; the `work` label of the metric."""

    SEALING = "sealing"
    VERIFICATION = "verification"
    DRILL = "drill"


def record(work: Work) -> None:
    """It has just succeeded."""
    with responder.connection() as connection:
        record_in(connection, work)


def record_in(connection: Connection[TupleRow], work: Work) -> None:
    """As `record`, in the caller's transaction."""
    connection.execute(_RECORD, (work.value,))


def last() -> dict[str, datetime]:
    """When each work succeeded last; what never did is missing."""
    with responder.connection() as connection:
        rows = connection.execute("SELECT work, at FROM successes").fetchall()
    return {work: at.astimezone(UTC) for work, at in rows}
