"""What the runbook can change, by the names under which it is held, locked and planned."""

from contextlib import suppress

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.holds import (
    EVERYTHING,
    KINDS,
    database_target,
    is_scope,
    standing_holds,
    workload_target,
)
from tasks.domain.plan import Plan
from tasks.domain.workloads import Kind
from tasks.settings import settings
from tasks.work import journal, responder


def production_target() -> str:
    """The name of the production database as a target of plans, holds and locks."""
    return database_target(settings().database.name)


def door_target(kind: str, name: str) -> str:
    """Under which name a workload is locked and held: that of the database, if it is its pods'.

    So that nothing rolls the server back in the middle of a swap.
    """
    pod = settings().database.pod.rpartition("/")[2]
    stem, _, ordinal = pod.rpartition("-")
    if kind == Kind.STATEFUL_SET and stem == name and ordinal.isdigit():
        return production_target()
    return workload_target(kind, name)


def known_targets() -> list[str]:
    """What a hold can be about: `*`, production, what open plans change, and what is held."""
    with responder.connection() as connection:
        return known_targets_in(connection)


def known_targets_in(connection: Connection[TupleRow]) -> list[str]:
    """As `known_targets`, as the caller's transaction sees them; `*` first, the rest by name."""
    rolled, scaling = settings().rollback.workload, settings().scaling
    known = {production_target(), rolled}
    known.update(
        workload_target(Kind.DEPLOYMENT.value, name) for name in (scaling.api, scaling.workers)
    )
    for fact in journal.facts_of_open_in(connection, FactKind.PLAN_PROPOSED):
        with suppress(BadInput):  # a plan that cannot be read changes nothing
            known.update(step.target for step in Plan.from_json(fact.data.get("plan")).steps)
    held = standing_holds(journal.facts_of_kinds_in(connection, KINDS))
    known.update(hold.scope for hold in held)
    return [EVERYTHING, *sorted(name for name in known - {EVERYTHING} if is_scope(name))]
