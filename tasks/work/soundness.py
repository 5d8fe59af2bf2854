"""Whether a restored database is sound, before anybody asks what its records prove.

Pages and indexes as PostgreSQL writes them, every row that the dump had, constraints and indexes
that PostgreSQL itself believes. The ledger's proof covers the audit records; this covers the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import amcheck, postgres
from tasks.domain.errors import NotProven

_SECONDS = 1800.0
_CONNECT_SECONDS = 10.0
_NAMED = 20
_UNPROVEN = """
SELECT format('%I on %s', c.conname, coalesce(c.conrelid::regclass::text, 'a domain')),
       format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.conrelid::regclass, c.conname)
  FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
 WHERE NOT c.convalidated AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1 LIMIT 100
"""
_INVALID = """
SELECT i.indexrelid::regclass::text, format('REINDEX INDEX %s', i.indexrelid::regclass)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1 LIMIT 100
"""


class Weight(StrEnum):
    """What a problem means for the restore."""

    STOPS = "stops"  # the copy is damaged: another backup
    TOLD = "told"  # it is as the dump had it: a person mends it when there is time


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it."""

    weight: Weight
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Soundness:
    """The problems, and which checks could not be made, each with its reason."""

    problems: tuple[Problem, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that a person should read."""
        return (*map(str, self.problems), *self.skipped)

    def require(self) -> tuple[str, ...]:
        """The notes. Raises NotProven when a problem stops the restore."""
        stopping = [str(each) for each in self.problems if each.weight is Weight.STOPS]
        if stopping:
            more = f" and {len(stopping) - _NAMED} more" if len(stopping) > _NAMED else ""
            raise NotProven(
                f"expected the restored database to be sound, found "
                f"{'; '.join(stopping[:_NAMED])}{more}; production is untouched"
            )
        return self.notes


def check(
    dsn: str,
    binaries: Path | None,
    *,
    rows: Mapping[str, int] | None = None,
    install: bool = False,
) -> Soundness:
    """Look at the whole database of `dsn`.

    `rows`: how many each table must have, by the dump's own spelling of its name. `install`: make
    the extension amcheck where it lacks; only for a database that is thrown away.
    """
    checked = amcheck.check(dsn, install=install, binaries=binaries, timeout_seconds=_SECONDS)
    problems = [
        Problem(Weight.STOPS, f"damaged: {each}", "choose another backup")
        for each in checked.findings
    ]
    with postgres.connect(dsn, timeout_seconds=_CONNECT_SECONDS) as connection:
        connection.execute("SET search_path = pg_catalog")  # so that names are qualified
        for table, due in sorted((rows or {}).items()):
            problems += _miscounted(connection, table, due)
        problems += [
            Problem(Weight.TOLD, f"constraint {name} was never validated", remedy)
            for name, remedy in connection.execute(_UNPROVEN).fetchall()
        ]
        problems += [
            Problem(Weight.TOLD, f"index {name} is invalid and unused", remedy)
            for name, remedy in connection.execute(_INVALID).fetchall()
        ]
    skipped = f"pages and indexes were not checked: {checked.skipped}"
    return Soundness(tuple(problems), (skipped,) if checked.skipped else ())


def _miscounted(connection: Connection[TupleRow], table: str, due: int) -> list[Problem]:
    """Whether a table has as many rows as its dump."""
    row = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass(%s)",
        (table,),
    ).fetchone()
    if row is None:
        what = f"table {table} with {due} rows is missing"
        return [Problem(Weight.STOPS, what, "choose another backup")]
    counted = connection.execute(
        sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(*row))
    ).fetchone()
    found = int(counted[0]) if counted else 0
    if found == due:
        return []
    return [Problem(Weight.STOPS, f"table {table} has {found} rows of {due}", "restore again")]
