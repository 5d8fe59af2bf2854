"""Logins of browsers, kept on our side: what the cookie holds is a secret that we only hash.

A session stands on the person's tokens: it is found only while one of them is valid, so that a
revoked person is out at once. The CSRF token is derived from the secret and stored nowhere.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from tasks.domain.errors import BadInput
from tasks.domain.names import Name
from tasks.domain.roles import Role
from tasks.work import responder
from tasks.work.people import Person, digest

VALID_FOR = timedelta(hours=12)
"""A shift; after it the person logs in anew."""


@dataclass(frozen=True, slots=True)
class Session:
    """A login that has just begun: the cookie's value, and what its forms must send along."""

    secret: str
    csrf: str


def begin(person: Person, valid_for: timedelta = VALID_FOR) -> Session:
    """A new session with a new secret, whatever the browser had before.

    Raises BadInput when the person has no valid token (any more).
    """
    key = Name.parse(person.name).looks
    secret = secrets.token_urlsafe(32)
    with responder.connection() as connection, connection.transaction():
        connection.execute("DELETE FROM sessions WHERE expires_at <= now()")
        # a revocation locks the row of the person: it either sees this session, or is seen
        connection.execute("SELECT FROM people WHERE name_key = %s FOR SHARE", (key,))
        made = connection.execute(
            """
            INSERT INTO sessions (secret_hash, name_key, expires_at)
            SELECT %(hash)s, name_key, least(max(expires_at), now() + %(valid_for)s)
              FROM tokens WHERE name_key = %(key)s AND expires_at > now()
             GROUP BY name_key
            RETURNING expires_at
            """,
            {"hash": digest(secret), "key": key, "valid_for": valid_for},
        ).fetchone()
    if made is None:
        raise BadInput(f"expected {person.name} to have a valid token, found none: log in anew")
    return Session(secret, _csrf(secret))


def find(secret: str) -> tuple[Person, str] | None:
    """The person of a session that has not ended, with its CSRF token; else None."""
    with responder.connection() as connection:
        row = connection.execute(
            """
            SELECT name, role FROM sessions JOIN people USING (name_key)
             WHERE secret_hash = %s AND sessions.expires_at > now()
               AND EXISTS (
                   SELECT FROM tokens
                    WHERE tokens.name_key = sessions.name_key AND tokens.expires_at > now()
               )
            """,
            (digest(secret),),
        ).fetchone()
    return None if row is None else (Person(row[0], Role(row[1])), _csrf(secret))


def end(secret: str) -> None:
    """Log out; a session that is not there is over as well."""
    with responder.connection() as connection:
        connection.execute("DELETE FROM sessions WHERE secret_hash = %s", (digest(secret),))


def _csrf(secret: str) -> str:
    """Needs the secret to be computed; tells nothing about it."""
    return hmac.new(secret.encode(errors="surrogatepass"), b"csrf", "sha256").hexdigest()
