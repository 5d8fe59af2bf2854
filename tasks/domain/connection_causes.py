"""Connections against their limit: who holds them, doing what, and which of them may be ended."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_limits import Limits
from tasks.domain.database_readings import (
    DatabaseReadings,
    Server,
    Session,
    known,
    seconds_since,
)
from tasks.domain.lock_tree import LockTree
from tasks.domain.session_remedies import ending_of
from tasks.domain.signals import Why

_NAMED = 10
_MOST_OF = 0.5


def connection_causes(
    seen: DatabaseReadings, tree: LockTree, target: str, limits: Limits
) -> Iterable[Cause]:
    """Exhausted, or nearly; else transactions that somebody holds open and does nothing in."""
    server, sessions = known(seen.server), known(seen.sessions)
    if server is None or sessions is None:
        return
    clients = [each for each in sessions if each.is_client]
    if len(clients) >= server.usable * limits.crowded_share:
        yield _exhausted(seen, server, clients, tree, target, limits)
        return
    held = [each for each in clients if each.is_in_transaction and _is_leaked(each, seen, limits)]
    if held:
        longest = max(seconds_since(each.state_change, seen.at) for each in held)
        yield Cause(
            "db.idle-in-transaction",
            "database",
            Confidence.POSSIBLE,
            f"{len(held)} sessions hold a transaction open and do nothing, one for {longest:.0f} "
            "s: they keep vacuum from working, and whatever they have locked",
            {"by_user": _counted(each.user for each in held)},
        )


def leaked(
    clients: Sequence[Session], seen: DatabaseReadings, limits: Limits
) -> tuple[str, list[Session]]:
    """The role that holds most of what is leaked, and which of its sessions may be ended.

    Open transactions first, then those that did nothing for longest. At most a share of the role's
    sessions and an absolute number; a few stay, so that what works of it goes on working.
    """
    idle = [each for each in clients if not each.protected and _is_leaked(each, seen, limits)]
    if not idle:
        return "", []
    user, _ = Counter(each.user for each in idle).most_common(1)[0]
    held = sum(each.user == user for each in clients)
    most = min(
        int(held * limits.relief_share), limits.relief_at_most, max(0, held - limits.relief_keeps)
    )
    mine = sorted(
        (each for each in idle if each.user == user),
        key=lambda each: (
            not each.is_in_transaction,
            -seconds_since(each.state_change, seen.at),
            each.pid,
        ),
    )
    return user, mine[:most]


def _exhausted(
    seen: DatabaseReadings,
    server: Server,
    clients: Sequence[Session],
    tree: LockTree,
    target: str,
    limits: Limits,
) -> Cause:
    waiting = {*tree.waiting}
    behind_locks = sum(each.pid in waiting for each in clients)
    user, ending = leaked(clients, seen, limits)
    if behind_locks > len(clients) * _MOST_OF:
        confidence = Confidence.POSSIBLE  # they pile up behind locks: that is the cause
        ending = []
    elif seen.refused_for_slots or len(clients) >= server.usable:
        confidence = Confidence.PROVEN
    else:
        confidence = Confidence.LIKELY
    by_user = _counted(each.user for each in clients)
    by_state = _counted(each.state for each in clients)
    return Cause(
        code="db.connections-exhausted",
        component="database",
        confidence=confidence,
        summary=f"{len(clients)} of {server.usable} connections are taken"
        f"{', and a login was refused' if seen.refused_for_slots else ''}; by role: "
        f"{_listed(by_user)}; by state: {_listed(by_state)}; "
        + _leak_said(user, ending, behind_locks),
        evidence={
            "used": len(clients),
            "usable": server.usable,
            "max_connections": server.max_connections,
            "refused": seen.refused_for_slots,
            "by_user": by_user,
            "by_state": by_state,
            "behind_locks": behind_locks,
            "leaking": user,
            "may_be_ended": len(ending),
        },
        remedy=ending_of(ending, Why.IDLE, target),
    )


def _leak_said(user: str, ending: Sequence[Session], behind_locks: int) -> str:
    if ending:
        return f"{user} leaks them: {len(ending)} of its sessions do nothing and may be ended"
    if behind_locks:
        return f"{behind_locks} of them wait for locks"
    return "none of them is idle for long enough to be ended: find out who opens so many"


def _is_leaked(session: Session, seen: DatabaseReadings, limits: Limits) -> bool:
    least = limits.idle_in_transaction_seconds if session.is_in_transaction else limits.idle_seconds
    return session.is_idle and seconds_since(session.state_change, seen.at) >= least


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(name or "unknown" for name in names).most_common(_NAMED))


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in list(counted.items())[:4])
