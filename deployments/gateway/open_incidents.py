"""The open incidents, followed through the journal: a look costs what is new, not what is there.

The journal's lock makes the order of `seq` the order of commits, so what comes after the newest
fact that we have seen is all that is new.

Closed ones in which the glass was broken are followed too, for a day: that is told even when the
incident was closed at once.
"""

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.facts import FactKind

_HEAD = "SELECT coalesce(max(seq), -1) FROM journal"
_ALL = """
SELECT opened.incident, (SELECT max(seq) FROM journal AS fact
                          WHERE fact.incident = opened.incident AND fact.seq <= %(head)s)
  FROM journal AS opened
 WHERE opened.kind = 'opened' AND opened.seq <= %(head)s AND NOT EXISTS (
       SELECT FROM journal AS closed
        WHERE closed.incident = opened.incident AND closed.kind = 'closed'
          AND closed.seq <= %(head)s)
 ORDER BY opened.seq
"""
_GLASS = """
SELECT DISTINCT glass.incident, (SELECT max(seq) FROM journal AS fact
                                  WHERE fact.incident = glass.incident AND fact.seq <= %(head)s)
  FROM journal AS glass
 WHERE glass.kind = 'glass broken' AND glass.seq <= %(head)s
   AND glass.at > clock_timestamp() - interval '1 day'
"""
_SINCE = "SELECT seq, incident, kind FROM journal WHERE seq > %s AND seq <= %s ORDER BY seq"


class OpenIncidents:
    """`newest` is the place of each open incident's newest fact, oldest incident first."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self._glass: set[str] = set()
        self._seen: int | None = None

    def follow(self, connection: Connection[TupleRow]) -> None:
        """Take in what was recorded since the last look."""
        row = connection.execute(_HEAD).fetchone()
        head = -1 if row is None else int(row[0])
        if self._seen is None or head < self._seen:  # the first look, or another journal
            glass: dict[str, int] = dict(connection.execute(_GLASS, {"head": head}).fetchall())
            opened: dict[str, int] = dict(connection.execute(_ALL, {"head": head}).fetchall())
            self.newest, self._glass = opened | glass, set(glass)
        elif head > self._seen:
            for seq, incident, kind in connection.execute(_SINCE, (self._seen, head)):
                self._apply(seq, incident, kind)
        self._seen = head

    def _apply(self, seq: int, incident: str, kind: str) -> None:
        if kind == FactKind.GLASS_BROKEN:
            self._glass.add(incident)
        if kind == FactKind.CLOSED and incident not in self._glass:
            self.newest.pop(incident, None)
        elif kind in {FactKind.OPENED, FactKind.GLASS_BROKEN} or incident in self.newest:
            self.newest[incident] = seq
