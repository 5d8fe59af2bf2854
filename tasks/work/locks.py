"""One holder per target, with a fencing token that only grows.

A lease can run out while its holder still works (a paused process, a slow disk); the next holder
gets a larger token, and the late one is refused at its next change.
"""

from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import LockLost
from tasks.work import responder

_TAKE = """
INSERT INTO locks (target, token, holder, lease_until)
VALUES (%(target)s, 1, %(holder)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (target) DO UPDATE
   SET token = locks.token + 1, holder = EXCLUDED.holder, lease_until = EXCLUDED.lease_until
 WHERE locks.lease_until < clock_timestamp() OR locks.holder = EXCLUDED.holder
RETURNING token
"""
_EXTEND = """
UPDATE locks SET lease_until = clock_timestamp() + make_interval(secs => %s)
 WHERE target = %s AND token = %s RETURNING token
"""


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
        with responder.connection() as connection:
            row = connection.execute(
                _EXTEND, (self.lease_seconds, self.target, self.token)
            ).fetchone()
        if row is None:
            raise LockLost(
                f"expected to hold {self.target} with token {self.token}, found a newer holder: "
                "stop; the newer holder goes on"
            )

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


def take(target: str, holder: str, lease_seconds: int) -> Lock:
    """Take the target's lock. The same holder takes its own lock again with a larger token.

    Raises LockLost while another holder's lease runs.
    """
    with responder.connection() as connection:
        row = connection.execute(
            _TAKE, {"target": target, "holder": holder, "lease": lease_seconds}
        ).fetchone()
    if row is None:
        raise LockLost(
            f"expected {target} to be free, found another holder: wait for its lease to end"
        )
    return Lock(target=target, token=row[0], lease_seconds=lease_seconds)
