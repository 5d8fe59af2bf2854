"""The restored log from its last proof to the renames: nobody can write to it in between.

The proof reads the whole table, so it is made before writers wait. From before it the table is
locked by one transaction of ours, which writes what still comes; before that ends, the database is
closed to everybody and other sessions are ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.errors import ClientError
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.errors import LockLost, NotProven, PlanStale
from tasks.work.log_heads import Head
from tasks.work.mending import proven
from tasks.work.recovery import TABLE, Site
from tasks.work.scratch_database import reopen

_LOCK_SECONDS = 10.0
_END_SECONDS = 10.0
_NO_LIMITS = """
SELECT set_config(name, '0', true) FROM pg_settings
 WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')
"""


class Altered(PlanStale):
    """Somebody wrote to the restored database after its proof; a new plan restores it again."""


class HeldScratch:
    """The scratch database, proven. `connection`: its one transaction, until it is `shut`."""

    def __init__(self, site: Site, state: DatabaseState, connection: Connection[TupleRow]) -> None:
        self._site = site
        self._state = state
        self.connection = connection

    def shut(self, admin: Connection[TupleRow]) -> None:
        """Commit what was written, and nobody is or comes in any more. Conflict: another's now."""
        name = self._state.name
        postgres_admin.set_door(admin, self._state, allowed=False, comment=self._state.comment)
        keep = [self.connection.info.backend_pid]
        postgres_admin.end_sessions(admin, name, keep=keep, timeout_seconds=_END_SECONDS)
        with postgres.translated(name):
            self.connection.commit()
        self.connection.close()
        postgres_admin.wait_until_empty(admin, name, timeout_seconds=_END_SECONDS)

    def give_back(self) -> None:
        """Open it again, if it is still there; on a connection of its own."""
        site, known = self._site, self._state
        with (
            suppress(ClientError),  # the next attempt opens it as well
            postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin,
        ):
            found = postgres_admin.databases(admin, [known.name]).get(known.name)
            if found is not None and (found.oid, found.comment) == (known.oid, known.comment):
                reopen(admin, found)


@contextmanager
def held(site: Site, state: DatabaseState, head: Head) -> Iterator[HeldScratch]:
    """The scratch database, proven at the head, and held as it is.

    Raises Altered when it no longer verifies, Transient when somebody who writes to it does not
    make way. Left with an error it is open again, and what was written into it undone.
    """
    with postgres.connect(
        site.dsn_of(state.name), timeout_seconds=site.timeout_seconds, autocommit=False
    ) as connection:
        connection.execute(_NO_LIMITS)
        postgres.lock_against_writers(connection, TABLE, _LOCK_SECONDS)
        _prove(site, state.name, head)
        scratch = HeldScratch(site, state, connection)
        try:
            yield scratch
        except LockLost:
            raise  # the newer holder's
        except BaseException:
            scratch.give_back()
            raise


def _prove(site: Site, name: str, head: Head) -> None:
    try:
        proven(site.dsn_of(name), site.log, site.trust, head)
    except NotProven as error:
        raise Altered(
            f"expected {name} to be as it was proven, found that somebody wrote to it since "
            f"({error}): find out who; a new plan mends and proves it again"
        ) from error
