"""What of a stranger's dump may come into service: tables and data, and code that is known.

Whatever runs by itself later (functions, triggers, rules, defaults that call functions), and
whatever lets others in (grants), must be exactly what production or the shipped schema has. The
rest is left out, and said.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_NAMED = 8
_BINDING = frozenset({"check", "foreign key"})
"""What can refuse rows: harmless by itself, and yet a way to stop every writer."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a database's catalogue.

    `safe`: it calls nothing but functions of PostgreSQL that cannot reach anything. `removal` is
    the statement that removes it, empty when there is none.
    """

    kind: str
    identity: str
    definition: str
    safe: bool
    removal: str

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known, as (kind, identity, definition); `source` says from where."""

    known: frozenset[tuple[str, str, str]] = frozenset()
    source: str = ""

    def accepts(self, item: Item) -> bool:
        """Whether it may stay: what is known just so, and what is safe and contradicts nothing.

        A table that is known has all that binds it in what is known; another's comes with it.
        """
        if (item.kind, item.identity, item.definition) in self.known:
            return True
        if not item.safe or self.altered(item):
            return False
        table = item.identity.rpartition(" ON ")[2]
        return item.kind not in _BINDING or ("table", table, "") not in self.known

    def altered(self, item: Item) -> bool:
        """Whether something of that name is known, but not so."""
        return any((kind, name) == (item.kind, item.identity) for kind, name, _ in self.known)

    def joined(self, other: "Reference") -> "Reference":
        """What either knows."""
        sources = " and ".join(each for each in (self.source, other.source) if each)
        return Reference(self.known | other.known, sources)


def reference_of(items: Iterable[Item], source: str) -> Reference:
    """A reference from what a database has."""
    return Reference(
        frozenset((each.kind, each.identity, each.definition) for each in items), source
    )


def needed_grants(table: str, needed: Mapping[str, Sequence[str]]) -> Reference:
    """The grants without which the system does not work: role -> privileges on the table."""
    known = frozenset(
        ("grant", f"{privilege} ON TABLE {table} TO {role}", "")
        for role, privileges in needed.items()
        for privilege in privileges
    )
    return Reference(known, "the settings" if known else "")


def left_out(item: Item, reference: Reference) -> str:
    """The note for one item that does not stay."""
    if reference.altered(item):
        return f"{item} is left out: it is not as in {reference.source}"
    where = reference.source or "production, which could not be read"
    return f"{item} is left out: there is none in {where}"


def lacking(items: Iterable[Item], reference: Reference) -> str:
    """The note about what the reference has and the dump has not; empty when nothing."""
    there = {(each.kind, each.identity) for each in items}
    missing = sorted({(kind, name) for kind, name, _ in reference.known} - there)
    if not missing:
        return ""
    named = ", ".join(f"{kind} {name}" for kind, name in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"{reference.source} has what the restored database lacks: {named}{more}"
