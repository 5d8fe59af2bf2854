"""One table of the living database beside the same one of the restored, and how they compare."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from psycopg import sql

from tasks.domain.reconciliation_rules import Rule, TableRule
from tasks.work.table_shapes import Column, Shape, why_not_carried

_DIGEST = sql.SQL("sha256(convert_to(format('%s', ROW({})), getdatabaseencoding()::text))")
_SHORT = sql.SQL(
    "CASE WHEN length({0}) <= 200 THEN {0} ELSE 'sha256:' ||"
    " encode(sha256(convert_to({0}, getdatabaseencoding()::text)), 'hex') END"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A table on both sides (`restored` None: the backup has none) and what follows for it.

    `key` empty: rows are known by their digest alone. `compared` are the columns that both sides
    have alike. `why` says why rows are listed although the rule would carry them over.
    """

    living: Shape
    restored: Shape | None
    rule: TableRule
    key: tuple[Column, ...]
    compared: tuple[Column, ...]
    newer: Column | None
    spend: tuple[Column, ...]
    why: str

    @property
    def carries(self) -> bool:
        """Whether rows go over."""
        return self.rule.rule in {Rule.CARRY, Rule.GREATEST} and not self.why

    @property
    def staged(self) -> list[tuple[sql.Identifier, Column]]:
        """The columns of the staged copy, with those of the table that they come from."""
        return [
            *((sql.Identifier(f"k{place}"), each) for place, each in enumerate(self.key)),
            *((sql.Identifier("newer"), each) for each in (self.newer,) if each),
            *((sql.Identifier(f"s{place}"), each) for place, each in enumerate(self.spend)),
        ]

    def same_key(self, staged: str, table: str) -> sql.Composable:
        """That a staged row and one of the restored table have the same key."""
        return sql.SQL(" AND ").join(
            sql.SQL("{}.{} = {}.{}").format(
                sql.Identifier(staged),
                sql.Identifier(f"k{place}"),
                sql.Identifier(table),
                column.sql,
            )
            for place, column in enumerate(self.key)
        )

    def digest(self, table: str, without: Collection[Column] = ()) -> sql.Composable:
        """The SHA-256 of a row's text, as both sides give it; `without` some of its columns."""
        columns = (
            sql.Identifier(table, each.name) for each in self.compared if each not in without
        )
        return _DIGEST.format(sql.SQL(", ").join(columns))

    def key_text(self, table: str, *, staged: bool) -> sql.Composable:
        """The key of a row as the book and the list name it."""
        if not self.key:
            digest = sql.Identifier(table, "digest") if staged else self.digest(table)
            return sql.SQL("'row sha256:' || encode({}, 'hex')").format(digest)
        names = (
            sql.Identifier(table, f"k{place}" if staged else each.name)
            for place, each in enumerate(self.key)
        )
        parts = sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in names)
        return _SHORT.format(sql.SQL("jsonb_build_array({})::text").format(parts))


def pair_of(living: Shape, restored: Shape | None, rule: TableRule) -> Pair:
    """How the two compare under the rule; every reason against carrying over is found here."""
    other = restored or living
    compared = tuple(
        each for each in living.columns if not each.generated and _alike(each.name, living, other)
    )
    wanted = rule.key or other.primary_key
    key = _columns(wanted, compared)
    why = "" if restored else "the backup has no such table"
    if not key or not other.is_unique(wanted):
        key = ()
        why = why or "no unique key of PostgreSQL's own types"
    newer = _columns((rule.newer,), compared) if rule.newer else ()
    spend = _columns(rule.spend, compared)
    if rule.newer and not newer:
        why = why or "the column that tells newer rows is not on both sides"
    if rule.spend and not spend:
        why = why or "a spend column is not on both sides"
    if restored:
        why = why or why_not_carried(living, restored)
    return Pair(
        living,
        restored,
        rule,
        key,
        compared,
        newer[0] if newer else None,
        spend if key else (),
        why,
    )


def _alike(name: str, living: Shape, other: Shape) -> bool:
    one, two = living.column(name), other.column(name)
    return one is not None and two is not None and one.type == two.type and not two.generated


def _columns(names: Iterable[str], compared: tuple[Column, ...]) -> tuple[Column, ...]:
    """All of the named columns, in that order, or none: each must be of a built-in type."""
    by_name = {each.name: each for each in compared if each.built_in}
    wanted = list(names)
    if not all(name in by_name for name in wanted):
        return ()
    return tuple(by_name[name] for name in wanted)
