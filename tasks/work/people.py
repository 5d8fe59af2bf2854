"""People who may decide, known by personal tokens of which only the SHA-256 is kept."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK
from tasks.work import responder

_NAME_LIMIT = 80


class Role(StrEnum):
    """What a person may do: see, respond (acknowledge, note), or decide on plans."""

    VIEWER = "viewer"
    RESPONDER = "responder"
    APPROVER = "approver"


@dataclass(frozen=True, slots=True)
class Person:
    """An authenticated person."""

    name: str
    role: Role


def add_person(name: str, role: str, valid_for: timedelta) -> str:
    """Make a token for a person and return it; it cannot be read back later."""
    if not name or len(name) > _NAME_LIMIT or not name.isprintable():
        raise BadInput(
            f"expected a printable name of 1 to {_NAME_LIMIT} characters, found {name[:100]!r}"
        )
    if name == RUNBOOK:  # its decisions would count as nobody's
        raise BadInput(f"expected a person's name, found {name!r}, which is the runbook's own")
    if role not in set(Role):
        raise BadInput(f"expected a role of {', '.join(Role)}, found {role[:40]!r}")
    token = secrets.token_urlsafe(32)
    with responder.connection() as connection:
        connection.execute(
            "INSERT INTO people (token_hash, name, role, expires_at) VALUES (%s, %s, %s, %s)",
            (_digest(token), name, role, datetime.now(UTC) + valid_for),
        )
    return token


def authenticate(token: str) -> Person | None:
    """The person whose unexpired token this is, else None.

    Looking up the digest reveals nothing by its timing: an attacker cannot choose its prefix.
    """
    with responder.connection() as connection:
        row = connection.execute(
            "SELECT name, role FROM people WHERE token_hash = %s AND expires_at > now()",
            (_digest(token),),
        ).fetchone()
    return None if row is None else Person(name=row[0], role=Role(row[1]))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()  # any text has one
