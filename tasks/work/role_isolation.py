"""The roles of an isolation: suspected, tried, locked, their sessions ended, let in again."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import role_locks
from tasks.clients.errors import ClientError, Denied
from tasks.clients.role_locks import Became, Ended, Locked
from tasks.domain.alertmanager import clean
from tasks.domain.breach_findings import Suspects
from tasks.domain.isolation import Account, Decision, Lock, Spared, decide, may_lock
from tasks.domain.isolation_plan import Isolating, Suspect
from tasks.work.isolation_site import Fence, Site

_POLL_SECONDS = 0.2
_REASON = 200

Result = dict[str, Any]


def suspected(site: Site, suspects: Suspects) -> tuple[tuple[Suspect, ...], tuple[Decision, ...]]:
    """Roles that may be locked, and what was decided about each suspected one.

    A role is suspected when the API lists an account of its name, or when it has a session from a
    suspected address.
    """
    with site.connected() as connection:
        return _suspected(connection, suspects, site.spared)


def _suspected(
    connection: Connection[TupleRow], suspects: Suspects, spared: Spared
) -> tuple[tuple[Suspect, ...], tuple[Decision, ...]]:
    there = role_locks.roles(connection)
    at = role_locks.roles_at(connection, suspects.addresses) if suspects.addresses else set()
    named = [role for role in there if role.name in suspects.names or role.oid in at]
    decisions = decide([role.name for role in named], [role.account for role in there], spared)
    by_name = {role.name: role for role in named}
    return tuple(
        Suspect(by_name[each.account].oid, by_name[each.account].shown, each.lock)
        for each in decisions
        if each.lock is not Lock.REFUSED
    ), decisions


def tried(site: Site, isolating: Isolating, incident: str) -> list[str]:
    """What PostgreSQL would answer to each lock now, tried and taken back; sessions are counted."""
    with site.connected() as connection:
        lines = [_tried(connection, site, each, incident) for each in isolating.roles]
        count = len(role_locks.to_end(connection, _ended(site, isolating)))
    if isolating.addresses:
        lines.append(f"{count} sessions from suspected addresses would be ended now")
    return lines


def _tried(connection: Connection[TupleRow], site: Site, suspect: Suspect, incident: str) -> str:
    try:
        answer = role_locks.lock(
            connection, suspect.oid, suspect.name, incident, _check(site, suspect), dry_run=True
        )
    except ClientError as error:
        return f"{suspect.name} would not be locked: {clean(str(error), _REASON)}"
    return f"{suspect.name}: {answer.became}{f' ({answer.reason})' if answer.reason else ''}"


def still_planned(site: Site, isolating: Isolating) -> tuple[Suspect, ...]:
    """Those of the planned roles that are still the same, and may still be locked so."""
    with site.connected() as connection:
        there = {role.oid: role for role in role_locks.roles(connection)}
    accounts = [role.account for role in there.values()]
    return tuple(
        each
        for each in isolating.roles
        if each.oid in there
        and there[each.oid].shown == each.name
        and may_lock(there[each.oid].name, accounts, site.spared).lock is each.lock
    )


def lock(site: Site, isolating: Isolating, incident: str, fence: Fence) -> tuple[str, Result]:
    """Lock the planned roles, each looked at again just before; one that may not be is left."""
    with site.connected() as connection:
        answers = [_locked(connection, site, each, incident, fence) for each in isolating.roles]
    ours = [one.shown for one in answers if one.became in {Became.LOCKED, Became.ALREADY}]
    left = [f"{one.shown}: {one.reason or one.became}" for one in answers if one.shown not in ours]
    text = f"{len(ours)} of {len(answers)} roles locked"
    undo = {"login": ours, "where": role_locks.MARK}
    result = {"locked": ours, "left": left, "undo": undo}
    return f"{text}; left alone: {'; '.join(left)}"[:1000] if left else text, result


def _locked(
    connection: Connection[TupleRow], site: Site, suspect: Suspect, incident: str, fence: Fence
) -> Locked:
    """A role that ours has no right to lock keeps no other one open."""
    fence()
    check = _check(site, suspect)
    try:
        return role_locks.lock(
            connection, suspect.oid, suspect.name, incident, check, dry_run=False
        )
    except Denied as error:
        return Locked(suspect.name, Became.REFUSED, clean(str(error), _REASON))


def end_sessions(site: Site, isolating: Isolating, fence: Fence) -> tuple[str, Result]:
    """End them, each looked at again just before, until none is left or the time is over."""
    whose, ended = _ended(site, isolating), set()
    until = time.monotonic() + site.breach.end_seconds
    with site.connected() as connection:
        while sessions := role_locks.to_end(connection, whose):
            if time.monotonic() >= until:
                break
            for each in sessions:
                fence()
                if role_locks.end(connection, whose, each):
                    ended.add(each)
            time.sleep(_POLL_SECONDS)
    left = f"; {len(sessions)} are not gone yet" if sessions else ""
    return f"{len(ended)} sessions ended{left}", {"ended": len(ended), "left": len(sessions)}


def let_in(site: Site, isolating: Isolating, incident: str, fence: Fence) -> list[str]:
    """Let every role in again that this incident has locked; what was done, in words."""
    if not isolating.roles:
        return []
    with site.connected() as connection:
        back = role_locks.unlock(connection, incident, fence)
    return [f"{name} may log in again" for name in back]


def still_open(site: Site, isolating: Isolating) -> list[str]:
    """Who of the planned can still log in, and whose sessions go on."""
    oids = {each.oid for each in isolating.roles}
    with site.connected() as connection:
        unlocked = [
            role.shown
            for role in role_locks.roles(connection)
            if role.oid in oids and role.account.can_login
        ]
        sessions = len(role_locks.to_end(connection, _ended(site, isolating)))
    said = [f"{name} can still log in" for name in unlocked]
    return [*said, f"{sessions} sessions go on"] if sessions else said


def _check(site: Site, suspect: Suspect) -> Callable[[str, Sequence[Account]], str]:
    """Why a role may not be locked on the terms that were approved; empty when it may."""

    def against(name: str, there: Sequence[Account]) -> str:
        decision = may_lock(name, there, site.spared)
        if decision.lock is suspect.lock or decision.lock is Lock.ALLOWED:
            return ""
        return decision.reason

    return against


def _ended(site: Site, isolating: Isolating) -> Ended:
    spared = site.spared
    return Ended(
        oids=[each.oid for each in isolating.roles],
        addresses=isolating.addresses,
        spared=sorted(spared.ours | spared.break_glass),
        api=sorted(spared.api),
    )
