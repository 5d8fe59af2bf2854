"""Rows that the restored table has and the living one lacks: deleted since, by whomever.

A row of the backup stays, and is listed. One that an earlier pass carried over itself was deleted
while we worked, so it is deleted here too: but never from a table whose spend never falls.
"""

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError
from tasks.domain.reconciled import What
from tasks.work.table_pairs import Pair
from tasks.work.table_staging import ENTER, LIVING, entry_of, restored_of
from tasks.work.table_taking import raise_if_passing

HELD_FAST = "carried over, deleted since: other rows refer to it"
"""The entry of one of ours that cannot go yet; when those rows have gone, it is tried again."""

_ORPHANS = sql.Identifier("pg_temp", "orphans")


def take_out_deleted(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Delete those of the living table's deleted rows that an earlier pass has put here."""
    if pair.spend:
        return
    scratch.execute(
        sql.SQL(
            "UPDATE audit_recovery.entries e SET what = {}, detail = '' FROM {} l"
            " WHERE {} AND e.detail = {}"
        ).format(sql.Literal(What.CARRIED.value), LIVING, entry_of(pair), sql.Literal(HELD_FAST))
    )
    scratch.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS {orphans}; CREATE TEMP TABLE orphans AS"
            " SELECT row_number() OVER () AS n, {key} AS key FROM {table} AS r WHERE {lacking} AND"
            " EXISTS (SELECT FROM audit_recovery.entries e WHERE {entry} AND e.key = {key} AND"
            " (e.what = {carried} OR e.detail = {held}))"
        ).format(
            orphans=_ORPHANS,
            key=pair.key_text("r", staged=False),
            table=restored_of(pair),
            lacking=_lacking(pair),
            entry=_of_table(pair),
            carried=sql.Literal(What.CARRIED.value),
            held=sql.Literal(HELD_FAST),
        )
    )
    row = scratch.execute(sql.SQL("SELECT count(*) FROM {}").format(_ORPHANS)).fetchone()
    count = row[0] if row is not None else 0
    if count:
        _take_out(scratch, pair, 1, count + 1)


def _take_out(scratch: Connection[TupleRow], pair: Pair, first: int, end: int) -> None:
    """Rows first..end-1 of the list; where some are held fast, the others still go."""
    chosen = sql.SQL("SELECT key FROM {} WHERE n >= {} AND n < {}").format(
        _ORPHANS, sql.Literal(first), sql.Literal(end)
    )
    entries = sql.SQL("audit_recovery.entries e")
    try:
        with postgres.translated("delete what was deleted"), scratch.transaction():
            scratch.execute(
                sql.SQL("DELETE FROM {} AS r WHERE {} IN ({})").format(
                    restored_of(pair), pair.key_text("r", staged=False), chosen
                )
            )
            scratch.execute(
                sql.SQL("DELETE FROM {} WHERE {} AND e.key IN ({})").format(
                    entries, _of_table(pair), chosen
                )
            )
    except ClientError as error:
        raise_if_passing(error)
        if end - first > 1:
            middle = (first + end) // 2
            _take_out(scratch, pair, first, middle)
            _take_out(scratch, pair, middle, end)
            return
        scratch.execute(
            sql.SQL("UPDATE {} SET what = {}, detail = {} WHERE {} AND e.key IN ({})").format(
                entries,
                sql.Literal(What.GONE.value),
                sql.Literal(HELD_FAST),
                _of_table(pair),
                chosen,
            )
        )


def list_gone(scratch: Connection[TupleRow], pair: Pair) -> None:
    """An entry for each row of the backup that the living table lacks."""
    select = sql.SQL(
        "SELECT {schema}, {name}, {key}, {gone}, encode({digest}, 'hex'), '', 1 FROM {table} AS r"
        " WHERE {lacking} AND NOT EXISTS (SELECT FROM audit_recovery.entries e WHERE {entry}"
        " AND e.key = {key} AND e.detail = {held})"
    ).format(
        schema=sql.Literal(pair.living.name[0]),
        name=sql.Literal(pair.living.name[1]),
        key=pair.key_text("r", staged=False),
        gone=sql.Literal(What.GONE.value),
        digest=pair.digest("r"),
        table=restored_of(pair),
        lacking=_lacking(pair),
        entry=_of_table(pair),
        held=sql.Literal(HELD_FAST),
    )
    scratch.execute(ENTER.format(select))


def _lacking(pair: Pair) -> sql.Composable:
    return sql.SQL("NOT EXISTS (SELECT FROM {} l WHERE {})").format(LIVING, pair.same_key("l", "r"))


def _of_table(pair: Pair) -> sql.Composable:
    return sql.SQL("e.schema_name = {} AND e.table_name = {}").format(
        *(sql.Literal(part) for part in pair.living.name)
    )
