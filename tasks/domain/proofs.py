"""What a VERIFIED fact speaks of: the log, the look after a remedy, or a halt of releases.

Only the first says anything about the log, and the two holding actions mend nothing: after them
the trouble is kept small and not gone.
"""

from collections.abc import Iterable

from tasks.domain.facts import Fact, FactKind
from tasks.domain.isolation import CAUSE

IN_SERVICE = "the log in service"
SEALED = "the sealed log"
HALTED = "releases are refused"


def same_look(cause: str) -> str:
    """What the look after the remedy of a cause speaks of."""
    return f"{cause} by the same look"


OF_THE_LOG = frozenset({IN_SERVICE, SEALED})
_HOLDING = frozenset({HALTED, same_look(CAUSE)})


def log_proof(facts: Iterable[Fact]) -> Fact | None:
    """The last proof over the log, whichever way it ended."""
    found = [fact for fact in _verified(facts) if fact.data.get("what") in OF_THE_LOG]
    return found[-1] if found else None


def is_holding(fact: Fact) -> bool:
    """Whether it speaks of what keeps the trouble small, and mends nothing."""
    return fact.data.get("what") in _HOLDING


def mending_proof(facts: Iterable[Fact]) -> Fact | None:
    """The last proof or look that says whether the trouble is over."""
    found = [fact for fact in _verified(facts) if not is_holding(fact)]
    return found[-1] if found else None


def _verified(facts: Iterable[Fact]) -> Iterable[Fact]:
    return (fact for fact in facts if fact.kind is FactKind.VERIFIED)
