"""How an incident begins, and how its runs are ordered: facts and order in one transaction."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alertmanager import clean
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.work import journal, responder

INCIDENT = "incident/incident"
"""The deployment that responds to an incident."""

RESUME = "resume"
"""In the place of a deployment: go on with the incident's suspended run."""

ESCALATION = "escalation/escalation"
"""The deployment that carries out one step of the matrix."""

CHANNEL = "runbook_dispatch"
"""PostgreSQL notification channel that wakes the dispatcher."""

_TITLE_LIMIT = 160

_OPEN_OF_COMPONENT = """
SELECT incident FROM journal AS opened WHERE kind = %s AND key = %s AND NOT EXISTS
    (SELECT 1 FROM journal AS closed WHERE closed.incident = opened.incident AND closed.kind = %s)
 ORDER BY seq DESC LIMIT 1
"""
_ORDERED = """
SELECT 1 FROM dispatches
 WHERE incident = %s AND deployment IN (%s, %s) AND done_at IS NULL LIMIT 1
"""
_TAKEN_ID = "SELECT 1 FROM journal WHERE incident = %s LIMIT 1"
_ENQUEUE = """
INSERT INTO dispatches (incident, deployment, key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING
"""


def declare(title: str, component: str, procedure: str, by: str, *, starts_run: bool = True) -> str:
    """Open an incident by hand and return its id; `by` is the person who declares it.

    A run that is already there (started in the Prefect UI) passes starts_run=False.
    """
    with durably() as connection:
        incident = open_in(
            connection, clean(title, _TITLE_LIMIT), component, procedure, "person", actor=by
        )
        if starts_run:
            enqueue_in(connection, incident, INCIDENT, f"{incident}:1")
    return incident


def declare_or_join(title: str, component: str, procedure: str, by: str) -> tuple[str, bool]:
    """The component's open incident, or a new one with its run; (id, whether it is new).

    What joins is noted in the incident: it was seen again, and nobody has to open it twice.
    """
    with durably() as connection:
        journal.lock(connection)
        known = open_one_of(connection, component)
        if known is not None:
            text = {"text": clean(f"seen again: {title}", _TITLE_LIMIT)}
            journal.append_in(connection, known, FactKind.NOTE, text, actor=by)
            return known, False
        title = clean(title, _TITLE_LIMIT)
        incident = open_in(connection, title, component, procedure, "person", actor=by)
        enqueue_in(connection, incident, INCIDENT, f"{incident}:1")
    return incident, True


def enqueue_in(connection: Connection[TupleRow], incident: str, deployment: str, key: str) -> bool:
    """Order a run inside the caller's transaction; False when this key was ordered before."""
    new = connection.execute(_ENQUEUE, (incident, deployment, key)).rowcount == 1
    if new:
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, key))
    return new


def enqueue(incident: str, deployment: str, key: str) -> bool:
    """Order a run; False when this key was ordered before."""
    with durably() as connection:
        return enqueue_in(connection, incident, deployment, key)


def open_in(
    connection: Connection[TupleRow],
    title: str,
    component: str,
    procedure: str,
    cause: str,
    actor: str = RUNBOOK,
) -> str:
    """Open an incident inside the caller's transaction and return its id."""
    journal.lock(connection)
    incident = _free_id(connection)
    data = {"title": title, "component": component, "procedure": procedure, "cause": cause}
    key = _opened_key(component)
    journal.append_in(connection, incident, FactKind.OPENED, data, actor=actor, key=key)
    return incident


def open_one_of(connection: Connection[TupleRow], component: str) -> str | None:
    """The newest open incident of a component; it stays open while the caller holds the lock."""
    row = connection.execute(
        _OPEN_OF_COMPONENT,
        (FactKind.OPENED.value, _opened_key(component), FactKind.CLOSED.value),
    ).fetchone()
    return None if row is None else str(row[0])


def response_is_ordered(connection: Connection[TupleRow], incident: str) -> bool:
    """Whether a run of the response is ordered or at work: an order that is not done."""
    found = connection.execute(_ORDERED, (incident, INCIDENT, RESUME)).fetchone()
    return found is not None


@contextmanager
def durably() -> Iterator[Connection[TupleRow]]:
    """A transaction that is on disk when it has ended, whatever the role's defaults are.

    Raises Transient when the database cannot be reached: then nothing is stored.
    """
    with responder.connection() as connection, connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        yield connection


def _free_id(connection: Connection[TupleRow]) -> str:
    while True:  # two of one second share a suffix once in 65,536
        incident = f"INC-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        if connection.execute(_TAKEN_ID, (incident,)).fetchone() is None:
            return incident


def _opened_key(component: str) -> str:
    return f"opened:{component}"
