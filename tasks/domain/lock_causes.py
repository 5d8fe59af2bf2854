"""Sessions that wait for each other: the storm, its roots, and who of them may be ended."""

from collections.abc import Iterable
from typing import Any

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_limits import Limits
from tasks.domain.database_readings import DatabaseReadings, Session, known, seconds_since
from tasks.domain.lock_tree import LockTree, Root
from tasks.domain.session_remedies import ending_of
from tasks.domain.signals import Why

_NAMED = 5


def lock_causes(
    seen: DatabaseReadings, tree: LockTree, target: str, limits: Limits
) -> Iterable[Cause]:
    """A storm when somebody waits for too long; circles that PostgreSQL breaks by itself."""
    roots = [root for root in tree.roots if root.longest_wait >= limits.lock_wait_seconds]
    if roots:
        yield _storm(seen, tree, roots, target, limits)
    elif tree.blocked_by_nobody_known():
        yield Cause(
            "db.lock-circle",
            "database",
            Confidence.POSSIBLE,
            f"sessions {', '.join(map(str, tree.cycles[0][:_NAMED]))} wait for each other: "
            "PostgreSQL breaks a deadlock itself within deadlock_timeout",
            {"circles": [list(circle[:20]) for circle in tree.cycles[:_NAMED]]},
        )


def _storm(
    seen: DatabaseReadings, tree: LockTree, roots: list[Root], target: str, limits: Limits
) -> Cause:
    mine = [root.session for root in roots if root.session and not root.session.protected]
    waiting = len({pid for root in roots for pid in root.blocks})
    longest = max(root.longest_wait for root in roots)
    return Cause(
        code="db.lock-storm",
        component="database",
        confidence=Confidence.PROVEN,
        summary=f"{waiting} sessions wait for locks, the longest for {longest:.0f} s; "
        f"at the root: {'; '.join(_said(root, seen) for root in roots[:_NAMED])}",
        evidence={
            "waiting": waiting,
            "longest_wait": round(longest, 1),
            "roots": [_evidence(root, seen) for root in roots[:_NAMED]],
            "waits_for": _waits_for(seen, roots),
            "circles": [list(circle[:20]) for circle in tree.cycles[:_NAMED]],
        },
        remedy=ending_of(mine[: limits.signalled_at_once], Why.BLOCKS, target),
    )


def _said(root: Root, seen: DatabaseReadings) -> str:
    session = root.session
    if root.is_prepared:
        names = ", ".join(each.gid for each in (known(seen.prepared) or ())[:_NAMED])
        return (
            f"a prepared transaction ({names or 'not visible to us'}) blocks {len(root.blocks)}: "
            "only who coordinates it may commit it or roll it back"
        )
    if session is None:
        return f"pid {root.pid}, which has gone meanwhile, blocks {len(root.blocks)}"
    age = seconds_since(session.xact_start, seen.at)
    spared = f", which is {session.protected} and is not ended by us" if session.protected else ""
    return (
        f"pid {root.pid} of {session.user} ({session.application or 'unnamed'}{spared}) blocks "
        f"{len(root.blocks)}, {session.state} in a transaction of {age:.0f} s: {session.query}"
    )


def _evidence(root: Root, seen: DatabaseReadings) -> dict[str, Any]:
    session = root.session
    found: dict[str, Any] = {
        "pid": root.pid,
        "prepared": root.is_prepared,
        "blocks": len(root.blocks),
        "direct": len(root.direct),
    }
    return found | (_of(session, seen) if session else {})


def _of(session: Session, seen: DatabaseReadings) -> dict[str, Any]:
    return {
        "user": session.user,
        "application": session.application,
        "client": session.client,
        "state": session.state,
        "query": session.query,
        "transaction_seconds": round(seconds_since(session.xact_start, seen.at), 1),
        "protected": session.protected,
    }


def _waits_for(seen: DatabaseReadings, roots: list[Root]) -> dict[str, int]:
    """What is waited for, the most wanted first."""
    blocked = {pid for root in roots for pid in root.blocks}
    counted: dict[str, int] = {}
    for each in known(seen.sessions) or ():
        if each.pid in blocked and each.waits_for:
            counted[each.waits_for] = counted.get(each.waits_for, 0) + 1
    return dict(sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:_NAMED])
