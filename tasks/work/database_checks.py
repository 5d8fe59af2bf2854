"""The runbook's four looks at the database, each as its own check of one reading."""

from collections.abc import Callable, Mapping
from typing import Any

from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_readings import DatabaseReadings, Unread, seconds_since
from tasks.domain.lock_tree import lock_tree
from tasks.domain.observation import Health
from tasks.work.checks import Seen

_NAMED = 20


def databases(seen: DatabaseReadings, limits: Limits) -> Seen:
    """The list of databases, with sizes and the ages of transaction ids."""
    found = seen.databases
    if isinstance(found, Unread):
        return _unknown(seen, found)
    oldest = max((each.xid_age for each in found), default=0)
    total = sum(each.size or 0 for each in found)
    return Seen(
        Health.DEGRADED if oldest >= limits.xid_age else Health.HEALTHY,
        f"{len(found)} databases, {total / GIB:.2f} GiB; oldest transaction id {oldest:,} old",
        {"databases": {each.name: each.size for each in found[:_NAMED]}, "xid_age": oldest},
    )


def connections(seen: DatabaseReadings, limits: Limits) -> Seen:
    """`SELECT * FROM pg_stat_activity`, counted by role and by state, against the limit."""
    if isinstance(seen.sessions, Unread):
        return _unknown(seen, seen.sessions)
    if isinstance(seen.server, Unread):
        return _unknown(seen, seen.server)
    clients = [each for each in seen.sessions if each.is_client]
    usable = seen.server.usable
    is_full = seen.refused_for_slots or len(clients) >= usable
    is_crowded = len(clients) >= usable * limits.crowded_share
    return Seen(
        Health.FAILED if is_full else Health.DEGRADED if is_crowded else Health.HEALTHY,
        f"{len(clients)} of {usable} connections that roles share"
        + ("; a login was refused" if seen.refused_for_slots else ""),
        {
            "by_user": _counted(clients, lambda each: each.user),
            "by_state": _counted(clients, lambda each: each.state),
            "usable": usable,
        },
    )


def locks(seen: DatabaseReadings, limits: Limits) -> Seen:
    """`SELECT * FROM pg_locks WHERE NOT granted`, as trees with their roots."""
    if isinstance(seen.sessions, Unread):
        return _unknown(seen, seen.sessions)
    tree = lock_tree(seen.sessions, seen.at)
    longest = max((root.longest_wait for root in tree.roots), default=0.0)
    return Seen(
        Health.FAILED if longest >= limits.lock_wait_seconds else Health.HEALTHY,
        f"{len(tree.waiting)} sessions wait for locks, the longest for {longest:.1f} s, behind "
        f"{len(tree.roots)} roots",
        {
            "waiting": len(tree.waiting),
            "roots": [
                {
                    "pid": root.pid,
                    "blocks": len(root.blocks),
                    "user": root.session.user if root.session else "",
                    "query": root.session.query if root.session else "",
                    "transaction_seconds": round(
                        seconds_since(root.session.xact_start if root.session else None, seen.at), 1
                    ),
                }
                for root in tree.roots[:_NAMED]
            ],
        },
    )


def disk(seen: DatabaseReadings, limits: Limits) -> Seen:
    """`df -h`: what is used, how fast it grows, and when it is full where the size is known."""
    if isinstance(seen.disk, Unread):
        return _unknown(seen, seen.disk)
    used, growth, left = seen.disk.used, seen.disk.growth or 0.0, seen.disk.seconds_to_full
    evidence = {
        "used": used,
        "capacity": seen.disk.capacity,
        "bytes_per_second": round(growth),
        "seconds_to_full": None if left is None else round(left),
    }
    text = f"{used / GIB:.2f} GiB in use, {growth / (1 << 20):+.1f} MiB/s"
    if seen.disk.capacity is None:
        return Seen(Health.UNKNOWN, f"{text}; how large the disk is, only its pod knows", evidence)
    is_full = used >= seen.disk.capacity * limits.full_share
    share = f", {used / max(1, seen.disk.capacity):.0%} of the disk"
    end = f", full in {left / 3600:.1f} h" if left is not None else ""
    return Seen(Health.DEGRADED if is_full else Health.HEALTHY, f"{text}{share}{end}", evidence)


CHECKS: Mapping[str, Callable[[DatabaseReadings, Limits], Seen]] = {
    "db.diagnosis.databases": databases,
    "db.diagnosis.connections": connections,
    "db.diagnosis.locks": locks,
    "db.diagnosis.disk": disk,
}
"""By the runbook's line."""


def _unknown(seen: DatabaseReadings, part: Unread) -> Seen:
    if seen.unreachable:
        return Seen(Health.FAILED, seen.unreachable)
    return Seen(Health.UNKNOWN, part.reason)


def _counted(clients: list[Any], name: Callable[[Any], str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for each in clients:
        counted[name(each) or "unknown"] = counted.get(name(each) or "unknown", 0) + 1
    return dict(sorted(counted.items(), key=lambda one: -one[1])[:_NAMED])
