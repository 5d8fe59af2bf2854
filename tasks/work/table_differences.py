"""What one table of the living database has that the restored one lacks, and what follows."""

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.domain.reconciled import What
from tasks.domain.reconciliation_rules import Rule
from tasks.work.deleted_since import HELD_FAST, list_gone, take_out_deleted
from tasks.work.greatest_spend import finite, is_later, keep_greatest, less, more
from tasks.work.recovery import Fence
from tasks.work.table_pairs import Pair
from tasks.work.table_staging import (
    AND,
    COMMA,
    LIVING,
    OR,
    Sides,
    enter,
    entry_of,
    exists_restored,
    restored_of,
    since_then,
    stage,
)
from tasks.work.table_taking import enter_todo, take_over
from tasks.work.table_triggers import without_triggers

_FOUND_ANEW = (
    *(What.LISTED, What.DIFFERS, What.GONE, What.AMBIGUOUS, What.REFUSED, What.UNREADABLE),
)
_KEEP_LOOK = """
INSERT INTO audit_recovery.looks (schema_name, table_name, horizon, rows_seen)
VALUES (%s, %s, %s, %s) ON CONFLICT (schema_name, table_name)
DO UPDATE SET horizon = excluded.horizon, rows_seen = excluded.rows_seen
"""
_LAST_LOOK = (
    "SELECT horizon, rows_seen FROM audit_recovery.looks WHERE schema_name = %s AND table_name = %s"
)


def reconcile_table(sides: Sides, pair: Pair, fence: Fence) -> None:
    """One table, in one transaction of the restored side: the whole, or what is new since.

    Called again it goes on from its last pass. Where rows vanished since then, the whole is
    compared again. Raises ClientError when the living table cannot be read; nothing is changed
    then.
    """
    total, changed, seen = _extent(sides, pair)
    if seen is not None and not changed and total == seen[1]:
        return
    fence()
    with sides.scratch.transaction(), without_triggers(sides.scratch, pair.living.name):
        if seen is None or not pair.key:
            _whole(sides, pair)
        else:
            stage(sides, pair, seen[0])
            if seen[1] + _unknown(sides.scratch, pair) == total:
                _compare(sides, pair)
            else:
                _whole(sides, pair)
        sides.scratch.execute(_KEEP_LOOK, (*pair.living.name, sides.horizon, total))


def _extent(sides: Sides, pair: Pair) -> tuple[int, int, tuple[str, int] | None]:
    """Rows now, rows changed since the last pass, and that pass (horizon, rows)."""
    found = sides.scratch.execute(_LAST_LOOK, pair.living.name).fetchone()
    seen = (str(found[0]), int(found[1])) if found is not None else None
    since = since_then(seen[0]) if seen is not None else sql.SQL("true")
    with postgres.translated(".".join(pair.living.name)), sides.living.transaction():
        row = sides.living.execute(
            sql.SQL("SELECT count(*), count(*) FILTER (WHERE {}) FROM {} AS l").format(
                since, pair.living.sql
            )
        ).fetchone()
    total, changed = row if row is not None else (0, 0)
    return total, changed, seen


def _whole(sides: Sides, pair: Pair) -> None:
    stage(sides, pair, None)
    if pair.restored is not None and pair.key:
        take_out_deleted(sides.scratch, pair)
    sides.scratch.execute(
        "DELETE FROM audit_recovery.entries WHERE schema_name = %s AND table_name = %s"
        " AND key <> '' AND what = ANY(%s) AND detail <> %s",
        (*pair.living.name, [what.value for what in _FOUND_ANEW], HELD_FAST),
    )
    if pair.restored is not None and pair.key:
        list_gone(sides.scratch, pair)
    _compare(sides, pair)
    # Else the next look, for which writers may wait, would be planned as for empty tables.
    sides.scratch.execute("ANALYZE audit_recovery.entries")
    if pair.restored is not None:
        sides.scratch.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*pair.restored.name)))


def _unknown(scratch: Connection[TupleRow], pair: Pair) -> int:
    """Staged rows of which no pass has known."""
    row = scratch.execute(
        sql.SQL(
            "SELECT count(*) FROM {living} l LEFT JOIN audit_recovery.entries e ON {entry}"
            " WHERE e.what = {gone} OR (e.what IS NULL AND NOT {exists})"
        ).format(
            living=LIVING,
            entry=entry_of(pair),
            gone=sql.Literal(What.GONE.value),
            exists=exists_restored(pair),
        )
    ).fetchone()
    return row[0] if row is not None else 0


def _compare(sides: Sides, pair: Pair) -> None:
    scratch = sides.scratch
    if not pair.key:
        _list_by_digest(scratch, pair)
        return
    _set_apart_ambiguous(scratch, pair)
    _find_todo(scratch, pair)
    if pair.rule.rule is Rule.GREATEST and pair.carries:
        keep_greatest(scratch, pair)
    elif pair.restored is not None:
        _list_differing(scratch, pair)
    if pair.carries:
        take_over(sides, pair)
    else:
        enter_todo(scratch, pair, sql.SQL("true"), sql.Literal(What.LISTED.value), pair.why)


