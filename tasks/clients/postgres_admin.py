"""Whole databases of a server: their state, making, renaming, closing and freeing them.

Everything here runs on a connection to the maintenance database, in autocommit, as a role that is
no superuser: it owns the databases through a group role and may signal others' backends.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients.errors import Conflict, Denied, Transient

_STATES = """
SELECT d.oid::bigint, d.datname, pg_get_userbyid(d.datdba), d.datallowconn,
       coalesce(shobj_description(d.oid, 'pg_database'), '')
  FROM pg_database d WHERE d.datname = ANY(%s)
"""
_SESSIONS = """
SELECT a.pid, a.usename, coalesce(a.application_name, ''), coalesce(r.rolsuper, false)
  FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
 WHERE a.datname = %s AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
 ORDER BY a.pid
"""
_TEMPLATE = """
SELECT pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, datlocale
  FROM pg_database WHERE datname = %s
"""
_PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}
_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """One database as the server's catalogue shows it; `comment` is empty without one."""

    oid: int
    name: str
    owner: str
    allows_connections: bool
    comment: str


@dataclass(frozen=True, slots=True)
class Session:
    """A client's session on a database; superusers' sessions cannot be ended by us."""

    pid: int
    role: str
    application: str
    superuser: bool

    def __str__(self) -> str:
        kind = "superuser " if self.superuser else ""
        return f"{kind}{self.role} (pid {self.pid}, application {self.application[:80]!r})"


def databases(connection: Connection[TupleRow], names: Sequence[str]) -> dict[str, DatabaseState]:
    """Those of `names` that exist."""
    rows = connection.execute(_STATES, (list(names),)).fetchall()
    return {row[1]: DatabaseState(*row) for row in rows}


def database_bytes(connection: Connection[TupleRow], name: str) -> int | None:
    """Size on the server's disk; None when there is no such database. Needs CONNECT on it."""
    query = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s"
    row = connection.execute(query, (name,)).fetchone()
    return int(row[0]) if row is not None else None


def create_database(
    connection: Connection[TupleRow], name: str, owner: str, like: str | None
) -> None:
    """Make an empty database with the encoding and locale of `like` (the server's, if None)."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
        sql.Identifier(name), sql.Identifier(owner)
    )
    row = connection.execute(_TEMPLATE, (like,)).fetchone() if like else None
    if row is not None:
        encoding, provider, collate, ctype, locale = row
        statement += sql.SQL(" ENCODING {} LOCALE_PROVIDER {} LC_COLLATE {} LC_CTYPE {}").format(
            sql.Literal(encoding),
            sql.Identifier(_PROVIDERS[provider]),
            sql.Literal(collate),
            sql.Literal(ctype),
        )
        if locale is not None:
            option = {"i": "ICU_LOCALE", "b": "BUILTIN_LOCALE"}[provider]
            statement += sql.SQL(" " + option + " {}").format(sql.Literal(locale))
    connection.execute(statement)


def drop_database(connection: Connection[TupleRow], name: str) -> None:
    """Drop a scratch database; the caller has proven that it is ours."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def comment_on(connection: Connection[TupleRow], name: str, text: str) -> None:
    """Set the database's comment: our mark, which renaming keeps."""
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text))
    )


def allow_connections(connection: Connection[TupleRow], name: str, *, allowed: bool) -> None:
    """Open or close the door for new sessions, superusers' included; open ones stay."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
            sql.Identifier(name), sql.SQL("true" if allowed else "false")
        )
    )


def set_door(
    connection: Connection[TupleRow], known: DatabaseState, *, allowed: bool, comment: str
) -> None:
    """Open or close this very database and set its comment, both or neither.

    `known`: as it was looked at. Raises Conflict, with nothing changed, when its name belongs to
    another database by now or its comment is another one.
    """
    with connection.transaction():
        allow_connections(connection, known.name, allowed=allowed)
        _require_same(databases(connection, [known.name]).get(known.name), known)
        comment_on(connection, known.name, comment)


def rename_databases(
    connection: Connection[TupleRow],
    renames: Sequence[tuple[str, str, str]],
    known: Iterable[DatabaseState] = (),
    grants: sql.Composable | None = None,
    opened: str = "",
) -> None:
    """(from, to, new comment) for each, all in one transaction: no client sees half of it.

    `grants` are made before, under the old names; those that were closed are open again by
    `opened`, a new name, as the names change. `known`: databases as they were looked at.
    Raises Conflict, with nothing renamed, when a name belongs to another one by now or its comment
    changed: after its rename the row is locked, so what is read there cannot change any more.
    Conflict also when a session that is not ours to end is still connected.
    """
    looked_at = {each.name: each for each in known}
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    comment_on_one = sql.SQL("COMMENT ON DATABASE {} IS {}")
    with connection.transaction():
        # Few statements, because nobody can connect meanwhile.
        statements = [
            rename.format(sql.Identifier(old), sql.Identifier(new)) for old, new, _ in renames
        ]
        connection.execute(sql.SQL("; ").join([*([grants] if grants else []), *statements]))
        found = databases(connection, [new for _, new, _ in renames])
        for old, new, _ in renames:
            if old in looked_at:
                _require_same(found.get(new), looked_at[old])
        connection.execute(
            sql.SQL("; ").join(
                comment_on_one.format(sql.Identifier(new), sql.Literal(comment))
                for _, new, comment in renames
            )
        )
        if opened:
            allow_connections(connection, opened, allowed=True)


def _require_same(found: DatabaseState | None, known: DatabaseState) -> None:
    if found is None or (found.oid, found.comment) != (known.oid, known.comment):
        raise Conflict(
            f"expected {known.name} to be the database {known.oid} with the comment it had, found "
            f"{f'{found.oid}, {found.comment[:120]!r}' if found else 'none'}: somebody else "
            "changed it meanwhile; nothing was changed here, look at the databases again"
        )


def withhold_grants(connection: Connection[TupleRow], name: str) -> None:
    """Let only the owner's members and superusers connect."""
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def give_default_grants(connection: Connection[TupleRow], name: str) -> None:
    """What PostgreSQL gives everybody on a new database."""
    connection.execute(
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(name))
    )


