"""What was seen of each alert, in the responder's PostgreSQL: one row per episode.

The rules are in `tasks.domain.alert_state`; the statement below joins rows as `Episode.join` does.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.alert_state import (
    EPISODES_KEPT,
    AlertState,
    Episode,
    Sighting,
    Source,
    joined,
    judge,
)
from tasks.work import asking

_OBSERVE = """
INSERT INTO alert_states AS known (fingerprint, starts_at, labels, source, incident, fired,
                                   resolved_at, first_seen, last_seen, truncated_at)
SELECT * FROM unnest(%b::text[], %b::timestamptz[], %b::jsonb[], %b::text[], %b::text[],
                     %b::bool[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[],
                     %b::timestamptz[])
    ON CONFLICT (fingerprint, starts_at) DO UPDATE
   SET incident = greatest(known.incident, excluded.incident),
       fired = known.fired OR excluded.fired,
       resolved_at = least(known.resolved_at, excluded.resolved_at),
       first_seen = least(known.first_seen, excluded.first_seen),
       last_seen = greatest(known.last_seen, excluded.last_seen),
       truncated_at = greatest(known.truncated_at, excluded.truncated_at),
       disputed_since = NULL
"""
_COLUMNS = """
e.fingerprint, e.starts_at, e.labels, e.source, e.incident, e.fired, e.resolved_at, e.first_seen,
e.last_seen, e.truncated_at, e.disputed_since
"""
_NEWEST = f"""
CROSS JOIN LATERAL (SELECT * FROM alert_states WHERE fingerprint = asked.fingerprint
                     ORDER BY began_at DESC, starts_at DESC LIMIT {EPISODES_KEPT}) AS e
 ORDER BY e.fingerprint, e.began_at, e.starts_at
"""  # noqa: S608  only our own columns
_OF_INCIDENT = f"""
SELECT {_COLUMNS}
  FROM (SELECT DISTINCT fingerprint FROM alert_states WHERE incident = %s) AS asked {_NEWEST}
"""  # noqa: S608
_OF_FINGERPRINTS = f"""
SELECT {_COLUMNS} FROM unnest(%b::text[]) AS asked (fingerprint) {_NEWEST}
"""  # noqa: S608


_FIRING = (
    "SELECT DISTINCT fingerprint FROM alert_states WHERE resolved_at IS NULL AND incident <> ''"
)
_DISPUTE = """
WITH disputed AS (SELECT * FROM unnest(%(fingerprints)s::text[], %(starts)s::timestamptz[],
                                       %(seen)s::timestamptz[])
                      AS read (fingerprint, starts_at, last_seen)),
     settled AS (UPDATE alert_states AS known SET disputed_since = NULL
                  WHERE disputed_since IS NOT NULL AND NOT EXISTS (
                        SELECT FROM disputed WHERE disputed.fingerprint = known.fingerprint
                                               AND disputed.starts_at = known.starts_at))
UPDATE alert_states AS known SET disputed_since = %(now)s FROM disputed
 WHERE known.fingerprint = disputed.fingerprint AND known.starts_at = disputed.starts_at
   AND known.last_seen = disputed.last_seen AND disputed_since IS NULL
"""


def observe_in(connection: Connection[TupleRow], sightings: Sequence[Sighting]) -> None:
    """Record what was seen, in one statement however much it is.

    The caller's transaction must hold the journal's lock: so two gateways that take the same
    alerts wait for each other once, and a judgement under that lock stays true until its end.
    An incomplete notification has Alertmanager asked at once.
    """
    episodes = joined(sightings)
    if not episodes:
        return
    rows = [
        (
            episode.fingerprint,
            episode.starts_at,
            json.dumps(dict(episode.labels)),
            episode.source.value,
            episode.incident,
            episode.fired,
            episode.resolved_at,
            episode.first_seen,
            episode.last_seen,
            episode.truncated_at,
        )
        for episode in episodes
    ]
    connection.execute(_OBSERVE, [list(column) for column in zip(*rows, strict=True)])
    truncated = [episode.truncated_at for episode in episodes if episode.truncated_at is not None]
    if truncated:
        asking.want_in(connection, max(truncated))


def states_of_in(
    connection: Connection[TupleRow], incident: str, now: datetime | None = None
) -> list[AlertState]:
    """The alerts of an incident as they are at `now`, in the order of their fingerprints."""
    unanswered_since = asking.standing_in(connection).unanswered_since
    rows = connection.execute(_OF_INCIDENT, (incident,)).fetchall()
    return [
        judge(list(episodes), now or datetime.now(UTC), unanswered_since, incident)
        for _, episodes in groupby(map(_episode, rows), attrgetter("fingerprint"))
    ]


def episodes_in(
    connection: Connection[TupleRow], fingerprints: Iterable[str]
) -> dict[str, list[Episode]]:
    """The newest episodes of each fingerprint that is known, oldest first."""
    rows = connection.execute(_OF_FINGERPRINTS, (sorted(set(fingerprints)),)).fetchall()
    return {
        fingerprint: list(episodes)
        for fingerprint, episodes in groupby(map(_episode, rows), attrgetter("fingerprint"))
    }


def firing_in(connection: Connection[TupleRow]) -> set[str]:
    """Fingerprints of which an incident has an episode that was not resolved."""
    return {fingerprint for (fingerprint,) in connection.execute(_FIRING)}


def dispute_in(
    connection: Connection[TupleRow], disputed: Sequence[Episode], now: datetime
) -> None:
    """Exactly these are disputed; of those that were before, it stays known since when.

    One that was seen since it was read is left alone. The caller's transaction must hold the
    journal's lock, as for `observe_in`.
    """
    columns = {
        "fingerprints": [episode.fingerprint for episode in disputed],
        "starts": [episode.starts_at for episode in disputed],
        "seen": [episode.last_seen for episode in disputed],
        "now": now,
    }
    connection.execute(_DISPUTE, columns)


def _episode(row: TupleRow) -> Episode:
    return Episode(
        fingerprint=row[0],
        starts_at=row[1].astimezone(UTC),
        labels=row[2],
        source=Source(row[3]),
        incident=row[4],
        fired=row[5],
        resolved_at=row[6],
        first_seen=row[7],
        last_seen=row[8],
        truncated_at=row[9],
        disputed_since=row[10],
    )
