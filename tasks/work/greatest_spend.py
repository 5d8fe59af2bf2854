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


def keep_greatest(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Of each spend column the greatest value; what the living table says less of is a finding."""
    spends = [(sql.Identifier("l", f"s{place}"), column) for place, column in enumerate(pair.spend)]
    joined = sql.SQL("FROM {} l JOIN {} AS r ON {} WHERE {} AND ").format(
        LIVING, restored_of(pair), pair.same_key("l", "r"), finite(pair)
    )

    def some(operator: str) -> sql.Composable:
        compared = sql.SQL("{} " + operator + " {}")
        tests = (compared.format(mine, sql.Identifier("r", each.name)) for mine, each in spends)
        return sql.SQL("({})").format(OR.join(tests))

    more, less = some(">"), some("<")
    enter(scratch, pair, sql.Literal(What.RAISED.value), joined + more)
    enter(scratch, pair, sql.Literal(What.FELL.value), joined + less)
    enter(
        scratch,
        pair,
        sql.Literal(What.DIFFERS.value),
        joined
        + sql.SQL("NOT {} AND NOT {} AND l.digest <> {} AND NOT ({})").format(
            more,
            less,
            pair.digest("r"),
            sql.SQL("l.newer > {}").format(sql.Identifier("r", pair.newer.name))
            if pair.newer
            else sql.SQL("false"),
        ),
    )
    grown = [
        sql.SQL("{0} = greatest(r.{0}, {1})").format(column.sql, mine) for mine, column in spends
    ]
    if pair.newer is not None:
        grown.append(sql.SQL("{0} = greatest(r.{0}, l.newer)").format(pair.newer.sql))
    scratch.execute(
        sql.SQL("UPDATE {} AS r SET {} FROM {} l WHERE {} AND {} AND l.digest <> {}").format(
            restored_of(pair),
            COMMA.join(grown),
            LIVING,
            pair.same_key("l", "r"),
            finite(pair),
            pair.digest("r"),
        )
    )
