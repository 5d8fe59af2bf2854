"""By which rules rows of other tables come over from the living database to the restored one.

The rules are a file, tasks/domain/reconciliation.toml unless an operator has one of their own.
Pure: tables are read elsewhere.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any

from tasks.domain.written import Table, load, tables

COUNT = "count"
"""Instead of a path: each event counts one."""

TABLES_LIMIT = 500
_COLUMNS_LIMIT = 16
_NAME = re.compile(r"[^\s.\x00-\x1f\"]{1,63}\.[^\x00-\x1f\"]{1,63}")
_COLUMN = re.compile(r"[^\x00-\x1f\"]{1,63}")
_OPTIONAL_COLUMN = re.compile(r"[^\x00-\x1f\"]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}")
_EVENT = re.compile(r"[a-z_]{1,64}")

_DEFAULTS: Mapping[str, Any] = {"key": [], "newer": "", "spend": [], "subject": ""}

TableName = tuple[str, str]
"""Schema and table, as the server's catalogue spells them."""


class Rule(StrEnum):
    """What is done with a row that the restored table lacks."""

    CARRY = "carry"
    LIST = "list"
    GREATEST = "greatest"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class TableRule:
    """The rule of one table; `key` empty: the table's own primary key."""

    name: TableName
    key: tuple[str, ...] = ()
    newer: str = ""
    rule: Rule = Rule.LIST
    spend: tuple[str, ...] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Releases:
    """Which events of the log are releases, and which row and columns of which table they charge.

    `key` and `spend` map columns to paths in the event; `COUNT` counts the events themselves.
    """

    event_type: str
    table: TableName
    key: tuple[tuple[str, str], ...]
    spend: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Erasures:
    """Which events of the log are erasures, and where they say what was erased (paths)."""

    event_type: str
    table: str
    key: str
    subject: str


@dataclass(frozen=True, slots=True)
class ReconciliationRules:
    """Every rule. A table without one is listed."""

    tables: tuple[TableRule, ...] = ()
    releases: Releases | None = None
    erasures: Erasures | None = None

    def of(self, name: TableName) -> TableRule:
        """The rule of a table, or that of an unknown one."""
        return next((each for each in self.tables if each.name == name), TableRule(name))

    def only_listed(self) -> "ReconciliationRules":
        """The same, but no row goes over, except that privacy spend never falls."""
        listed = tuple(
            replace(each, rule=Rule.LIST) if each.rule is Rule.CARRY else each
            for each in self.tables
        )
        return replace(self, tables=listed)

    @classmethod
    def parse(cls, text: str) -> "ReconciliationRules":
        """From TOML, as reconciliation.toml explains it. BadInput names the table and the field."""
        document = load(text)
        Table("the rules", document).check_known({"tables", "releases", "erasures"})
        rules = tuple(_table_rule(each) for each in tables(document, "tables", TABLES_LIMIT, text))
        names = [rule.name for rule in rules]
        if len(set(names)) != len(names):
            Table("the rules", document).complain("tables", "each table once", "one twice")
        whole = Table("the rules", document)
        return cls(
            rules,
            _releases(whole.table("releases"), rules) if "releases" in whole else None,
            _erasures(whole.table("erasures")) if "erasures" in whole else None,
        )


@lru_cache(maxsize=1)
def shipped() -> ReconciliationRules:
    """The rules for the served system's own tables."""
    text = resources.files(__package__).joinpath("reconciliation.toml").read_text(encoding="utf-8")
    return ReconciliationRules.parse(text)


def parents_first(
    names: Iterable[TableName], references: Collection[tuple[TableName, TableName]]
) -> list[TableName]:
    """The tables in an order in which rows can be inserted: (child, parent) pairs say who refers.

    Tables that refer to each other in a ring come in the order of their names at the ring's turn:
    what a constraint refuses then is tried again.
    """
    left = sorted(set(names))
    ordered: list[TableName] = []
    parents = {
        name: {parent for child, parent in references if child == name and parent != name}
        for name in left
    }
    while left:
        waiting = set(left)
        free = [name for name in left if not parents[name] & waiting] or left[:1]
        ordered += free
        left = [name for name in left if name not in free]
    return ordered


def at_path(event: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401  a field of any JSON type
    """The field that a path such as `data.annotator` names; None when there is none."""
    found: Any = event
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _table_rule(given: Table) -> TableRule:
    given.check_known({"name", "key", "newer", "rule", "spend", "subject"})
    name = _name(given, "name")
    table = given.named(".".join(name)).over(_DEFAULTS)
    rule = table.choice("rule", Rule)
    spend = _columns(table, "spend")
    if (rule is Rule.GREATEST) != bool(spend):
        table.complain("spend", "columns exactly where the rule is greatest", list(spend))
    return TableRule(
        name,
        _columns(table, "key"),
        table.label("newer", _OPTIONAL_COLUMN),
        rule,
        spend,
        table.label("subject", _OPTIONAL_COLUMN),
    )


def _releases(given: Table, rules: Sequence[TableRule]) -> Releases:
    given.check_known({"event_type", "table", "key", "spend"})
    found = Releases(
        given.label("event_type", _EVENT),
        _name(given, "table"),
        _paths(given.table("key")),
        _paths(given.table("spend")),
    )
    charged = [rule for rule in rules if rule.name == found.table]
    if not charged or charged[0].rule is not Rule.GREATEST:
        given.complain("table", "a table whose rule is greatest", ".".join(found.table))
    if {column for column, _ in found.spend} - set(charged[0].spend):
        given.complain("spend", "spend columns of the table", "others")
    if {column for column, _ in found.key} != set(charged[0].key):
        given.complain("key", "the key columns of the table", "others")
    return found


def _erasures(given: Table) -> Erasures:
    given.check_known({"event_type", "table", "key", "subject"})
    return Erasures(
        given.label("event_type", _EVENT),
        given.label("table", _PATH),
        given.label("key", _PATH),
        given.label("subject", _PATH),
    )


def _name(table: Table, field: str) -> TableName:
    schema, _, name = table.label(field, _NAME).partition(".")
    return schema, name


def _columns(table: Table, field: str) -> tuple[str, ...]:
    found = table.texts(field, _COLUMNS_LIMIT)
    if not all(_COLUMN.fullmatch(column) for column in found):
        table.complain(field, "names of columns", list(found))
    return found


def _paths(table: Table) -> tuple[tuple[str, str], ...]:
    if not 0 < len(table.fields) <= _COLUMNS_LIMIT:
        table.complain("its columns", f"1 to {_COLUMNS_LIMIT}", len(table.fields))
    return tuple((column, table.label(column, _PATH)) for column in sorted(table.fields))
