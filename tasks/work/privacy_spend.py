"""Privacy spend in the restored table against the releases that the log proves.

What has been released cannot be un-released: the table ends with the greatest of the backup's, the
living table's and the log's word. Each contradiction is an entry of the list, and no release is
allowed until a person has looked at them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError
from tasks.domain.reconciled import What
from tasks.domain.reconciliation_rules import Releases, TableRule, at_path
from tasks.work.log_events import amount, events_of
from tasks.work.reconciliation_book import note
from tasks.work.table_pairs import Pair, pair_of
from tasks.work.table_shapes import Column, Shape
from tasks.work.table_taking import raise_if_passing, reason_of
from tasks.work.table_triggers import without_triggers

_WINDOW = 65_536
"""Records whose releases are added up at a time."""

_KEY_LIMIT = 200
_ROUNDED, _SINGLE = sql.SQL("1.000000001"), sql.SQL("1.00001")
"""How far a sum may be off, as a factor, because binary columns round: a delta is tiny itself."""

_MERGE = """
INSERT INTO audit_recovery.spent AS s (key, spend) VALUES (%s, %s::numeric[])
ON CONFLICT (key) DO UPDATE SET spend = ARRAY(
    SELECT mine + more FROM unnest(s.spend, excluded.spend) AS t(mine, more))