def _list_by_digest(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Without a key: rows that stand there more often than in the restored table."""
    known: sql.Composable
    if pair.restored is None:
        known = sql.SQL("(SELECT NULL::bytea AS digest, 0::bigint AS number WHERE false)")
    else:
        known = sql.SQL("(SELECT {} AS digest, count(*) AS number FROM {} AS r GROUP BY 1)").format(
            pair.digest("r"), pair.restored.sql
        )
    rows = sql.SQL(
        "FROM (SELECT s.digest, s.number - coalesce(k.number, 0) AS number FROM {} s"
        " LEFT JOIN {} k USING (digest)) l WHERE l.number > 0"
    ).format(LIVING, known)
    enter(scratch, pair, sql.Literal(What.LISTED.value), rows, pair.why)


def _set_apart_ambiguous(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Keys that stand there twice, or are NULL: nobody can tell which row is meant."""
    names = [sql.Identifier(f"k{place}") for place in range(len(pair.key))]
    null = OR.join(sql.SQL("{} IS NULL").format(name) for name in names)
    grouped = sql.SQL(
        "FROM (SELECT {keys}, min(digest) AS digest, sum(number)::bigint AS number FROM {living}"
        " GROUP BY {keys} HAVING count(*) > 1 OR {null}) l"
    ).format(keys=COMMA.join(names), living=LIVING, null=null)
    enter(scratch, pair, sql.Literal(What.AMBIGUOUS.value), grouped)
    same = AND.join(sql.SQL("l.{0} IS NOT DISTINCT FROM d.{0}").format(name) for name in names)
    scratch.execute(
        sql.SQL(
            "DELETE FROM {living} l USING (SELECT {keys} FROM {living} GROUP BY {keys}"
            " HAVING count(*) > 1 OR {null}) d WHERE {same}"
        ).format(living=LIVING, keys=COMMA.join(names), null=null, same=same)
    )


def _find_todo(scratch: Connection[TupleRow], pair: Pair) -> None:
    """Rows that the restored table lacks and, where a newer one counts, those that changed."""
    keys = [sql.Identifier("l", f"k{place}") for place in range(len(pair.key))]
    lacking = sql.SQL(
        "SELECT {}, l.digest, l.number, {} AS what FROM {} l WHERE NOT {} AND {}"
    ).format(
        COMMA.join(keys),
        sql.Literal(What.CARRIED.value),
        LIVING,
        exists_restored(pair),
        finite(pair),
    )
    parts: list[sql.Composable] = [lacking]
    if pair.restored is not None and pair.carries:
        parts.append(
            sql.SQL(
                "SELECT {}, l.digest, l.number, {} FROM {} l JOIN {} AS r ON {} WHERE {} AND {}"
            ).format(
                COMMA.join(keys),
                _what_changed(pair),
                LIVING,
                pair.restored.sql,
                pair.same_key("l", "r"),
                _is_newer(pair),
                sql.SQL("{} AND NOT {}").format(finite(pair), less(pair))
                if pair.spend
                else sql.SQL("true"),
            )
        )
    scratch.execute(
        sql.SQL(
            "CREATE TEMP TABLE todo AS SELECT row_number() OVER () AS n, t.* FROM ({}) t"
        ).format(sql.SQL(" UNION ALL ").join(parts))
    )
    if pair.spend:
        rows = sql.SQL("FROM {} l WHERE NOT {}").format(LIVING, finite(pair))
        enter(scratch, pair, sql.Literal(What.NO_NUMBER.value), rows)


def _is_newer(pair: Pair) -> sql.Composable:
    """That `l` differs from `r` and is the newer one: by its column, or because `r` is our copy."""
    ours = sql.SQL(
        "EXISTS (SELECT FROM audit_recovery.entries e WHERE {} AND e.what = ANY({}))"
    ).format(entry_of(pair), sql.Literal([What.CARRIED.value, What.CHANGED.value]))
    newer: list[sql.Composable] = [ours]
    if pair.newer is not None:
        newer.append(is_later(pair))
    return sql.SQL("l.digest <> {} AND ({})").format(pair.digest("r"), OR.join(newer))


def _what_changed(pair: Pair) -> sql.Composable:
    """What is entered for a newer row; one that we have put there ourselves stays one of ours."""
    ours = sql.SQL("EXISTS (SELECT FROM audit_recovery.entries e WHERE {} AND e.what = {})").format(
        entry_of(pair), sql.Literal(What.CARRIED.value)
    )
    return sql.SQL("CASE WHEN {} THEN {} WHEN {} THEN {} ELSE {} END").format(
        ours,
        sql.Literal(What.CARRIED.value),
        more(pair) if pair.spend else sql.SQL("false"),
        sql.Literal(What.RAISED.value),
        sql.Literal(What.CHANGED.value),
    )


def _list_differing(scratch: Connection[TupleRow], pair: Pair) -> None:
    taken = _is_newer(pair) if pair.carries else sql.SQL("false")
    rows = sql.SQL("FROM {} l JOIN {} AS r ON {} WHERE l.digest <> {} AND NOT ({})").format(
        LIVING, restored_of(pair), pair.same_key("l", "r"), pair.digest("r"), taken
    )
    enter(scratch, pair, sql.Literal(What.DIFFERS.value), rows, pair.why)
