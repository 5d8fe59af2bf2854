"""Proof that an incident's evidence is sealed: without a value of this type nothing is isolated."""

from dataclasses import dataclass

from tasks.domain.errors import NotProven
from tasks.domain.incident import Incident


@dataclass(frozen=True, slots=True)
class Preserved:
    """A closed bag of evidence, sealed for the hold at `hold` in the journal.

    `preserved` makes one from the facts; one that names no sealed bag cannot be made at all.
    Raises NotProven.
    """

    incident: str
    scope: str
    hold: int
    bag: str
    items: int

    def __post_init__(self) -> None:
        if not self.bag or self.items < 1:
            raise NotProven(
                f"expected a closed bag of evidence of {self.incident} for the hold on "
                f"{self.scope}, found none: nothing is isolated before it is sealed"
            )


def preserved(incident: Incident, scope: str, hold: int) -> Preserved:
    """What was sealed for exactly this hold. Raises NotProven: evidence of another is none."""
    fact = incident.evidence.get(scope, {})
    is_for_it = fact.get("hold") == hold
    items = fact.get("items")
    return Preserved(
        incident=incident.id,
        scope=scope,
        hold=hold,
        bag=str(fact.get("bag", "")) if is_for_it else "",
        items=len(items) if is_for_it and isinstance(items, list) else 0,
    )