"""
_TO = "SELECT releases_to FROM audit_recovery.about"
_ENTER = sql.SQL(
    "INSERT INTO audit_recovery.entries"
    " (schema_name, table_name, key, what, digest, detail, number)"
    " SELECT {schema}, {table}, 'spend of ' || {key}, {what}, '', '', 1 {rows}"
    " ON CONFLICT (schema_name, table_name, key) DO UPDATE SET what = excluded.what"
)
_NOT_IN_TABLE = "spend that is not in the table"
_NOT_RAISED = "spend that the table does not take"
_COMMA, _OR = sql.SQL(", "), sql.SQL(" OR ")


def add_releases(scratch: Connection[TupleRow], releases: Releases, end: int) -> None:
    """Add up the releases up to record `end`, each once, however often this is called."""
    row = scratch.execute(_TO).fetchone()
    first = int(row[0]) if row is not None else 0
    while first < end:
        until = min(first + _WINDOW, end)
        spent: dict[tuple[str, ...], list[Decimal]] = {}
        bad = 0
        for _, event in events_of(scratch, releases.event_type, first, until):
            charge = _charge_of(releases, event)
            if charge is None:
                bad += 1
                continue
            key, amounts = charge
            known = spent.get(key)
            spent[key] = [a + b for a, b in zip(known, amounts, strict=True)] if known else amounts
        with scratch.transaction():
            with scratch.cursor() as cursor:
                cursor.executemany(_MERGE, [(list(key), sums) for key, sums in spent.items()])
            if bad:
                note(scratch, releases.table, f"releases from {first}", What.BAD_RELEASE, "", bad)
            scratch.execute("UPDATE audit_recovery.about SET releases_to = %s", (until,))
        first = until


def _charge_of(
    releases: Releases, event: Mapping[str, Any]
) -> tuple[tuple[str, ...], list[Decimal]] | None:
    key = [at_path(event, path) for _, path in releases.key]
    amounts = [amount(event, path) for _, path in releases.spend]
    known = [each for each in amounts if each is not None]
    texts = [each for each in key if isinstance(each, str) and "\0" not in each]
    if len(known) < len(amounts) or len(texts) < len(key):
        return None
    return None if any(len(text) > _KEY_LIMIT for text in texts) else (tuple(texts), known)


def compare_spend(
    scratch: Connection[TupleRow], releases: Releases, rule: TableRule, shape: Shape | None
) -> None:
    """Raise the table to what the log says, and enter each contradiction; production stands still.

    Called while writers wait, so that event and table are those of one moment.
    """
    row = scratch.execute("SELECT count(*) FROM audit_recovery.spent").fetchone()
    released = row[0] if row is not None else 0
    pair = pair_of(shape, shape, rule) if shape is not None else None
    if pair is None or not pair.carries:
        if released:
            note(scratch, releases.table, "spend", What.UNCHARGED, "no table to charge", released)
        return
    with scratch.transaction(), without_triggers(scratch, pair.living.name):
        _compare(scratch, releases, pair)


def _compare(scratch: Connection[TupleRow], releases: Releases, pair: Pair) -> None:
    columns = {each.name: each for each in pair.compared}
    keys = [columns[name] for name, _ in releases.key]
    spends = [columns[name] for name, _ in releases.spend]
    logged = [sql.SQL("s.spend[{}]").format(sql.Literal(n)) for n in range(1, len(spends) + 1)]
    key = _COMMA.join(sql.SQL("r.{}::text").format(each.sql) for each in keys)
    joined = sql.SQL("FROM {} AS r LEFT JOIN audit_recovery.spent s ON s.key = ARRAY[{}]").format(
        pair.living.sql, key
    )
    shown = sql.SQL("left(ARRAY[{}]::text, 200)").format(key)
    more = _OR.join(
        sql.SQL("{} > coalesce(r.{}::numeric, 0) * {}").format(mine, each.sql, _rounding(each))
        for mine, each in zip(logged, spends, strict=True)
    )
    less = _OR.join(
        sql.SQL("r.{}::numeric > coalesce({}, 0) * {}").format(each.sql, mine, _rounding(each))
        for mine, each in zip(logged, spends, strict=True)
    )
    _enter(scratch, pair, What.UNRELEASED, shown, joined + sql.SQL(" WHERE ") + less)
    _enter(scratch, pair, What.UNCHARGED, shown, joined + sql.SQL(" WHERE ") + more)
    found = scratch.execute(sql.SQL("SELECT s.key {} WHERE {}").format(joined, more)).fetchall()
    raising = sql.SQL(
        "UPDATE {} AS r SET {} FROM audit_recovery.spent s WHERE s.key = ARRAY[{}] AND ({})"
    ).format(
        pair.living.sql,
        _COMMA.join(
            sql.SQL("{0} = greatest(r.{0}, {1}::{2})").format(each.sql, mine, sql.SQL(each.type))
            for mine, each in zip(logged, spends, strict=True)
        ),
        key,
        more,
    )
    _charge(scratch, pair, raising, [each for (each,) in found], _NOT_RAISED)
    _add_missing(scratch, pair, keys, spends, logged)


def _add_missing(
    scratch: Connection[TupleRow],
    pair: Pair,
    keys: list[Column],
    spends: list[Column],
    logged: list[sql.Composed],
) -> None:
    """A row for each key that was released for and never charged, where the table allows it."""
    known = sql.SQL(" AND ").join(
        sql.SQL("r.{}::text = s.key[{}]").format(each.sql, sql.Literal(place))
        for place, each in enumerate(keys, 1)
    )
    missing = sql.SQL(
        "FROM audit_recovery.spent s WHERE NOT EXISTS (SELECT FROM {} AS r WHERE {})"
    ).format(pair.living.sql, known)
    _enter(scratch, pair, What.UNCHARGED, sql.SQL("left(s.key::text, 200)"), missing)
    values = [
        *(
            sql.SQL("s.key[{}]::{}").format(sql.Literal(place), sql.SQL(each.type))
            for place, each in enumerate(keys, 1)
        ),
        *(
            sql.SQL("{}::{}").format(mine, sql.SQL(each.type))
            for mine, each in zip(logged, spends, strict=True)
        ),
    ]
    found = scratch.execute(sql.SQL("SELECT s.key {}").format(missing)).fetchall()
    _charge(
        scratch,
        pair,
        sql.SQL("INSERT INTO {} ({}) SELECT {} {}").format(
            sql.Identifier(*pair.living.name),
            _COMMA.join(each.sql for each in [*keys, *spends]),
            _COMMA.join(values),
            missing,
        ),
        [key for (key,) in found],
        _NOT_IN_TABLE,
    )


def _charge(
    scratch: Connection[TupleRow],
    pair: Pair,
    statement: sql.Composed,
    keys: Sequence[list[str]],
    otherwise: str,
) -> None:
    """Each key's row; one that is refused keeps none of the others out, and is noted."""
    if _why_refused(scratch, statement) is None:
        return
    of_key = statement + sql.SQL(" AND s.key = ")
    refused = [_why_refused(scratch, of_key + sql.Literal(key)) for key in keys]
    reasons = [reason for reason in refused if reason is not None]
    if reasons:
        why = ", ".join(sorted(set(reasons)))
        note(scratch, pair.living.name, otherwise, What.REFUSED, why, len(reasons))


def _why_refused(scratch: Connection[TupleRow], statement: sql.Composed) -> str | None:
    """Carry it out, or undo it and say why not."""
    try:
        with postgres.translated("charge what was released"), scratch.transaction():
            scratch.execute(statement)
    except ClientError as error:
        raise_if_passing(error)
        return reason_of(error)
    return None


def _rounding(column: Column) -> sql.SQL:
    return _SINGLE if column.type == "real" else _ROUNDED


def _enter(
    scratch: Connection[TupleRow],
    pair: Pair,
    what: What,
    key: sql.Composable,
    rows: sql.Composable,
) -> None:
    schema, table = pair.living.name
    scratch.execute(
        _ENTER.format(
            schema=sql.Literal(schema),
            table=sql.Literal(table),
            key=key,
            what=sql.Literal(what.value),
            rows=rows,
        )
    )