def sessions(connection: Connection[TupleRow], database: str) -> list[Session]:
    """Client sessions on the database, except the asking one."""
    rows = connection.execute(_SESSIONS, (database,)).fetchall()
    return [Session(*row) for row in rows]


def end_sessions(
    connection: Connection[TupleRow],
    database: str,
    *,
    keep: Iterable[int] = (),
    timeout_seconds: float,
) -> int:
    """End every session on the database but `keep` (pids) and wait until they are gone; how many.

    Twice in a row there must be none, because a session that is just starting is not shown yet.
    Raises Denied, naming them, when sessions are left that we may not end, Transient when some do
    not go in time. New sessions must have been forbidden before.
    """
    kept, ended = frozenset(keep), set[int]()
    was_empty = False
    deadline = time.monotonic() + timeout_seconds
    while True:
        left = [each for each in sessions(connection, database) if each.pid not in kept]
        if not left and was_empty:
            return len(ended)
        was_empty = not left
        protected = [each for each in left if each.superuser]
        if protected:
            raise Denied(
                f"expected that every session on {database} may be ended, found "
                f"{', '.join(map(str, protected))}: ask their owners to disconnect, then try again"
            )
        _end(connection, [each for each in left if each.pid not in ended])
        ended.update(each.pid for each in left)
        if left and time.monotonic() > deadline:
            raise Transient(
                f"expected the sessions on {database} to end within {timeout_seconds} s, found "
                f"{', '.join(map(str, left))}: try again"
            )
        time.sleep(_POLL_SECONDS)


def wait_until_empty(
    connection: Connection[TupleRow], database: str, *, timeout_seconds: float
) -> None:
    """Wait for sessions that end by themselves, after `end_sessions` found no other. Transient."""
    deadline = time.monotonic() + timeout_seconds
    while left := sessions(connection, database):
        if time.monotonic() > deadline:
            raise Transient(
                f"expected the sessions on {database} to end within {timeout_seconds} s, found "
                f"{', '.join(map(str, left))}: try again"
            )
        time.sleep(_POLL_SECONDS)


def _end(connection: Connection[TupleRow], left: Sequence[Session]) -> None:
    """End all of them at once; where that is refused, one after the other, to name the one."""
    try:
        _terminate(connection, left)
    except psycopg.errors.InsufficientPrivilege:
        for session in left:
            try:
                _terminate(connection, [session])
            except psycopg.errors.InsufficientPrivilege as error:
                raise Denied(
                    f"expected that {session} may be ended, found that it is not ours to end: "
                    "ask its owner to disconnect, then try again"
                ) from error


def _terminate(connection: Connection[TupleRow], left: Sequence[Session]) -> None:
    if left:
        pids = [each.pid for each in left]
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS t(pid)", (pids,))


def missing_privileges(
    connection: Connection[TupleRow], table: str, needed: Mapping[str, Sequence[str]]
) -> list[str]:
    """What of `needed` (role -> privileges on `table`) roles lack, as "role: PRIVILEGE"."""
    lacking: list[str] = []
    for role, privileges in needed.items():
        for privilege in privileges:
            row = connection.execute(
                "SELECT has_table_privilege(oid, %s, %s) FROM pg_roles WHERE rolname = %s",
                (table, privilege, role),
            ).fetchone()
            if row is None or not row[0]:
                lacking.append(f"{role}: {privilege}")
    return lacking
