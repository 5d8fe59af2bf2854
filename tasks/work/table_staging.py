"""Keys and digests of a living table beside the restored one, to be compared there in SQL.

They are copied into a temporary table, block by block: memory stays bounded, and nothing of the
living database is run.
"""

from dataclasses import dataclass

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.domain.reconciled import What
from tasks.work.table_pairs import Pair

LIVING, TODO, FETCHED = (sql.Identifier("pg_temp", name) for name in ("living", "todo", "fetched"))
"""Temporary tables: what is staged, what is to be taken over, and whole rows of that."""

AND, COMMA, OR = sql.SQL(" AND "), sql.SQL(", "), sql.SQL(" OR ")

ENTER = sql.SQL(
    "INSERT INTO audit_recovery.entries AS e"
    " (schema_name, table_name, key, what, digest, detail, number) {}"
    " ON CONFLICT (schema_name, table_name, key) DO UPDATE SET what = excluded.what,"
    " digest = excluded.digest, detail = excluded.detail, number = excluded.number"
    f" WHERE e.what NOT IN ('{What.FELL.value}', '{What.NO_NUMBER.value}')"
)
"""Spend that once fell, or was no number, stays a finding whatever the table says later."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Both databases. `horizon`: the oldest transaction that a later look may not have seen."""

    living: Connection[TupleRow]
    scratch: Connection[TupleRow]
    horizon: str


def horizon_of(living: Connection[TupleRow]) -> str:
    """The horizon of the transaction's snapshot."""
    row = living.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
    return str(row[0]) if row is not None else "0"


def since_then(horizon: str) -> sql.Composable:
    """That row `l` was written by a transaction that a look with that horizon may have missed."""
    return sql.SQL("age(l.xmin) <= age({}::xid8::xid)").format(sql.Literal(horizon))


def stage(sides: Sides, pair: Pair, horizon: str | None) -> None:
    """Keys, digests and what the rule looks at, of all living rows or of those since a horizon."""
    columns: list[sql.Composable] = [
        sql.SQL("{} {}").format(name, sql.SQL(column.type)) for name, column in pair.staged
    ]
    columns += [sql.SQL("digest bytea"), sql.SQL("number bigint")]
    scratch = sides.scratch
    scratch.execute(
        sql.SQL("DROP TABLE IF EXISTS {}; CREATE TEMP TABLE living ({})").format(
            COMMA.join((LIVING, TODO, FETCHED)), COMMA.join(columns)
        )
    )
    values = [sql.Identifier("l", column.name) for _, column in pair.staged]
    number = sql.SQL("1" if pair.key else "count(*)")
    query = sql.SQL("SELECT {} FROM {} AS l WHERE {} {}").format(
        COMMA.join([*values, pair.digest("l"), number]),
        pair.living.sql,
        since_then(horizon) if horizon is not None else sql.SQL("true"),
        sql.SQL("" if pair.key else "GROUP BY 1"),
    )
    with postgres.translated(".".join(pair.living.name)), sides.living.transaction():
        pipe(sides, query, sql.SQL("pg_temp.living"))
    scratch.execute(sql.SQL("ANALYZE {}").format(LIVING))


def pipe(sides: Sides, query: sql.Composable, into: sql.Composable) -> None:
    """Rows from the living side to the other, as text, block by block."""
    out, fill = sql.SQL("COPY ({}) TO STDOUT").format(query), sql.SQL("COPY {} FROM STDIN")
    with (
        sides.living.cursor().copy(out) as reading,
        sides.scratch.cursor().copy(fill.format(into)) as writing,
    ):
        for block in reading:
            writing.write(block)


def enter(
    scratch: Connection[TupleRow],
    pair: Pair,
    what: sql.Composable,
    rows: sql.Composable,
    detail: str = "",
) -> None:
    """An entry for each row of `FROM ... l ...`; `l` has the staged columns."""
    select = sql.SQL("SELECT {}, {}, {}, {}, encode(l.digest, 'hex'), {}, l.number {}").format(
        *(sql.Literal(part) for part in pair.living.name),
        pair.key_text("l", staged=True),
        what,
        sql.Literal(detail),
        rows,
    )
    scratch.execute(ENTER.format(select))


def entry_of(pair: Pair) -> sql.Composable:
    """That an entry `e` of the book is about the staged row `l`."""
    return sql.SQL("e.schema_name = {} AND e.table_name = {} AND e.key = {}").format(
        *(sql.Literal(part) for part in pair.living.name), pair.key_text("l", staged=True)
    )


def exists_restored(pair: Pair) -> sql.Composable:
    """That the restored table has a row with the key of the staged row `l`."""
    if pair.restored is None:
        return sql.SQL("false")
    return sql.SQL("EXISTS (SELECT FROM {} AS r WHERE {})").format(
        pair.restored.sql, pair.same_key("l", "r")
    )


def restored_of(pair: Pair) -> sql.Composable:
    """The restored table as `r`, or nothing of its form."""
    if pair.restored is None:
        raise AssertionError("asked only where the backup has the table")
    return pair.restored.sql
