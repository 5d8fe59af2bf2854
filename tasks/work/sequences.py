"""Sequences of the restored database, moved past every number that the living one has given.

A number that was given once may be known outside, so it is never given again. Numbers in a column
count as well, but not one that nobody can have been given: it would leave the sequence no room.
"""

from psycopg import Connection, sql
from psycopg.rows import TupleRow

_VALUES = """
SELECT schemaname::text, sequencename::text, last_value, increment_by > 0, min_value, max_value
  FROM pg_sequences WHERE schemaname NOT LIKE 'pg\\_%' ORDER BY 1, 2 LIMIT 10000
"""
_OWNED = """
SELECT sn.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, a.attname::text
  FROM pg_depend d
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_namespace sn ON sn.oid = s.relnamespace
  JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
   AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
"""


def move_sequences_on(
    scratch: Connection[TupleRow], living: Connection[TupleRow] | None, *, columns: bool
) -> int:
    """Set each sequence to the furthest of both sides; how many were moved.

    `columns`: the values in the column that owns it count too.
    """
    theirs: dict[tuple[str, str], int] = {}
    if living is not None:
        rows = living.execute(_VALUES).fetchall()
        theirs = {(row[0], row[1]): row[2] for row in rows if row[2] is not None}
    owned = {}
    if columns:
        owned = {(row[0], row[1]): row[2:] for row in scratch.execute(_OWNED).fetchall()}
    moved = 0
    for schema, name, last, rises, least, most in scratch.execute(_VALUES).fetchall():
        known = [theirs[schema, name]] if (schema, name) in theirs else []
        if (schema, name) in owned:
            far = max if rises else min
            given = far([*known, *([last] if last is not None else [])], default=0)
            bound = _plausible(given, least, most, rises=rises)
            known += _end_of_column(scratch, owned[schema, name], bound, rises=rises)
        if not known:
            continue
        furthest = max(known) if rises else min(known)
        furthest = min(max(furthest, least), most)
        if last is None or (furthest > last if rises else furthest < last):
            scratch.execute(
                "SELECT setval(format('%%I.%%I', %s::text, %s::text)::regclass, %s)",
                (schema, name, furthest),
            )
            moved += 1
    return moved


def _plausible(given: int, least: int, most: int, *, rises: bool) -> int:
    """Up to where a number may have been given: half of the way, unless some beyond it were."""
    middle = (least + most) // 2
    if rises:
        return most if given > middle else middle
    return least if given < middle else middle


def _end_of_column(
    scratch: Connection[TupleRow], column: TupleRow, bound: int, *, rises: bool
) -> list[int]:
    schema, table, name = column
    row = scratch.execute(
        sql.SQL("SELECT {}({})::bigint FROM {} WHERE {} {} {}").format(
            sql.SQL("max" if rises else "min"),
            sql.Identifier(name),
            sql.Identifier(schema, table),
            sql.Identifier(name),
            sql.SQL("<=" if rises else ">="),
            sql.Literal(bound),
        )
    ).fetchone()
    return [row[0]] if row is not None and row[0] is not None else []
