"""Revisions that were seen serving while nothing was wrong: kept for the day of a roll back.

A bad release can have all its pods available and answer nothing but errors. So a revision counts
only when it has been rolled out for long enough that its errors would have shown, and while no
incident of the system under care is open. What an incident is about vouches for nothing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tasks.domain.recent_changes import NEAR
from tasks.domain.releases import rolled_out_at
from tasks.domain.rollout_evidence import Sighting, sightings_of
from tasks.domain.rollout_look import Looked
from tasks.sections.systems import KubernetesSettings
from tasks.work import responder
from tasks.work.workload_looks import look_at_workloads

SOURCE = "seen by the runbook while no incident was open"

KEPT_FOR = timedelta(days=365)

_MOST = 10_000
_SAID = 2000
_KEEP = """
INSERT INTO healthy_revisions AS known (namespace, holder, workload, available, seen_at)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::int[], %s::timestamptz[])
    ON CONFLICT (namespace, holder) DO UPDATE
   SET workload = excluded.workload, available = excluded.available, seen_at = excluded.seen_at
 WHERE known.seen_at < excluded.seen_at
"""
_FORGET = "DELETE FROM healthy_revisions WHERE seen_at < %s"
_KNOWN = """
SELECT holder, available, seen_at FROM healthy_revisions
 WHERE namespace = %s ORDER BY seen_at DESC, holder LIMIT %s
"""
_TROUBLE = "SELECT incident FROM open_incidents WHERE component <> ALL(%s) ORDER BY seq LIMIT 1"
_OUR_OWN = ["alerting", "responder"]
"""Components of ours: what is wrong with them says nothing about the system under care."""


def known(namespace: str) -> list[Sighting]:
    """Every revision of a namespace that was seen healthy, the last seen first."""
    with responder.connection() as connection:
        rows = connection.execute(_KNOWN, (namespace, _MOST)).fetchall()
    return [
        Sighting(holder, available, seen_at.astimezone(UTC), SOURCE)
        for holder, available, seen_at in rows
    ]


def keep(namespace: str, workload: str, sightings: Iterable[Sighting], now: datetime) -> None:
    """Keep what was seen; of a revision the newest sighting. Forgets what is older than a year."""
    seen = list(sightings)[:_MOST]
    columns = (
        [each.holder for each in seen],
        [workload for _ in seen],
        [each.available for each in seen],
        [each.seen_at for each in seen],
    )
    with responder.connection() as connection, connection.transaction():
        connection.execute(_KEEP, (namespace, *columns))
        connection.execute(_FORGET, (now - KEPT_FOR,))


def look_and_keep(cluster: KubernetesSettings, now: datetime) -> str:
    """Look which revisions serve, and keep them unless something is wrong; what was done, in words.

    Raises ClientError where the cluster cannot be looked at, BadInput where none is configured.
    """
    if trouble := incident_in_the_way():
        return f"nothing kept: {trouble} is open, and what serves now may be what is wrong"
    found = look_at_workloads(cluster)
    seen = {each.target: proven(each, now) for each in found.looked}
    if trouble := incident_in_the_way():
        return f"nothing kept: {trouble} was opened meanwhile"
    for target, sightings in seen.items():
        keep(cluster.namespace, target, sightings, now)
    serving = [f"{target} {each.holder}" for target, kept in seen.items() for each in kept]
    unread = "".join(f"; not read: {why}" for why in found.unread)
    return f"{len(serving)} revisions serve: {', '.join(serving) or 'none'}{unread}"[:_SAID]


def incident_in_the_way() -> str:
    """An open incident of the system under care; empty when there is none."""
    with responder.connection() as connection:
        row = connection.execute(_TROUBLE, (_OUR_OWN,)).fetchone()
    return str(row[0]) if row else ""


def proven(looked: Looked, now: datetime) -> list[Sighting]:
    """The revisions that serve, and have done so for long enough that errors would have shown."""
    history = looked.revisions
    old = {
        each.holder
        for each in history
        if (at := rolled_out_at(looked.workload, each, history)) is not None and at + NEAR <= now
    }
    return [each for each in sightings_of(history, now, SOURCE) if each.holder in old]
