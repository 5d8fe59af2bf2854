"""People and their tokens. Only SHA-256 of tokens are kept; a name is one person's for ever."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import BadInput
from tasks.domain.names import Name
from tasks.domain.roles import Role
from tasks.work import responder

__all__ = [
    "LONGEST",
    "Known",
    "Person",
    "Role",
    "add_person",
    "add_proxied",
    "authenticate",
    "find_proxied",
    "listed",
    "revoke",
]

LONGEST = timedelta(days=365)
"""No token is valid for longer."""

_USED_EVERY = timedelta(minutes=1)  # `used_at` is for people; a write at every request is not


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated person, under the name by which they are known."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Known:
    """A person's token, or the person alone (`made_at` is None) who has none. All UTC."""

    name: str
    role: Role
    proxied: bool
    made_at: datetime | None
    expires_at: datetime | None
    used_at: datetime | None


def add_person(name: str, role: str, valid_for: timedelta, *, change_role: bool = False) -> str:
    """Make a token for a person and return it; it cannot be read back later.

    A person who is known already gets one token more; theirs go on. Raises BadInput when the name
    is unfit or could be mistaken for another's, when the person has another role (unless
    `change_role`), or when the token would be valid for longer than a year.
    """
    if valid_for > LONGEST:
        raise BadInput(f"expected at most {LONGEST.days} days, found {valid_for.days}")
    token = secrets.token_urlsafe(32)
    with responder.connection() as connection, connection.transaction():
        key = _put(connection, name, role, change_role=change_role)
        connection.execute(
            "INSERT INTO tokens (token_hash, name_key, expires_at) VALUES (%s, %s, %s)",
            (digest(token), key, datetime.now(UTC) + valid_for),
        )
    return token


def add_proxied(name: str, role: str, *, change_role: bool = False) -> None:
    """Let the trusted proxy bring this person in; no token is made. Raises as `add_person`."""
    with responder.connection() as connection, connection.transaction():
        key = _put(connection, name, role, change_role=change_role)
        connection.execute("UPDATE people SET proxied = true WHERE name_key = %s", (key,))


def authenticate(token: str) -> Person | None:
    """The person whose unexpired token this is, else None.

    Looking up the digest reveals nothing by its timing: an attacker cannot choose its prefix.
    """
    with responder.connection() as connection:
        row = connection.execute(
            """
            SELECT name, role, used_at IS NULL OR used_at < now() - %(every)s
              FROM tokens JOIN people USING (name_key)
             WHERE token_hash = %(hash)s AND expires_at > now()
            """,
            {"hash": digest(token), "every": _USED_EVERY},
        ).fetchone()
        if row is None:
            return None
        if row[2]:
            connection.execute(
                "UPDATE tokens SET used_at = now() WHERE token_hash = %s", (digest(token),)
            )
    return Person(name=row[0], role=Role(row[1]))


def find_proxied(name: str) -> Person | None:
    """The person of this name, if the proxy may bring them in; however the proxy spells it."""
    try:
        wanted = Name.parse(name)
    except BadInput:
        return None
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT name, role FROM people WHERE name_key = %s AND proxied", (wanted.looks,)
        ).fetchone()
    if row is None or Name.parse(row[0]).folded != wanted.folded:
        return None
    return Person(name=row[0], role=Role(row[1]))


def revoke(name: str) -> int:
    """End a person's tokens, logins and way through the proxy; how many valid tokens there were.

    The name and its role stay known. Raises BadInput when nobody bears the name.
    """
    wanted = Name.parse(name)
    with responder.connection() as connection, connection.transaction():
        found = _locked(connection, wanted.looks)
        if found is None or Name.parse(found[0]).folded != wanted.folded:
            raise BadInput(f"expected the name of a known person, found {wanted.shown!r}")
        connection.execute("UPDATE people SET proxied = false WHERE name_key = %s", (wanted.looks,))
        connection.execute("DELETE FROM sessions WHERE name_key = %s", (wanted.looks,))
        ended = connection.execute(
            "DELETE FROM tokens WHERE name_key = %s RETURNING expires_at > now()", (wanted.looks,)
        ).fetchall()
    return sum(valid for (valid,) in ended)


def listed() -> list[Known]:
    """Everybody who is known, by name, with a line for each of their tokens; no secrets."""
    with responder.connection() as connection:
        rows = connection.execute(
            """
            SELECT name, role, proxied, made_at, expires_at, used_at
              FROM people LEFT JOIN tokens USING (name_key)
             ORDER BY name_key, expires_at
            """
        ).fetchall()
    return [
        Known(name, Role(role), proxied, *(at and at.astimezone(UTC) for at in times))
        for name, role, proxied, *times in rows
    ]


def digest(secret: str) -> bytes:
    """What is stored of a token or a cookie; any text has one."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def _put(connection: Connection[TupleRow], text: str, role: str, *, change_role: bool) -> str:
    """The key of the person, who is known from now on, and whose row is locked."""
    if role not in set(Role):
        raise BadInput(f"expected a role of {', '.join(Role)}, found {role[:40]!r}")
    name = Name.parse(text)
    connection.execute(
        "INSERT INTO people (name_key, name, role) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (name.looks, name.shown, role),
    )
    found = _locked(connection, name.looks)
    if found is None or Name.parse(found[0]).folded != name.folded:
        other = found[0] if found else name.shown
        raise BadInput(
            f"expected a name that nobody mistakes for another, found {name.shown!r} while "
            f"{other!r} is known: choose a name that looks different"
        )
    if found[1] != role and not change_role:
        raise BadInput(
            f"expected {found[0]} to be a {found[1]} as before, found {role}: "
            "--change-role changes it, for all of their tokens"
        )
    connection.execute("UPDATE people SET role = %s WHERE name_key = %s", (role, name.looks))
    return name.looks


def _locked(connection: Connection[TupleRow], key: str) -> tuple[str, str] | None:
    """Name and role of a person; whoever adds, revokes or logs in meanwhile waits."""
    row = connection.execute(
        "SELECT name, role FROM people WHERE name_key = %s FOR UPDATE", (key,)
    ).fetchone()
    return None if row is None else (row[0], row[1])
