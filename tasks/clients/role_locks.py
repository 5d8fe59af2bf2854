"""Locking roles of PostgreSQL out, ending their sessions, and letting them in again.

Who locked a role stands in the role itself, as a setting that is written with the lock in one
transaction: a process that dies in between has done both or nothing, and what somebody else has
locked is never unlocked by us. Roles, and what is granted here, are the server's and no database's:
no dump of a database holds them.

The `application_name` of a session is its client's to choose: nobody is spared for it here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.domain.isolation import Account
from tasks.domain.untrusted import visible

MARK = "runbook.isolated_by"
"""The setting of a locked role: the incident that has locked it."""

NAME_LIMIT = 63

_ISOLATION = 0x49534F4C  # "ISOL": one lock after another, or two would leave no superuser
_ROLES = """
SELECT r.oid::bigint, r.rolname::text, r.rolsuper, r.rolcanlogin,
       r.rolreplication OR EXISTS (SELECT FROM pg_stat_activity a
                                    WHERE a.usesysid = r.oid AND a.backend_type = 'walsender'),
       coalesce((SELECT substr(each, length(%(mark)s) + 1)
                   FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS each
                  WHERE s.setrole = r.oid AND s.setdatabase = 0
                    AND starts_with(each, %(mark)s) LIMIT 1), '')
  FROM pg_roles r ORDER BY r.oid
"""
_TO_END = """
  FROM (SELECT a.pid, a.backend_start
          FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
         WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
           AND NOT r.rolsuper AND NOT r.rolreplication AND NOT r.rolname = ANY(%(spared)s)
           AND (a.usesysid = ANY(%(oids)s::oid[]) AND NOT r.rolcanlogin
                OR a.client_addr = ANY(%(addresses)s::inet[])
                   AND NOT r.rolname = ANY(%(api)s))
        OFFSET 0) AS seen
"""
_END_ONE = (
    "SELECT pg_terminate_backend(pid)"
    + _TO_END
    + (" WHERE pid = %(pid)s AND backend_start = %(backend_start)s")
)
_AT = """
SELECT DISTINCT usesysid::bigint FROM pg_stat_activity
 WHERE usesysid IS NOT NULL AND client_addr = ANY(%s::inet[])
"""


class Became(StrEnum):
    """What became of one lock. LOCKED and ALREADY mean that it is locked by this incident."""

    LOCKED = "locked"
    ALREADY = "locked already"
    GONE = "no such role any more"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Role:
    """A role; `locked_by` is the incident that has locked it, or empty."""

    oid: int
    account: Account
    locked_by: str

    @property
    def name(self) -> str:
        """The exact name, for comparing; `shown` is for people."""
        return self.account.name

    @property
    def shown(self) -> str:
        """The name with nothing hidden in it."""
        return visible(self.account.name, NAME_LIMIT)


@dataclass(frozen=True, slots=True)
class Locked:
    """What became of one role, and why it was refused."""

    shown: str
    became: Became
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """Whose sessions end: of roles that are locked, and from addresses. Names are never ended."""

    oids: Sequence[int]
    addresses: Sequence[str]
    spared: Sequence[str]
    api: Sequence[str]

    def parameters(self) -> dict[str, Any]:
        """What the statements ask for."""
        return {
            "oids": list(self.oids),
            "addresses": list(self.addresses),
            "spared": list(self.spared),
            "api": list(self.api),
        }


def roles(connection: Connection[TupleRow]) -> list[Role]:
    """Every role that there is now."""
    return [
        Role(oid, Account(name, is_super, replicates, can_login), locked_by)
        for oid, name, is_super, can_login, replicates, locked_by in connection.execute(
            _ROLES, {"mark": f"{MARK}="}
        ).fetchall()
    ]


def roles_at(connection: Connection[TupleRow], addresses: Sequence[str]) -> set[int]:
    """The oids of roles that have sessions from these addresses now."""
    return {oid for (oid,) in connection.execute(_AT, (list(addresses),)).fetchall()}


def lock(
    connection: Connection[TupleRow],
    oid: int,
    shown: str,
    incident: str,
    check: Callable[[str, Sequence[Account]], str],
    *,
    dry_run: bool,
) -> Locked:
    """Lock one role, if it is still the one that was approved and `check` has nothing against it.

    `check` gets its name and all accounts as they are now, and answers why not, or nothing. With
    `dry_run` everything is tried and taken back. Raises Denied when our role may not.
    """
    doing = f"lock {shown}"
    with postgres.translated(doing), connection.transaction(force_rollback=dry_run):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ISOLATION,))
        there = roles(connection)
        role = next((each for each in there if each.oid == oid), None)
        if role is None or role.shown != shown:
            return Locked(shown, Became.GONE)
        if role.locked_by == incident and not role.account.can_login:
            return Locked(shown, Became.ALREADY)
        if role.locked_by not in {"", incident} and not role.account.can_login:
            return Locked(shown, Became.REFUSED, f"{visible(role.locked_by, 80)} has locked it")
        reason = check(role.name, [each.account for each in there])
        if reason:
            return Locked(shown, Became.REFUSED, reason)
        name = sql.Identifier(role.name)
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(name))
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                name, sql.Identifier(*MARK.split(".")), sql.Literal(incident)
            )
        )
    return Locked(shown, Became.LOCKED)


def unlock(connection: Connection[TupleRow], incident: str, fence: Callable[[], None]) -> list[str]:
    """Let every role in again that this incident has locked, each once; their shown names."""
    back = []
    for role in roles(connection):
        if role.locked_by != incident:
            continue
        fence()
        name = sql.Identifier(role.name)
        with postgres.translated(f"unlock {role.shown}"), connection.transaction():
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(name))
            connection.execute(
                sql.SQL("ALTER ROLE {} RESET {}").format(name, sql.Identifier(*MARK.split(".")))
            )
        back.append(role.shown)
    return back


def to_end(connection: Connection[TupleRow], whose: Ended) -> list[tuple[int, datetime]]:
    """Sessions that would be ended now: pid and when each began."""
    statement = "SELECT pid, backend_start" + _TO_END
    return connection.execute(statement.encode(), whose.parameters()).fetchall()


def end(connection: Connection[TupleRow], whose: Ended, session: tuple[int, datetime]) -> bool:
    """End exactly this session, if it is still one of those; check and signal are one statement."""
    pid, began = session
    values = whose.parameters() | {"pid": pid, "backend_start": began}
    row = connection.execute(_END_ONE.encode(), values).fetchone()
    return row is not None and bool(row[0])
