"""How the tables of a database are built, from its catalogue: what may be compared and copied.

Values leave a database by their types' own output functions alone (COPY, format). A cast could be
somebody's function, and the damaged database is not to be trusted with our role. So keys must be
of types that PostgreSQL itself brings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.domain.reconciliation_rules import TableName

WORK_SCHEMA = "audit_recovery"
"""In the scratch database, and until its list is sealed in production: what became of each row."""

MAX_TABLES = 2000

SAME_TEXT = (
    "SET TimeZone TO 'UTC'; SET DateStyle TO 'ISO, YMD'; SET IntervalStyle TO 'postgres';"
    " SET extra_float_digits TO 1; SET bytea_output TO 'hex'; SET xmloption TO 'content';"
    " SET lc_monetary TO 'C'; SET row_security TO off"
)
"""For both sides: the same value is the same text, and no policy of a table hides rows or runs."""

_TABLES = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind = 'r',
       pg_get_userbyid(c.relowner)::text, count(*) OVER ()
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'audit_recovery')
   AND NOT (n.nspname = 'public' AND c.relname IN ('audit_records', 'audit_recovery_spare'))
 ORDER BY n.nspname, c.relname LIMIT 2000
"""
_COLUMNS = """
SELECT a.attrelid::bigint, a.attname::text, format_type(a.atttypid, a.atttypmod),
       t.typnamespace = 'pg_catalog'::regnamespace, a.attgenerated <> '', a.attidentity = 'a'
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid::bigint = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
"""
_UNIQUE = """
SELECT i.indrelid::bigint, i.indisprimary,
       array(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(num, place)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
              WHERE k.place <= i.indnkeyatts ORDER BY k.place)
  FROM pg_index i
 WHERE i.indrelid::bigint = ANY(%s) AND i.indisunique AND i.indimmediate AND i.indisvalid
   AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_REFERENCES = """
SELECT cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text
  FROM pg_constraint f
  JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE f.contype = 'f'
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `type` as SQL spells it; `built_in`: PostgreSQL's own type."""

    name: str
    type: str
    built_in: bool
    generated: bool
    always: bool

    @property
    def sql(self) -> sql.Identifier:
        """Its name in a statement."""
        return sql.Identifier(self.name)


@dataclass(frozen=True, slots=True)
class Shape:
    """A table. `plain`: no partitions, so that `ONLY` leaves out tables that inherit from it."""

    name: TableName
    owner: str
    plain: bool
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    unique: frozenset[frozenset[str]]

    @property
    def sql(self) -> sql.Composable:
        """Its name in a FROM."""
        only = sql.SQL("ONLY ") if self.plain else sql.SQL("")
        return only + sql.Identifier(*self.name)

    def column(self, name: str) -> Column | None:
        """One of its columns."""
        return next((each for each in self.columns if each.name == name), None)

    def is_unique(self, key: tuple[str, ...]) -> bool:
        """Whether an index makes sure that no two rows have the same key."""
        return any(columns <= set(key) for columns in self.unique)


def shapes(connection: Connection[TupleRow]) -> dict[TableName, Shape]:
    """The tables of people, without the audit log itself and without ours; at most `MAX_TABLES`."""
    found = connection.execute(_TABLES).fetchall()
    oids = [row[0] for row in found]
    columns: dict[int, list[Column]] = {}
    for oid, name, kind, built_in, generated, always in connection.execute(_COLUMNS, (oids,)):
        columns.setdefault(oid, []).append(Column(name, kind, built_in, generated, always))
    primary: dict[int, tuple[str, ...]] = {}
    unique: dict[int, set[frozenset[str]]] = {}
    for oid, is_primary, names in connection.execute(_UNIQUE, (oids,)):
        unique.setdefault(oid, set()).add(frozenset(names))
        if is_primary:
            primary[oid] = tuple(names)
    return {
        (schema, table): Shape(
            (schema, table),
            owner,
            plain,
            tuple(columns.get(oid, ())),
            primary.get(oid, ()),
            frozenset(unique.get(oid, ())),
        )
        for oid, schema, table, plain, owner, _ in found
    }


def count_tables(connection: Connection[TupleRow]) -> int:
    """How many tables there are, those that `shapes` leaves out included."""
    row = connection.execute(_TABLES).fetchone()
    return int(row[-1]) if row is not None else 0


def references(connection: Connection[TupleRow]) -> set[tuple[TableName, TableName]]:
    """(child, parent) for each foreign key."""
    rows = connection.execute(_REFERENCES).fetchall()
    return {((child_in, child), (parent_in, parent)) for child_in, child, parent_in, parent in rows}


def why_not_carried(living: Shape, restored: Shape) -> str:
    """Why rows of one cannot become rows of the other as they are; empty when they can."""
    theirs: Mapping[str, Column] = {each.name: each for each in restored.columns}
    wrong = [
        each.name
        for each in living.columns
        if not each.generated
        and (
            each.name not in theirs
            or theirs[each.name].generated
            or theirs[each.name].type != each.type
        )
    ]
    return f"columns that the backup has not, or of another type: {len(wrong)}" if wrong else ""
