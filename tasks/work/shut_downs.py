"""What two people have shut down on purpose: nothing but its start may change it."""

from collections.abc import Collection

from tasks.domain.emergency_plan import KINDS, PROCEDURE, ShutDown, shut_down
from tasks.work import journal


def standing() -> tuple[ShutDown, ...]:
    """What stands still on purpose, by the journal, in the order of a start-up."""
    return shut_down(journal.facts_of_kinds(KINDS))


def in_the_way(procedure: str, targets: Collection[str]) -> ShutDown | None:
    """The shutdown that keeps a plan of this procedure from changing one of the targets."""
    if procedure == PROCEDURE:
        return None
    return next((each for each in standing() if each.stopped.target in targets), None)
