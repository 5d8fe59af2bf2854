"""The right of a warm child to record facts: its order is still leased to its own gateway.

A gateway that stood still (a paused machine, a long stall) finds its orders with another one, whose
new run goes on where the journal ends. Its own child may wake up first: so each transaction in
which that child records a fact proves first that the order is still theirs, and holds it until the
commit. A step begins with a fact, so what was taken over begins nothing any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import LockLost

_PROVE = """
SELECT 1 FROM dispatches
 WHERE id = %s AND holder = %s AND flow_run = %s AND done_at IS NULL FOR SHARE
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """An order's row, the gateway that leases it, and the one run that it is bound to.

    The three together are the fencing token: whoever takes the order over changes one of them.
    """

    row: int
    holder: str
    run: str


_of_this_process: list[Claim] = []  # at most one: a child runs one flow at a time


@contextmanager
def working_under(claim: Claim) -> Iterator[None]:
    """Until the block ends, this process records facts only while the claim stands."""
    _of_this_process.append(claim)
    try:
        yield
    finally:
        _of_this_process.remove(claim)


def prove_in(connection: Connection[TupleRow]) -> None:
    """Hold the claim until the caller's transaction ends, where this process works under one.

    Raises LockLost when another gateway has the order: then nothing may be recorded.
    """
    for claim in _of_this_process:
        values = (claim.row, claim.holder, claim.run)
        if connection.execute(_PROVE, values).fetchone() is None:
            raise LockLost(
                f"expected order {claim.row} to be with {claim.holder} under run {claim.run}, "
                "found that another gateway took it over: stop; the newer run goes on"
            )
