"""Erasures made since the backup, made again in the restored tables.

Only a signed erasure counts, only for whole rows by a unique key or for a person, and only what the
living database no longer has is erased: a row that it has came after the erasure, or is not erased
yet, and is asked for again. The audit log itself is never touched, nor is spend that never falls.
The book keeps numbers alone: the names of who was erased belong nowhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError
from tasks.domain.reconciled import What
from tasks.domain.reconciliation_rules import (
    Erasures,
    ReconciliationRules,
    Rule,
    TableName,
    at_path,
)
from tasks.work.log_events import events_of
from tasks.work.reconciliation_book import count_on, note
from tasks.work.table_pairs import Pair, pair_of
from tasks.work.table_shapes import Shape
from tasks.work.table_taking import raise_if_passing, reason_of, values_of
from tasks.work.table_triggers import without_triggers

_BATCH = 1000
_WINDOW = 65_536
_MOST_COLUMNS = 16
_AND, _COMMA = sql.SQL(" AND "), sql.SQL(", ")
_OPEN = """
SELECT DISTINCT substring(key FROM '^erasure ([0-9]{1,18})')::bigint FROM audit_recovery.entries
 WHERE what = ANY(%s) AND key ~ '^erasure [0-9]{1,18}' ORDER BY 1
"""
_FORGET_OPEN = """
DELETE FROM audit_recovery.entries
 WHERE what = ANY(%s) AND substring(key FROM '^erasure ([0-9]{1,18})')::bigint = %s
"""
_NOT_MADE = [What.LIVES.value, What.ERASURE_FAILED.value]
_FORGET_ROWS = """
DELETE FROM audit_recovery.entries WHERE schema_name = %s AND table_name = %s AND key = ANY(%s)
"""


class NotErased(ClientError):
    """An erasure that is not made, whatever rows it is about."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The restored tables, children first, and those that the living database still has."""

    restored: Mapping[TableName, Shape]
    living: Mapping[TableName, Shape]
    children_first: list[TableName]


def erase_again(
    scratch: Connection[TupleRow],
    living: Connection[TupleRow] | None,
    rules: ReconciliationRules,
    tables: Tables,
    end: int,
) -> None:
    """Make the erasures up to record `end`, which are signed, again; each once.

    Those that an earlier call could not make are tried again. Raises Transient when a database
    does not answer: then the next call goes on there.
    """
    if rules.erasures is None:
        return
    row = scratch.execute("SELECT erasures_to FROM audit_recovery.about").fetchone()
    first = int(row[0]) if row is not None else 0
    not_made = scratch.execute(_OPEN, (_NOT_MADE,)).fetchall()
    for (at,) in not_made:
        with scratch.transaction():
            scratch.execute(_FORGET_OPEN, (_NOT_MADE, at))
            for seq, event in list(events_of(scratch, rules.erasures.event_type, at, at + 1)):
                _erase(scratch, living, rules, tables, seq, event)
    while first < end:
        until = min(first + _WINDOW, end)
        events = list(events_of(scratch, rules.erasures.event_type, first, until))
        with scratch.transaction():
            for seq, event in events:
                _erase(scratch, living, rules, tables, seq, event)
            scratch.execute("UPDATE audit_recovery.about SET erasures_to = %s", (until,))
        first = until


def _erase(
    scratch: Connection[TupleRow],
    living: Connection[TupleRow] | None,
    rules: ReconciliationRules,
    tables: Tables,
    seq: int,
    event: Mapping[str, Any],
) -> None:
    wanted = list(_wanted(rules, rules.erasures, tables, event)) if rules.erasures else []
    if not wanted:
        note(scratch, ("", ""), f"erasure {seq}", What.ERASURE_FAILED, "names nothing known")
    for by, name, columns in wanted:
        shape = tables.restored.get(name)
        if shape is None:
            continue
        pair = pair_of(shape, shape, rules.of(name))
        there = living if name in tables.living else None
        try:
            with (
                postgres.translated("erase again"),
                scratch.transaction(),
                without_triggers(scratch, name),
            ):
                erased, alive = _delete(scratch, there, pair, columns, by)
        except ClientError as error:
            raise_if_passing(error)
            reason = str(error) if isinstance(error, NotErased) else reason_of(error)
            note(scratch, name, f"erasure {seq} by {by}: none", What.ERASURE_FAILED, reason)
            continue
        if erased:
            count_on(scratch, name, f"erasure {seq} by {by}", What.ERASED, erased)
        if alive:
            note(scratch, name, f"erasure {seq} by {by}: rows that live", What.LIVES, "", alive)


