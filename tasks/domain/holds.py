"""Holds: after a proven alteration nothing in scope is changed until the evidence is sealed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.facts import Fact, FactKind

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that stands. `scope` is a target such as `database/rlhf_audit`, or `*`."""

    incident: str
    scope: str
    reason: str
    set_at: datetime
    review_at: str
    sealed: bool


def covers(scope: str, target: str) -> bool:
    """Whether a hold of `scope` forbids changing `target`; scopes nest at slashes.

    A hold on a part covers the whole as well: who changes a database changes its tables.
    """
    return (
        scope in {EVERYTHING, target}
        or target.startswith(scope + "/")
        or scope.startswith(target + "/")
    )


def standing_holds(facts: Iterable[Fact]) -> list[Hold]:
    """Holds that were set and not lifted, from facts of any number of incidents, in order.

    Sealed evidence satisfies a hold only when it was sealed after the hold was set, by the same
    incident and for the same scope.
    """
    holds: dict[tuple[str, str], Hold] = {}
    for fact in facts:
        name = (fact.incident, _scope(fact))
        if fact.kind is FactKind.HOLD_SET:
            # One that does not say what it covers covers everything: it fails closed.
            name = (fact.incident, name[1] or EVERYTHING)
            holds[name] = Hold(
                incident=fact.incident,
                scope=name[1],
                reason=str(fact.data.get("reason", "")),
                set_at=fact.at,
                review_at=str(fact.data.get("review_at", "")),
                sealed=False,
            )
        elif fact.kind is FactKind.HOLD_LIFTED:
            holds.pop(name, None)
        elif fact.kind is FactKind.EVIDENCE_SEALED and name in holds:
            held = holds[name]
            holds[name] = Hold(
                held.incident, held.scope, held.reason, held.set_at, held.review_at, sealed=True
            )
    return list(holds.values())


def _scope(fact: Fact) -> str:
    """Empty for one that does not say: then it lifts no hold and satisfies none."""
    scope = fact.data.get("scope")
    return scope if isinstance(scope, str) else ""
