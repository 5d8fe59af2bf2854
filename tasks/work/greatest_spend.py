"""Columns that never fall: of each the greatest value of both sides stays."""

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.domain.reconciled import What
from tasks.work.table_pairs import Pair
from tasks.work.table_staging import AND, COMMA, LIVING, OR, enter, restored_of

_WITH_NAN = ("numeric", "real", "double precision")


def finite(pair: Pair) -> sql.Composable:
    """That no spend of `l` is NaN or infinite: as the greatest value it would swallow all."""
    checks = [
        sql.SQL("({0} IS NULL OR ({0} <> 'NaN' AND {0} < 'Infinity'))").format(
            sql.Identifier("l", f"s{place}")
        )
        for place, column in enumerate(pair.spend)
        if column.type.startswith(_WITH_NAN)
    ]
    return AND.join(checks) if checks else sql.SQL("true")


def more(pair: Pair) -> sql.Composable:
    """That `l` says more than `r` in a spend column. NULL is less than every value."""
    return _some(pair, "({mine} IS NOT NULL AND ({theirs} IS NULL OR {mine} > {theirs}))")


def less(pair: Pair) -> sql.Composable:
    """That `l` says less than `r` in a spend column, or nothing any more."""
    return _some(pair, "({theirs} IS NOT NULL AND ({mine} IS NULL OR {mine} < {theirs}))")


def is_later(pair: Pair) -> sql.Composable:
    """That the column that tells newer rows says so of `l`; a NULL in it says nothing."""
    if pair.newer is None:
        return sql.SQL("false")
    return sql.SQL("(l.newer > {}) IS TRUE").format(sql.Identifier("r", pair.newer.name))


def keep_greatest(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Of each spend column the greatest value; what the living table says less of is a finding.

    Other columns are those of the backup, until a newer row is taken over as a whole.
    """
    joined = sql.SQL("FROM {} l JOIN {} AS r ON {} WHERE {} AND ").format(
        LIVING, restored_of(pair), pair.same_key("l", "r"), finite(pair)
    )
    raised = sql.SQL("{} AND NOT {}").format(more(pair), less(pair))
    differs = sql.SQL("NOT {} AND NOT {} AND l.digest <> {} AND NOT ({})").format(
        more(pair), less(pair), pair.digest("r"), is_later(pair)
    )
    enter(scratch, pair, sql.Literal(What.RAISED.value), joined + raised)
    enter(scratch, pair, sql.Literal(What.FELL.value), joined + less(pair))
    enter(scratch, pair, sql.Literal(What.DIFFERS.value), joined + differs)
    grown = [
        sql.SQL("{0} = greatest(r.{0}, {1})").format(each.sql, sql.Identifier("l", f"s{place}"))
        for place, each in enumerate(pair.spend)
    ]
    scratch.execute(
        sql.SQL("UPDATE {} AS r SET {} FROM {} l WHERE {} AND {} AND {}").format(
            restored_of(pair),
            COMMA.join(grown),
            LIVING,
            pair.same_key("l", "r"),
            finite(pair),
            more(pair),
        )
    )


def _some(pair: Pair, test: str) -> sql.Composable:
    tests = (
        sql.SQL(test).format(
            mine=sql.Identifier("l", f"s{place}"), theirs=sql.Identifier("r", each.name)
        )
        for place, each in enumerate(pair.spend)
    )
    return sql.SQL("({})").format(OR.join(tests))
