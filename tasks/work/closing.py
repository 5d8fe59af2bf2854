"""Production's door while it is swapped: who must leave, when it closes, who opens it again.

Closing is marked in the database's comment before it happens, so a killed attempt is told from an
administrator who closed production on purpose.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres_admin
from tasks.clients.errors import Conflict, Denied
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.errors import LockLost
from tasks.work.recovery import Fence, Mark, Site, Stage


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
        postgres_admin.allow_connections(admin, production.name, allowed=True)
        postgres_admin.comment_on(admin, production.name, mark.previous)
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

    def __init__(self, admin: Connection[TupleRow], name: str) -> None:
        self._admin = admin
        self._name = name
        self.renamed = False

    def close(self) -> None:
        """No new sessions, superusers' included."""
        postgres_admin.allow_connections(self._admin, self._name, allowed=False)


@contextmanager
def closing(
    site: Site, admin: Connection[TupleRow], comment: str, fence: Fence
) -> Iterator[Closing]:
    """Mark production, and give it back as it was unless it was renamed.

    After LockLost it is the newer holder's: to open it then could let a writer in between.
    """
    name = site.names.production
    fence()
    mark = Mark(site.incident, Stage.CLOSING, previous=comment)
    postgres_admin.comment_on(admin, name, mark.text())
    production = Closing(admin, name)
    try:
        yield production
    except LockLost:
        raise
    except BaseException:
        if not production.renamed:
            postgres_admin.allow_connections(admin, name, allowed=True)
            postgres_admin.comment_on(admin, name, comment)
        raise