def _wanted(
    rules: ReconciliationRules, erasures: Erasures, tables: Tables, event: Mapping[str, Any]
) -> Iterator[tuple[str, TableName, dict[str, str]]]:
    """By subject or by row: tables, and the values of columns by which their rows are found."""
    subject = at_path(event, erasures.subject)
    if isinstance(subject, str) and subject:
        for name in tables.children_first:
            column = rules.of(name).subject
            if column:
                yield "subject", name, {column: subject}
    table, key = at_path(event, erasures.table), at_path(event, erasures.key)
    if isinstance(table, str) and isinstance(key, dict) and 0 < len(key) <= _MOST_COLUMNS:
        schema, _, bare = table.rpartition(".")
        name = (schema or "public", bare)
        values = {
            str(column): str(value)
            for column, value in key.items()
            if isinstance(value, str | int) and not isinstance(value, bool)
        }
        if name in tables.restored and len(values) == len(key):
            yield "row", name, values


def _delete(
    scratch: Connection[TupleRow],
    living: Connection[TupleRow] | None,
    pair: Pair,
    values: Mapping[str, str],
    by: str,
) -> tuple[int, int]:
    """(rows erased, rows that the living database has still)."""
    if pair.rule.rule is Rule.GREATEST:
        raise NotErased("spend never falls")
    if by == "row" and not pair.living.is_unique(tuple(values)):
        raise NotErased("not the whole of a unique key")
    conditions = []
    for name, value in values.items():
        column = pair.living.column(name)
        if column is None or not column.built_in:
            raise NotErased("not a column of a type of PostgreSQL's own")
        conditions.append(
            sql.SQL("t.{} = {}::{}").format(column.sql, sql.Literal(value), sql.SQL(column.type))
        )
    matched = _AND.join(conditions)
    if living is None:
        return _delete_rows(scratch, pair, matched), 0
    if not pair.key:
        raise NotErased("no unique key to tell rows by")
    return _delete_the_dead(scratch, living, pair, matched)


def _delete_rows(scratch: Connection[TupleRow], pair: Pair, which: sql.Composable) -> int:
    """How many went; with them goes what the book says of them, whose keys may be names."""
    keys = scratch.execute(
        sql.SQL("DELETE FROM {} AS t WHERE {} RETURNING {}").format(
            pair.living.sql, which, pair.key_text("t", staged=False)
        )
    ).fetchall()
    scratch.execute(_FORGET_ROWS, (*pair.living.name, [key for (key,) in keys]))
    return len(keys)


def _delete_the_dead(
    scratch: Connection[TupleRow],
    living: Connection[TupleRow],
    pair: Pair,
    matched: sql.Composable,
) -> tuple[int, int]:
    columns = [sql.SQL("t.{}::text").format(each.sql) for each in pair.key]
    found = scratch.execute(
        sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
            _COMMA.join(columns), pair.living.sql, matched
        )
    ).fetchall()
    alive: set[tuple[str, ...]] = set()
    for start in range(0, len(found), _BATCH):
        chosen = _among(pair, found[start : start + _BATCH])
        query = sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
            _COMMA.join(columns), pair.living.sql, chosen
        )
        with living.transaction():
            alive.update(living.execute(query).fetchall())
    dead = [key for key in found if key not in alive]
    gone = sum(
        _delete_rows(scratch, pair, _among(pair, dead[start : start + _BATCH]))
        for start in range(0, len(dead), _BATCH)
    )
    if gone != len(dead):
        raise NotErased("a rule of the table keeps rows from being deleted")
    return gone, len(found) - gone


def _among(pair: Pair, keys: list[TupleRow]) -> sql.Composable:
    """That a row's key is one of these (as text)."""
    return sql.SQL("({}) IN ({})").format(
        _COMMA.join(sql.SQL("t.{}").format(each.sql) for each in pair.key), values_of(pair, keys)
    )
