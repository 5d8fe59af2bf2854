"""What the runbook can change, by the names under which it is held, locked and planned."""

from contextlib import suppress

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.holds import EVERYTHING, KINDS, database_target, is_scope, standing_holds
from tasks.domain.plan import Plan
from tasks.settings import settings
from tasks.work import journal, responder


def production_target() -> str:
    """The name of the production database as a target of plans, holds and locks."""
    return database_target(settings().database.name)


def known_targets() -> list[str]:
    """What a hold can be about: `*`, production, what open plans change, and what is held."""
    with responder.connection() as connection:
        return known_targets_in(connection)


def known_targets_in(connection: Connection[TupleRow]) -> list[str]:
    """As `known_targets`, as the caller's transaction sees them; `*` first, the rest by name."""
    known = {production_target()}
    for fact in journal.facts_of_open_in(connection, FactKind.PLAN_PROPOSED):
        with suppress(BadInput):  # a plan that cannot be read changes nothing
            known.update(step.target for step in Plan.from_json(fact.data.get("plan")).steps)
    held = standing_holds(journal.facts_of_kinds_in(connection, KINDS))
    known.update(hold.scope for hold in held)
    return [EVERYTHING, *sorted(name for name in known - {EVERYTHING} if is_scope(name))]
