"""What is wrong with the database: from one look to ranked causes. Pure; reads no alert's name.

Sessions come first (who blocks, who holds connections, what runs for too long), then the server's
own upkeep: disk, WAL, checkpoints, transaction ids, bloat, backups. What only people may mend has
no remedy here, and its summary says why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tasks.domain.causes import Cause, Confidence, ranked
from tasks.domain.connection_causes import connection_causes
from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_readings import (
    Backups,
    DatabaseReadings,
    Replication,
    Server,
    Session,
    known,
    seconds_since,
)
from tasks.domain.lock_causes import lock_causes
from tasks.domain.lock_tree import LockTree, lock_tree
from tasks.domain.observation import Health
from tasks.domain.session_remedies import ending_of
from tasks.domain.severity import Assessment, Severity
from tasks.domain.signals import Why
from tasks.domain.storage_causes import storage_causes
from tasks.domain.unreachable_causes import (
    contradicted_causes,
    has_no_room,
    unreachable_causes,
)

COMPONENT = "database"
_NAMED = 10
_USERS_WAIT = frozenset(
    {
        "db.unreachable",
        "db.unreachable-from-outside",
        "db.starting",
        "db.connections-exhausted",
        "db.lock-storm",
    }
)


def diagnose(seen: DatabaseReadings, target: str, limits: Limits) -> tuple[Cause, ...]:
    """Every cause that the look shows, the surest first. `target`: what a remedy would change."""
    if seen.unreachable:
        room = storage_causes(seen, target, limits)
        if not has_no_room(known(seen.disk)):  # then it is not why nothing answers
            room = (replace(each, confidence=Confidence.POSSIBLE, remedy=None) for each in room)
        return ranked((*unreachable_causes(seen, target), *room))
    sessions = known(seen.sessions) or ()
    tree = lock_tree(sessions, seen.at)
    return ranked(
        (
            *lock_causes(seen, tree, target, limits),
            *connection_causes(seen, tree, target, limits),
            *_slow(seen, sessions, tree, target, limits),
            *_prepared(seen, limits),
            *storage_causes(seen, target, limits),
            *_replication(seen, limits),
            *_archiver(seen),
            *_checkpoints(seen, limits),
            *_wraparound(seen, limits),
            *_bloat(seen, limits),
            *_backups(known(seen.backups)),
            *contradicted_causes(seen),
        )
    )


def assess(causes: Sequence[Cause]) -> Assessment | None:
    """What the causes justify: users wait as soon as sessions wait for each other or for a slot."""
    for cause in causes:
        if cause.code in _USERS_WAIT and cause.confidence is Confidence.PROVEN:
            return Assessment(Severity.P1, "class.p1.api-errors", f"users wait: {cause.summary}")
    return None


def _slow(
    seen: DatabaseReadings,
    sessions: Iterable[Session],
    tree: LockTree,
    target: str,
    limits: Limits,
) -> Iterable[Cause]:
    """Queries that run for too long by themselves: who waits for a lock, or blocks, is not slow."""
    elsewhere = {*tree.waiting, *(root.pid for root in tree.roots)}
    slow = sorted(
        (
            each
            for each in sessions
            if each.is_client
            and each.state == "active"
            and not each.protected
            and each.pid not in elsewhere
            and seconds_since(each.query_start, seen.at) >= limits.slow_query_seconds
        ),
        key=lambda each: (-seconds_since(each.query_start, seen.at), each.pid),
    )
    if not slow:
        return
    longest = seconds_since(slow[0].query_start, seen.at)
    statements = known(seen.statements) or ()
    yield Cause(
        "db.slow-queries",
        COMPONENT,
        Confidence.LIKELY,
        f"{len(slow)} queries run for longer than {limits.slow_query_seconds:g} s, the longest for "
        f"{longest:.0f} s: pid {slow[0].pid} of {slow[0].user}: {slow[0].query}",
        {
            "queries": [
                {
                    "pid": each.pid,
                    "user": each.user,
                    "application": each.application,
                    "seconds": round(seconds_since(each.query_start, seen.at), 1),
                    "wait": each.wait,
                    "query": each.query,
                }
                for each in slow[:_NAMED]
            ],
            "statements": [
                {"query": each.query, "calls": each.calls, "mean_ms": round(each.mean_ms, 1)}
                for each in sorted(statements, key=lambda each: -each.mean_ms)[:3]
            ],
        },
        ending_of(slow[: limits.signalled_at_once], Why.RUNS, target),
    )


def _prepared(seen: DatabaseReadings, limits: Limits) -> Iterable[Cause]:
    old = [
        each
        for each in known(seen.prepared) or ()
        if seconds_since(each.prepared_at, seen.at) >= limits.prepared_seconds
    ]
    if old:
        oldest = old[0]
        yield Cause(
            "db.prepared-transactions",
            COMPONENT,
            Confidence.POSSIBLE,
            f"{len(old)} prepared transactions are older than {limits.prepared_seconds:g} s: they "
            "hold locks and keep vacuum from working; whoever coordinates them must end them: "
            f"{oldest.gid} of {oldest.owner} in {oldest.database}",
            {"gids": [each.gid for each in old[:_NAMED]]},
        )


def _replication(seen: DatabaseReadings, limits: Limits) -> Iterable[Cause]:
    found = known(seen.replication) or Replication((), ())
    behind = [each for each in found.standbys if (each.lag or 0) >= limits.lag_bytes]
    if behind:
        worst = max(behind, key=lambda each: each.lag or 0)
        yield Cause(
            "db.replication-lag",
            COMPONENT,
            Confidence.LIKELY,
            f"standby {worst.name} at {worst.client} is {(worst.lag or 0) / GIB:.1f} GiB behind "
            f"({worst.state})",
            {"standbys": [{"name": each.name, "lag": each.lag} for each in behind[:_NAMED]]},
        )
    keeping = [
        each
        for each in found.slots
        if each.wal_status in {"unreserved", "lost"}
        or (not each.is_active and (each.retained or 0) >= limits.retained_bytes)
    ]
    if keeping:
        worst_slot = max(keeping, key=lambda each: each.retained or 0)
        yield Cause(
            "db.slot-retains-wal",
            COMPONENT,
            Confidence.LIKELY,
            f"replication slot {worst_slot.name} ({worst_slot.wal_status}, "
            f"{'active' if worst_slot.is_active else 'nobody reads it'}) keeps "
            f"{(worst_slot.retained or 0) / GIB:.1f} GiB of WAL: its reader must come back, or a "
            "person drops it",
            {"slots": [{"name": each.name, "retained": each.retained} for each in keeping]},
        )


def _archiver(seen: DatabaseReadings) -> Iterable[Cause]:
    archiver, server = known(seen.archiver), known(seen.server)
    if archiver is None or server is None or not server.is_archiving:
        return
    failed, archived = archiver.last_failed_at, archiver.last_archived_at
    if failed is not None and (archived is None or failed > archived):
        yield Cause(
            "db.archiver-failing",
            COMPONENT,
            Confidence.PROVEN,
            f"WAL {archiver.last_failed_wal} cannot be archived ({archiver.failed} failures): WAL "
            "piles up on the disk, and no point in time after it can be restored",
            {
                "failed": archiver.failed,
                "last_failed_wal": archiver.last_failed_wal,
                "seconds_since_archived": archived and round(seconds_since(archived, seen.at)),
            },
        )


def _checkpoints(seen: DatabaseReadings, limits: Limits) -> Iterable[Cause]:
    counted, server = known(seen.checkpoints), known(seen.server)
    if counted is None or counted.requested < max(limits.forced_checkpoints, counted.timed):
        return
    size = server.max_wal_bytes / GIB if isinstance(server, Server) else 0.0
    yield Cause(
        "db.checkpoints-forced",
        COMPONENT,
        Confidence.POSSIBLE,
        f"{counted.requested} checkpoints were forced by WAL against {counted.timed} by the clock: "
        f"max_wal_size ({size:.1f} GiB) is small for what is written",
        {"requested": counted.requested, "timed": counted.timed},
    )


def _wraparound(seen: DatabaseReadings, limits: Limits) -> Iterable[Cause]:
    old = [
        each
        for each in known(seen.databases) or ()
        if max(each.xid_age, each.multixact_age) >= limits.xid_age
    ]
    if not old:
        return
    worst = max(old, key=lambda each: max(each.xid_age, each.multixact_age))
    age = max(worst.xid_age, worst.multixact_age)
    is_near = age >= limits.xid_age_failsafe
    yield Cause(
        "db.wraparound",
        COMPONENT,
        Confidence.PROVEN if is_near else Confidence.LIKELY,
        f"the oldest transaction id of {worst.name} is {age:,} old; at about 2,100 million the "
        "server takes no more writes: find what holds vacuum back, and vacuum",
        {"ages": {each.name: max(each.xid_age, each.multixact_age) for each in old[:_NAMED]}},
    )


def _bloat(seen: DatabaseReadings, limits: Limits) -> Iterable[Cause]:
    bloated = [
        each
        for each in known(seen.tables) or ()
        if each.dead >= limits.dead_rows and each.dead > each.live
    ]
    if bloated:
        worst = bloated[0]
        yield Cause(
            "db.bloat",
            COMPONENT,
            Confidence.POSSIBLE,
            f"{worst.name} holds {worst.dead:,} dead rows beside {worst.live:,} live ones: vacuum "
            "does not keep up",
            {"tables": {each.name: each.dead for each in bloated[:_NAMED]}},
        )


def _backups(backups: Backups | None) -> Iterable[Cause]:
    if backups is not None and backups.health in {Health.FAILED, Health.DEGRADED}:
        yield Cause("db.backups", COMPONENT, Confidence.POSSIBLE, f"backups: {backups.summary}")
