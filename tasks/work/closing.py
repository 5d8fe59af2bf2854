"""Production's door while it is swapped: who must leave, when it closes, who opens it again.

Closing is marked in the database's comment before it happens, so a killed attempt is told from an
administrator who closed production on purpose.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.errors import ClientError, Conflict, Denied, Transient
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.errors import LockLost
from tasks.work.recovery import Fence, Mark, Site, Stage

_REOPEN_SECONDS = 10.0


def set_doors(site: Site, admin: Connection[TupleRow]) -> None:
    """After the renames: production open, the quarantined database closed."""
    names = (site.names.production, site.names.quarantine)
    states = postgres_admin.databases(admin, names)
    for name, open_to_clients in zip(names, (True, False), strict=True):
        state = states.get(name)
        if state is not None and state.allows_connections is not open_to_clients:
            postgres_admin.allow_connections(admin, name, allowed=open_to_clients)


def reopen_after_kill(
    site: Site, admin: Connection[TupleRow], production: DatabaseState | None, fence: Fence
) -> None:
    """Production closed by a killed attempt of ours is opened: its last rows must be read."""
    if production is None:
        return
    mark = site.is_ours(production, Stage.CLOSING)
    if mark is not None:
        fence()
        postgres_admin.set_door(admin, production, allowed=True, comment=mark.previous)
    elif not production.allows_connections:
        raise Conflict(
            f"expected {production.name} to allow connections, found it closed by somebody else: "
            f"ask who did it; ALTER DATABASE {production.name} ALLOW_CONNECTIONS true, then try "
            "again"
        )


def refuse_superusers(admin: Connection[TupleRow], database: str) -> None:
    """Before anything stands still: sessions that we may not end would only cost an outage."""
    protected = [each for each in postgres_admin.sessions(admin, database) if each.superuser]
    if protected:
        raise Denied(
            f"expected no superuser's session on {database}, found "
            f"{', '.join(map(str, protected))}: ask their owners to disconnect, then try again; "
            "production is untouched"
        )


class Closing:
    """Production, marked as being swapped and perhaps closed."""

    def __init__(self, admin: Connection[TupleRow], marked: DatabaseState) -> None:
        self._admin = admin
        self.marked = marked
        self.renamed = False

    def close(self) -> None:
        """No new sessions, superusers' included. Conflict when it is another database by now."""
        comment = self.marked.comment
        postgres_admin.set_door(self._admin, self.marked, allowed=False, comment=comment)


@contextmanager
def closing(
    site: Site, admin: Connection[TupleRow], production: DatabaseState, fence: Fence
) -> Iterator[Closing]:
    """Mark production, and give it back as it was unless it was renamed.

    After LockLost it is the newer holder's: to open it then could let a writer in between.
    """
    fence()
    mark = Mark(site.incident, Stage.CLOSING, previous=production.comment)
    postgres_admin.set_door(admin, production, allowed=True, comment=mark.text())
    door = Closing(admin, replace(production, comment=mark.text()))
    try:
        yield door
    except LockLost:
        raise
    except BaseException:
        if not door.renamed:
            _give_back(site, door.marked, production.comment, fence)
        raise


def _give_back(site: Site, marked: DatabaseState, comment: str, fence: Fence) -> None:
    """Open production again, on a connection of its own: the other may be what broke.

    Only the database that carries our mark still: a rename whose answer was lost took it along.
    """
    with suppress(ClientError):  # that nobody can be asked is no reason to leave it closed
        fence()
    try:
        with postgres.connect(
            site.dsn,
            timeout_seconds=site.timeout_seconds,
            statement_seconds=_REOPEN_SECONDS,
        ) as admin:
            found = postgres_admin.databases(admin, [marked.name]).get(marked.name)
            if found is not None and (found.oid, found.comment) == (marked.oid, marked.comment):
                postgres_admin.set_door(admin, marked, allowed=True, comment=comment)
    except ClientError as error:
        raise Transient(
            f"expected to open {marked.name} again, found {error}: it may still be closed; swap "
            "again, which opens it first"
        ) from error
