"""The book of a reconciliation: what became of each row, in a schema of its own beside the data.

It is written in the transaction that moves the rows, goes with the database through the swap, and
is taken out when its list is sealed. A key names a row; one that is longer than 200 characters is
there as its SHA-256, and no other content of a row ever is.
"""

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.domain.reconciled import Reconciled, What
from tasks.domain.reconciliation_rules import TableName
from tasks.work.table_shapes import WORK_SCHEMA

_MAKE = """
CREATE SCHEMA audit_recovery;
REVOKE ALL ON SCHEMA audit_recovery FROM PUBLIC;
CREATE TABLE audit_recovery.about (
    incident text NOT NULL, backup_size bigint NOT NULL, production bigint,
    releases_to bigint NOT NULL DEFAULT 0, erasures_to bigint NOT NULL,
    signed bigint NOT NULL DEFAULT 0, tail_to bigint NOT NULL DEFAULT 0,
    sequences bigint NOT NULL DEFAULT 0, living boolean NOT NULL DEFAULT false);
CREATE TABLE audit_recovery.looks (
    schema_name text, table_name text, horizon text NOT NULL, rows_seen bigint NOT NULL,
    PRIMARY KEY (schema_name, table_name));
CREATE TABLE audit_recovery.entries (
    schema_name text, table_name text, key text, what text NOT NULL, digest text NOT NULL,
    detail text NOT NULL, number bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (schema_name, table_name, key));
CREATE TABLE audit_recovery.spent (key text[] PRIMARY KEY, spend numeric[] NOT NULL);
"""
_ABOUT = "SELECT incident, production FROM audit_recovery.about"
_BEGIN = """
INSERT INTO audit_recovery.about (incident, backup_size, production, erasures_to)
VALUES (%s, %s, %s, %s)
"""
_ADD = """
INSERT INTO audit_recovery.entries (schema_name, table_name, key, what, digest, detail, number)
VALUES (%s, %s, %s, %s, '', %s, %s)
ON CONFLICT (schema_name, table_name, key) DO UPDATE SET what = excluded.what,
    detail = excluded.detail, number = excluded.number
"""
_COUNT_ON = """
INSERT INTO audit_recovery.entries AS e
    (schema_name, table_name, key, what, digest, detail, number)
VALUES (%s, %s, %s, %s, '', '', %s)
ON CONFLICT (schema_name, table_name, key) DO UPDATE SET number = e.number + excluded.number
"""
_COUNTS = """
SELECT schema_name, table_name, what, sum(number) FROM audit_recovery.entries GROUP BY 1, 2, 3
"""
_STATE = "SELECT sequences, living FROM audit_recovery.about"


def has_book(connection: Connection[TupleRow], incident: str) -> bool:
    """Whether the database holds the book of this incident; one that a dump brought is another's.

    A half-made book cannot be: it is made in one transaction.
    """
    row = connection.execute("SELECT to_regclass('audit_recovery.about') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return False
    found = connection.execute(_ABOUT).fetchone()
    return found is not None and found[0] == incident


def open_book(
    scratch: Connection[TupleRow], incident: str, backup_size: int, production: int | None
) -> None:
    """Begin the book, or find it again. `production`: the oid of the living database.

    Another living database under the name makes every pass so far void: it begins anew.
    """
    if has_book(scratch, incident):
        found = scratch.execute(_ABOUT).fetchone()
        if found is not None and found[1] == production:
            return
        scratch.execute("DELETE FROM audit_recovery.looks")
        scratch.execute("UPDATE audit_recovery.about SET production = %s", (production,))
        return
    with scratch.transaction():
        remove_book(scratch)
        scratch.execute(_MAKE)
        scratch.execute(_BEGIN, (incident, backup_size, production, backup_size))


def remove_book(connection: Connection[TupleRow]) -> None:
    """Take the schema out again."""
    connection.execute(
        sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(WORK_SCHEMA))
    )


def note(
    scratch: Connection[TupleRow],
    table: TableName,
    key: str,
    what: What,
    detail: str = "",
    number: int = 1,
) -> None:
    """Write one entry that is not about a row that a statement has at hand."""
    scratch.execute(_ADD, (*table, key, what.value, detail, number))


def count_on(
    scratch: Connection[TupleRow], table: TableName, key: str, what: What, number: int
) -> None:
    """Write one entry, or add to its number."""
    scratch.execute(_COUNT_ON, (*table, key, what.value, number))


def read_book(connection: Connection[TupleRow]) -> Reconciled:
    """The numbers of the book."""
    counts: dict[str, dict[What, int]] = {}
    for schema, table, what, number in connection.execute(_COUNTS):
        counts.setdefault(f"{schema}.{table}", {})[What(what)] = int(number)
    row = connection.execute(_STATE).fetchone()
    sequences, living = row if row is not None else (0, False)
    return Reconciled(counts, sequences, living)
