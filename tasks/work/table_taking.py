"""Whole rows of a living table, into the restored one: a thousand at a time, each refused alone."""

from collections.abc import Sequence

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError, Conflict, Transient
from tasks.domain.reconciled import What
from tasks.work.table_pairs import Pair
from tasks.work.table_shapes import Column
from tasks.work.table_staging import AND, COMMA, FETCHED, TODO, Sides, enter, pipe, restored_of

_BATCH = 1000
_TOO_MUCH = "54"
"""SQLSTATE class of a row that is beyond a limit of PostgreSQL; psycopg calls it operational."""


class Altered(Conflict):
    """The restored table made something else of a row: a rule, or a column that cannot be set."""


def raise_if_passing(error: ClientError) -> None:
    """Raise it again when it is about the server or the session, and says nothing of a row."""
    code = getattr(error.__cause__, "sqlstate", None) or ""
    if isinstance(error, Transient) and not code.startswith(_TOO_MUCH):
        raise error


def take_over(sides: Sides, pair: Pair) -> None:
    """Every row that is to be taken over, or its entry that says why it was not."""
    scratch = sides.scratch
    row = scratch.execute(sql.SQL("SELECT count(*) FROM {}").format(TODO)).fetchone()
    count = row[0] if row is not None else 0
    if not count:
        return
    scratch.execute(
        sql.SQL(
            "CREATE INDEX ON {} (n); CREATE TEMP TABLE fetched AS SELECT {} FROM {} WITH NO DATA"
        ).format(TODO, COMMA.join(each.sql for each in pair.compared), restored_of(pair))
    )
    for first in range(1, count + 1, _BATCH):
        _move(sides, pair, first, min(first + _BATCH, count + 1))


def enter_todo(
    scratch: Connection[TupleRow],
    pair: Pair,
    which: sql.Composable,
    what: sql.Composable,
    detail: str = "",
) -> None:
    """An entry for those of the rows to be taken over (`l`) for which `which` holds."""
    rows = sql.SQL("FROM {} l WHERE {}").format(TODO, which)
    enter(scratch, pair, what, rows, detail)


def _move(sides: Sides, pair: Pair, first: int, end: int) -> None:
    """Rows first..end-1 of the list; where some are refused, the others still go."""
    which = sql.SQL("l.n >= {} AND l.n < {}").format(sql.Literal(first), sql.Literal(end))
    try:
        with postgres.translated("take rows over"), sides.scratch.transaction():
            _fetch(sides, pair, which)
            _put(sides.scratch, pair)
            enter_todo(sides.scratch, pair, which, sql.SQL("l.what"))
    except ClientError as error:
        raise_if_passing(error)
        if end - first == 1:
            enter_todo(
                sides.scratch, pair, which, sql.Literal(What.REFUSED.value), reason_of(error)
            )
            return
        middle = (first + end) // 2
        _move(sides, pair, first, middle)
        _move(sides, pair, middle, end)


def _fetch(sides: Sides, pair: Pair, which: sql.Composable) -> None:
    """Whole rows of the living table, by their keys."""
    names = [sql.Identifier("l", f"k{place}") for place in range(len(pair.key))]
    texts = COMMA.join(sql.SQL("{}::text").format(name) for name in names)
    keys: Sequence[TupleRow] = sides.scratch.execute(
        sql.SQL("SELECT {} FROM {} l WHERE {}").format(texts, TODO, which)
    ).fetchall()
    wanted = COMMA.join(sql.Identifier(f"k{place}") for place in range(len(pair.key)))
    query = sql.SQL("SELECT {} FROM {} AS t JOIN ({}) AS w({}) ON {}").format(
        COMMA.join(sql.Identifier("t", each.name) for each in pair.compared),
        pair.living.sql,
        values_of(pair, keys),
        wanted,
        pair.same_key("w", "t"),
    )
    # Rows that are only deleted leave their pages, by which the planner would take it for large.
    sides.scratch.execute(sql.SQL("TRUNCATE {}").format(FETCHED))
    with sides.living.transaction():
        pipe(sides, query, sql.SQL("pg_temp.fetched"))


def _put(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Fetched rows over those with the same key, and beside the others.

    Raises Altered when they do not stand there afterwards as they were fetched.
    """
    same = AND.join(sql.SQL("r.{0} = f.{0}").format(column.sql) for column in pair.key)
    columns = [each.sql for each in pair.compared]
    changing = [each for each in pair.compared if _may_change(each, pair)]
    if changing:
        scratch.execute(
            sql.SQL("UPDATE {} AS r SET {} FROM {} f WHERE {}").format(
                restored_of(pair),
                COMMA.join(
                    sql.SQL(
                        "{0} = greatest(r.{0}, f.{0})" if each in pair.spend else "{0} = f.{0}"
                    ).format(each.sql)
                    for each in changing
                ),
                FETCHED,
                same,
            )
        )
    scratch.execute(
        sql.SQL(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} f"
            " WHERE NOT EXISTS (SELECT FROM {} AS r WHERE {})"
        ).format(
            sql.Identifier(*pair.living.name),
            COMMA.join(columns),
            COMMA.join(columns),
            FETCHED,
            restored_of(pair),
            same,
        )
    )
    row = scratch.execute(
        sql.SQL(
            "SELECT count(*) FROM {} f LEFT JOIN {} AS r ON {} WHERE {} IS DISTINCT FROM {}"
        ).format(
            FETCHED,
            restored_of(pair),
            same,
            pair.digest("f", pair.spend),
            pair.digest("r", pair.spend),
        )
    ).fetchone()
    if row is None or row[0]:
        raise Altered(f"expected rows in {'.'.join(pair.living.name)} as they were fetched")


def _may_change(column: Column, pair: Pair) -> bool:
    theirs = pair.restored.column(column.name) if pair.restored is not None else None
    return column not in pair.key and theirs is not None and not theirs.always


def values_of(pair: Pair, keys: Sequence[TupleRow]) -> sql.Composable:
    """A query of keys (as text); each is read by its type's own input function, no cast is run."""
    if not any(column.type.endswith("]") for column in pair.key):
        arrays = (
            sql.SQL("{}::{}[]").format(
                sql.Literal([key[place] for key in keys]), sql.SQL(column.type)
            )
            for place, column in enumerate(pair.key)
        )
        return sql.SQL("SELECT * FROM unnest({}) AS u").format(COMMA.join(arrays))
    # An array of arrays would be one of their elements.
    return sql.SQL("VALUES {}").format(COMMA.join(_row_of(pair, key) for key in keys))


def _row_of(pair: Pair, key: TupleRow) -> sql.Composable:
    parts = (
        sql.SQL("{}::{}").format(sql.Literal(part), sql.SQL(column.type))
        for part, column in zip(key, pair.key, strict=True)
    )
    return sql.SQL("({})").format(COMMA.join(parts))


def reason_of(error: ClientError) -> str:
    """Why, without the message, which would quote the row."""
    return type(error.__cause__ or error).__name__
