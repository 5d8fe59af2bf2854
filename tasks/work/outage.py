"""How long writers may wait for a swap: to a limit, at which it is given up and they go on.

What the last look at other tables costs grows with the tables, so nobody can promise it. At the
limit our own session on production is ended, whatever we are at: with it go its locks.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError, Transient
from tasks.domain.errors import LockLost
from tasks.work.recovery import Site

_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE pid = %s AND datname = %s AND usename = current_user
"""


class Overdue(Transient):
    """Writers would have waited longer than the limit; undone."""


class Outage:
    """From the first lock on: `seconds` so far, and whether that is too long."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long writers have waited."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raises Overdue past the limit."""
        if self.seconds > self._limit:
            raise Overdue(
                f"expected writers to wait at most {self._limit:g} s, found that the last look at "
                "other tables needs longer: it is undone and production goes on; try again when "
                "fewer rows change or are deleted, or raise "
                "RUNBOOK_DATABASE__LONGEST_OUTAGE_SECONDS"
            )


@contextmanager
def limited(site: Site, production: Connection[TupleRow] | None) -> Iterator[Outage]:
    """The outage begins; in the body it cannot last longer than the limit. Raises Overdue."""
    outage = Outage(site.longest_outage_seconds)
    pid = production.info.backend_pid if production is not None else 0
    timer = threading.Timer(site.longest_outage_seconds, _let_go, (site, pid))
    timer.daemon = True
    timer.start()
    try:
        yield outage
        if production is not None:
            production.execute("SELECT 1")  # a session that is gone has lost its locks
    except LockLost:
        raise  # the newer holder's
    except Exception:  # of any kind may follow from the session that the timer ended
        outage.check()
        raise
    finally:
        timer.cancel()
        timer.join()
    outage.check()


def _let_go(site: Site, pid: int) -> None:
    """Where that cannot be done, the session that holds the locks cannot be reached either."""
    with (
        suppress(ClientError),
        postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin,
    ):
        admin.execute(_END, (pid, site.names.production))
