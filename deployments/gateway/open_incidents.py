"""The open incidents, followed through the journal: a look costs what is new, not what is there.

Alerts count apart: in a storm an incident gets hundreds a second, which say nothing new of it.

The journal's lock makes the order of `seq` the order of commits, so what comes after the newest
fact that we have seen is all that is new.

Closed ones in which the glass was broken are followed too, for a day: that is told even when the
incident was closed at once.
"""

from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.facts import FactKind

_HEAD = "SELECT coalesce(max(seq), -1) FROM journal"
_NEWEST = """
SELECT followed.incident, coalesce(newest.fact, -1), coalesce(newest.alert, -1)
  FROM ({followed}) AS followed, LATERAL (
       SELECT max(seq) FILTER (WHERE kind <> 'alert received') AS fact,
              max(seq) FILTER (WHERE kind = 'alert received') AS alert
         FROM journal WHERE incident = followed.incident AND seq <= %(head)s) AS newest
"""
_OPEN = """
SELECT opened.incident, opened.seq FROM journal AS opened
 WHERE opened.kind = 'opened' AND opened.seq <= %(head)s AND NOT EXISTS (
       SELECT FROM journal AS closed
        WHERE closed.incident = opened.incident AND closed.kind = 'closed'
          AND closed.seq <= %(head)s)
"""
_GLASS = """
SELECT DISTINCT incident FROM journal
 WHERE kind = 'glass broken' AND seq <= %(head)s AND at > clock_timestamp() - interval '1 day'
"""
_ALL_OPEN = _NEWEST.format(followed=_OPEN) + " ORDER BY followed.seq"
_ALL_GLASS = _NEWEST.format(followed=_GLASS)
_SINCE = "SELECT seq, incident, kind FROM journal WHERE seq > %s AND seq <= %s ORDER BY seq"


class Newest(NamedTuple):
    """The places (`seq`) of an incident's newest alert and of its newest other fact; -1: none."""

    fact: int
    alert: int


class OpenIncidents:
    """`newest` is what each open incident has, oldest incident first."""

    def __init__(self) -> None:
        self.newest: dict[str, Newest] = {}
        self._glass: set[str] = set()
        self._seen: int | None = None

    def follow(self, connection: Connection[TupleRow]) -> None:
        """Take in what was recorded since the last look."""
        row = connection.execute(_HEAD).fetchone()
        head = -1 if row is None else int(row[0])
        if self._seen is None or head < self._seen:  # the first look, or another journal
            self._look_anew(connection, head)
        elif head > self._seen:
            for seq, incident, kind in connection.execute(_SINCE, (self._seen, head)).fetchall():
                if kind == FactKind.GLASS_BROKEN and incident not in self.newest:
                    self._look_anew(connection, head)  # closed before, and its alerts not known
                    break
                self._apply(seq, incident, kind)
        self._seen = head

    def _look_anew(self, connection: Connection[TupleRow], head: int) -> None:
        glass = _all(connection, _ALL_GLASS, head)
        self.newest, self._glass = _all(connection, _ALL_OPEN, head) | glass, set(glass)

    def _apply(self, seq: int, incident: str, kind: str) -> None:
        known = self.newest.get(incident)
        if kind == FactKind.GLASS_BROKEN:
            self._glass.add(incident)
        if kind == FactKind.CLOSED and incident not in self._glass:
            self.newest.pop(incident, None)
        elif kind == FactKind.ALERT_RECEIVED:
            if known is not None:
                self.newest[incident] = known._replace(alert=seq)
        elif kind == FactKind.OPENED or known is not None:
            self.newest[incident] = Newest(seq, -1 if known is None else known.alert)


def _all(connection: Connection[TupleRow], query: str, head: int) -> dict[str, Newest]:
    rows = connection.execute(query, {"head": head}).fetchall()
    return {incident: Newest(fact, alert) for incident, fact, alert in rows}
