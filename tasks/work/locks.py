"""One holder per target, with a fencing token that only grows.

A lease can run out while its holder still works (a paused process, a slow disk); the next holder
gets a larger token, and the late one is refused at its next change.

An act may take hours between two changes, so `held` extends the lease from a thread, on a session
that also holds an advisory lock of this very token. A second run of the same incident need not wait
for the lease when that session is gone: then the first run was killed. As long as it is there, the
first run lives, and the second waits like everybody else.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import LockLost
from tasks.work import responder

_LOOK_AGAIN_SECONDS = 0.5
_EXTENSIONS = 4  # of a lease; so many may fail before it is lost

_TAKE = """
INSERT INTO locks (target, token, holder, lease_until)
VALUES (%(target)s, 1, %(holder)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (target) DO UPDATE
   SET token = locks.token + 1, holder = EXCLUDED.holder, lease_until = EXCLUDED.lease_until
 WHERE locks.lease_until < clock_timestamp()
    OR locks.holder = EXCLUDED.holder
   AND pg_try_advisory_xact_lock(hashtextextended(locks.target, locks.token))
RETURNING token
"""
_EXTEND = """
UPDATE locks SET lease_until = clock_timestamp() + make_interval(secs => %s)
 WHERE target = %s AND token = %s RETURNING token
"""
_ALIVE = "SELECT pg_advisory_lock(hashtextextended(%s, %s))"
_ENDED = "SELECT pg_advisory_unlock(hashtextextended(%s, %s))"
_IS_HELD = """
SELECT 1 FROM locks WHERE target = %s AND holder = %s AND lease_until > clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Lock:
    """A held target; `token` is the fencing token."""

    target: str
    token: int
    lease_seconds: int

    def fence(self) -> None:
        """Prove, before a change, that nobody took the target over; extends the lease."""
        if not self.is_ours():
            raise LockLost(
                f"expected to hold {self.target} with token {self.token}, found a newer holder: "
                "stop; the newer holder goes on"
            )

    def is_ours(self) -> bool:
        """Whether there is no newer holder; then the lease begins anew."""
        with responder.connection() as connection:
            return self.extend_in(connection)

    def extend_in(self, connection: Connection[TupleRow]) -> bool:
        """As `is_ours`, on the caller's connection."""
        values = (self.lease_seconds, self.target, self.token)
        return connection.execute(_EXTEND, values).fetchone() is not None

    def release(self) -> None:
        """Let the next holder in at once."""
        with responder.connection() as connection:
            connection.execute(
                "UPDATE locks SET lease_until = clock_timestamp() WHERE target = %s AND token = %s",
                (self.target, self.token),
            )


def is_held_in(connection: Connection[TupleRow], target: str, holder: str) -> bool:
    """Whether the holder's lease of the target runs, as the caller's transaction sees it."""
    return connection.execute(_IS_HELD, (target, holder)).fetchone() is not None


def take(target: str, holder: str, lease_seconds: int, wait_seconds: float = 0) -> Lock:
    """Take the target's lock, which nothing extends but its fence.

    The same holder takes its own lock again with a larger token, unless a living process holds it.
    While another holder's lease runs, waits for its end. Raises LockLost when it has not ended
    after `wait_seconds`.
    """
    until = time.monotonic() + wait_seconds
    while True:
        with responder.connection() as connection:
            row = connection.execute(
                _TAKE, {"target": target, "holder": holder, "lease": lease_seconds}
            ).fetchone()
        if row is not None:
            return Lock(target=target, token=row[0], lease_seconds=lease_seconds)
        if time.monotonic() >= until:
            raise LockLost(
                f"expected {target} to be free, found another holder: wait for its lease to end"
            )
        time.sleep(_LOOK_AGAIN_SECONDS)


@contextmanager
def held(target: str, holder: str, lease_seconds: int, wait_seconds: float = 0) -> Iterator[Lock]:
    """The target's lock, taken as `take` does, kept until the block ends and then released.

    It is lost all the same when this process stands still, or the responder is away, for longer
    than the lease: then the next fence raises LockLost if somebody has taken it over.
    """
    until = time.monotonic() + wait_seconds
    while True:
        lock = take(target, holder, lease_seconds, until - time.monotonic())
        alive, ended = threading.Event(), threading.Event()
        keeper = threading.Thread(
            target=_keep, args=(lock, alive, ended), name=f"lease of {target}", daemon=True
        )
        keeper.start()
        try:
            alive.wait(lease_seconds)
            if not lock.is_ours():
                continue  # another run of ours came before we were seen to live: wait for it
            yield lock
            return
        finally:
            ended.set()
            keeper.join()
            lock.release()


def _keep(lock: Lock, alive: threading.Event, ended: threading.Event) -> None:
    """Extend the lease until the end, or until there is a newer holder."""
    key = (lock.target, lock.token)
    while not ended.is_set():
        with suppress(responder.ResponderAway), responder.connection() as connection:
            connection.execute(_ALIVE, key)
            alive.set()
            try:
                while not ended.wait(lock.lease_seconds / _EXTENSIONS):
                    if not lock.extend_in(connection):
                        return
            finally:
                connection.execute(_ENDED, key)
        ended.wait(_LOOK_AGAIN_SECONDS)  # the responder is away: another session, soon
