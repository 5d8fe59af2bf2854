"""How an incident begins, and how its runs are ordered: facts and order in one transaction."""

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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

REPORT = "post-incident/post-incident"
"""The deployment that writes an incident's report."""

CHANNEL = "runbook_dispatch"
"""PostgreSQL notification channel that wakes the dispatcher."""

_TITLE_LIMIT = 160

_OPEN_OF_COMPONENTS = """
SELECT incident, group_key, component, newest_alert_at FROM open_incidents
 WHERE component = ANY(%s) ORDER BY seq
"""
_FIRED = "UPDATE open_incidents SET newest_alert_at = %s WHERE incident = ANY(%s)"
_NOT_BEGUN = """
SELECT DISTINCT incident FROM dispatches
 WHERE incident = ANY(%s) AND deployment IN (%s, %s) AND done_at IS NULL
   AND holder IS NULL AND flow_run IS NULL
"""
_ORDERED = """
SELECT 1 FROM dispatches
 WHERE incident = %s AND deployment IN (%s, %s) AND done_at IS NULL LIMIT 1
"""
_KEY_ORDERED = "SELECT 1 FROM dispatches WHERE key = %s LIMIT 1"
_TAKEN_ID = "SELECT 1 FROM journal WHERE incident = %s LIMIT 1"
_ENQUEUE = """
INSERT INTO dispatches (incident, deployment, key, priority, component, cap, lease_until)
SELECT %(incident)s, %(deployment)s, %(key)s, %(priority)s,
       coalesce(%(component)s, first.component, ''), coalesce(%(cap)s, first.cap, 0),
       clock_timestamp() + nullif(make_interval(secs => %(after)s), '0')
  FROM (SELECT) AS one LEFT JOIN LATERAL
       (SELECT component, cap FROM dispatches WHERE incident = %(incident)s ORDER BY id LIMIT 1)
       AS first ON true
    ON CONFLICT DO NOTHING
"""
_HURRY = """
UPDATE dispatches SET priority = worse.priority,
       lease_until = CASE WHEN holder IS NULL THEN NULL ELSE lease_until END
  FROM unnest(%b::text[], %b::smallint[]) AS worse (incident, priority)
 WHERE dispatches.incident = worse.incident AND done_at IS NULL
   AND dispatches.priority > worse.priority
RETURNING dispatches.incident
"""


@dataclass(slots=True)
class OpenIncident:
    """An open incident as grouping sees it; `newest_alert_at` is its opening without alerts."""

    incident: str
    group_key: str
    component: str
    newest_alert_at: datetime


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

    What joins is noted in the incident, and looked at: unless a run is ordered, it gets another.
    """
    with durably() as connection:
        journal.lock(connection)
        known = open_one_of(connection, component)
        if known is not None:
            text = {"text": clean(f"seen again: {title}", _TITLE_LIMIT)}
            seen, _ = journal.append_in(connection, known, FactKind.NOTE, text, actor=by)
            if not response_is_ordered(connection, known):
                enqueue_in(connection, known, INCIDENT, f"{known}:again:{seen.seq}", priority=1)
            return known, False
        title = clean(title, _TITLE_LIMIT)
        incident = open_in(connection, title, component, procedure, "person", actor=by)
        enqueue_in(connection, incident, INCIDENT, f"{incident}:1")
    return incident, True


def enqueue_in(
    connection: Connection[TupleRow],
    incident: str,
    deployment: str,
    key: str,
    *,
    priority: int = 2,
    component: str | None = None,
    cap: int | None = None,
    after_seconds: float = 0.0,
) -> bool:
    """Order a run inside the caller's transaction; False when this key was ordered before.

    `priority` is 0 to 3 as P0 to P3: the most urgent is taken first. Of one `component` at most
    `cap` runs are at work at once; 0 is no limit. None: as the incident's first order said. An
    escalation waits for no other run. It begins after `after_seconds` at the earliest.
    """
    if deployment == ESCALATION:
        component, cap = "", 0
    order = {
        "incident": incident,
        "deployment": deployment,
        "key": key,
        "priority": priority,
        "component": component,
        "cap": cap,
        "after": after_seconds,
    }
    new = connection.execute(_ENQUEUE, order).rowcount == 1
    if new:
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, key))
    return new


def is_ordered_in(connection: Connection[TupleRow], key: str) -> bool:
    """Whether a run was ordered under this key, done or not."""
    return connection.execute(_KEY_ORDERED, (key,)).fetchone() is not None


def hurry_in(connection: Connection[TupleRow], priorities: Mapping[str, int]) -> None:
    """Make what is ordered for these incidents at least so urgent: something worse has joined."""
    asked = (list(priorities), list(priorities.values()))
    hurried = connection.execute(_HURRY, asked).fetchall()
    for incident in sorted({incident for (incident,) in hurried}):
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, incident))


def enqueue(incident: str, deployment: str, key: str, *, priority: int = 2) -> bool:
    """Order a run; False when this key was ordered before."""
    with durably() as connection:
        return enqueue_in(connection, incident, deployment, key, priority=priority)


def open_in(
    connection: Connection[TupleRow],
    title: str,
    component: str,
    procedure: str,
    cause: str,
    actor: str = RUNBOOK,
    *,
    group_key: str = "",
    terms: Mapping[str, Any] | None = None,
) -> str:
    """Open an incident inside the caller's transaction and return its id.

    `group_key` begins with the component and tells which alerts join it; `terms` is what else the
    routing policy says of it.
    """
    journal.lock(connection)
    incident = _free_id(connection)
    group_key = group_key or component
    data = {
        **(terms or {}),
        "title": title,
        "component": component,
        "procedure": procedure,
        "cause": cause,
        "group_key": group_key,
    }
    key = f"opened:{group_key}"
    journal.append_in(connection, incident, FactKind.OPENED, data, actor=actor, key=key)
    return incident


def open_of_components(
    connection: Connection[TupleRow], components: Collection[str]
) -> list[OpenIncident]:
    """The open incidents of these components, oldest first.

    They stay open while the caller holds the journal's lock.
    """
    rows = connection.execute(_OPEN_OF_COMPONENTS, (list(components),)).fetchall()
    return [OpenIncident(*row) for row in rows]


def note_firing_in(connection: Connection[TupleRow], names: Collection[str], at: datetime) -> None:
    """Record that firing alerts have come to these incidents."""
    connection.execute(_FIRED, (at, list(names)))


def open_one_of(connection: Connection[TupleRow], component: str) -> str | None:
    """The newest open incident of a component as a whole; as `open_of_components`."""
    known = open_of_components(connection, [component])
    whole = [one.incident for one in known if one.group_key == component]
    return whole[-1] if whole else None


def response_is_ordered(connection: Connection[TupleRow], incident: str) -> bool:
    """Whether a run of the response is ordered or at work: an order that is not done."""
    found = connection.execute(_ORDERED, (incident, INCIDENT, RESUME)).fetchone()
    return found is not None


def with_order_not_begun(connection: Connection[TupleRow], names: Collection[str]) -> set[str]:
    """Those of these incidents that have an order which nobody has begun: it sees all there is."""
    rows = connection.execute(_NOT_BEGUN, (list(names), INCIDENT, RESUME)).fetchall()
    return {incident for (incident,) in rows}


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
