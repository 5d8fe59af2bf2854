"""Where the journal has got to: what a watcher asks before it reads whole incidents.

Places are `seq` of the journal. A fact is committed under the journal's lock, so places appear in
order: who has seen place n has missed none before it.
"""

from collections.abc import Sequence

from tasks.domain.facts import FactKind
from tasks.work import responder

NOWHERE = -1
"""The place before the first fact."""

_HEAD = "SELECT max(seq) FROM journal"
_MOVED = "SELECT incident, max(seq) FROM journal WHERE seq > %s GROUP BY incident"
_NEWEST = """
SELECT name, (SELECT max(seq) FROM journal WHERE incident = name)
  FROM unnest(%s::text[]) AS name
"""
_BYTES = "SELECT coalesce(sum(octet_length(line)), 0) FROM journal WHERE incident = %s"
# Lines are canonical JSON: in what somebody has said, these quotes would have a backslash before.
_PRESSING = """
SELECT opened.incident FROM journal AS opened
 WHERE opened.kind = 'opened' AND NOT EXISTS
       (SELECT FROM journal AS closed
         WHERE closed.incident = opened.incident AND closed.kind = 'closed')
   AND EXISTS
       (SELECT FROM journal AS said WHERE said.incident = opened.incident
           AND (said.kind = 'plan proposed' OR said.kind = 'severity assigned'
                AND (position('"severity":"P0"'::bytea IN said.line) > 0
                     OR position('"severity":"P1"'::bytea IN said.line) > 0)))
"""
_CLOSED = "SELECT incident FROM journal WHERE kind = %s ORDER BY seq DESC LIMIT %s"


def head() -> int:
    """The newest place; NOWHERE in an empty journal."""
    with responder.connection() as connection:
        row = connection.execute(_HEAD).fetchone()
    return NOWHERE if row is None or row[0] is None else int(row[0])


def moved_since(seq: int) -> dict[str, int]:
    """The newest place of every incident that has facts after `seq`."""
    with responder.connection() as connection:
        return dict(connection.execute(_MOVED, (seq,)).fetchall())


def newest_of(incidents: Sequence[str]) -> dict[str, int]:
    """The newest place of each of these incidents; those without facts are left out."""
    with responder.connection() as connection:
        rows = connection.execute(_NEWEST, (list(incidents),)).fetchall()
    return {name: seq for name, seq in rows if seq is not None}


def bytes_of(incident: str) -> int:
    """Bytes of all lines of an incident."""
    with responder.connection() as connection:
        row = connection.execute(_BYTES, (incident,)).fetchone()
    return int(row[0]) if row is not None else 0


def pressing_incidents() -> set[str]:
    """Ids of the open incidents that have been P0 or P1 once, or for which a plan was made.

    Those that are so now are among them, and nothing has to be read for it: not even what can not.
    """
    with responder.connection() as connection:
        rows = connection.execute(_PRESSING).fetchall()
    return {incident for (incident,) in rows}


def closed_incidents(limit: int) -> list[str]:
    """Ids of the incidents that were closed last, newest first."""
    with responder.connection() as connection:
        rows = connection.execute(_CLOSED, (FactKind.CLOSED.value, limit)).fetchall()
    return list(dict.fromkeys(incident for (incident,) in rows))
