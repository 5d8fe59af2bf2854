"""A stranger's database in a throw-away instance, freed of what is not known.

Everything is done as the role that owns it all and is no superuser: whatever a hostile definition
makes run meanwhile runs with no rights that its author did not have already.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError
from tasks.domain.errors import NotProven
from tasks.domain.screening import Item, Reference, lacking, left_out, reference_of

_HARMLESS = (
    *("now", "statement_timestamp", "transaction_timestamp", "clock_timestamp", "timezone"),
    *("date_trunc", "date_part", "date", "timestamp", "timestamptz", "time", "timetz", "to_char"),
    *("age", "nextval", "gen_random_uuid", "uuidv4", "uuidv7", "random", "concat", "concat_ws"),
    *("format", "array_to_string", "to_json", "to_jsonb", "json_build_object"),
    *("jsonb_build_object", "timestamp_mi", "timestamptz_pl_interval", "timestamptz_mi_interval"),
)
_PINNED = """
SET search_path = pg_catalog; SET client_min_messages = notice; SET quote_all_identifiers = off;
SET extra_float_digits = 1; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'
"""
"""What decides how a definition reads, and whether we hear what goes: a database may set it too."""

_LAST = ("procedure", "function", "aggregate", "schema")  # much hangs on them
_TAKEN = re.compile(r"cascades to (?:column|table) ")
_STATEMENT_SECONDS = 300.0
_ROUNDS = 5
_MOST_NOTES = 200
_NOTICE_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Screened:
    """What was left out, and what is missing, in sentences."""

    notes: tuple[str, ...]


def catalog(connection: Connection[TupleRow]) -> list[Item]:
    """Everything in the database that runs by itself, or lets others in."""
    connection.execute(_PINNED)
    rows = connection.execute(_query(), {"harmless": list(_HARMLESS)}).fetchall()
    return [Item(*row) for row in rows]


def read_reference(dsn: str, *, timeout_seconds: float) -> Reference:
    """What production has; an empty reference when it cannot be read (dropped, unreachable)."""
    try:
        with postgres.connect(
            dsn, timeout_seconds=timeout_seconds, statement_seconds=_STATEMENT_SECONDS
        ) as connection:
            connection.execute("SET default_transaction_read_only = on")
            return reference_of(catalog(connection), "production")
    except ClientError:
        return Reference()


def shipped_reference(schema: Path, owner: str, superuser: str) -> Reference:
    """What a schema file makes, in an empty database of a throw-away instance.

    `owner`, `superuser`: DSNs of that database. Raises ClientError when the file does not load.
    """
    text = schema.read_bytes()
    with postgres.connect(superuser, timeout_seconds=10) as admin:
        while True:
            try:
                with (
                    postgres.connect(owner, timeout_seconds=10) as connection,
                    connection.transaction(),
                ):
                    connection.execute("SET LOCAL search_path = public")
                    connection.execute(text)
            except ClientError as error:
                _make_missing_role(admin, error)
            else:
                break
    with postgres.connect(owner, timeout_seconds=10) as connection:
        return reference_of(catalog(connection), f"the schema {schema.name}")


def screen(dsn: str, reference: Reference) -> Screened:
    """Leave out of the database what the reference does not know.

    `dsn`: the owner's, no superuser. Raises NotProven when something cannot be left out; then the
    database must not be used.
    """
    notes: list[str] = []
    with postgres.connect(
        dsn, timeout_seconds=10, statement_seconds=_STATEMENT_SECONDS
    ) as connection:
        connection.add_notice_handler(lambda notice: _cascaded(notice, notes))
        for _ in range(_ROUNDS):
            items = catalog(connection)
            strange = [each for each in items if not reference.accepts(each)]
            strange.sort(key=lambda each: each.kind in _LAST)
            if not strange:
                break
            removed = [each for each in strange if _remove(connection, each)]
            notes += [left_out(each, reference) for each in removed]
            if not removed:
                break
        if strange:
            named = ", ".join(str(each)[:120] for each in strange[:10])
            raise NotProven(
                f"expected to leave out what is not known, found that it cannot be done for "
                f"{named}: choose another backup; production is untouched"
            )
    if taken := [each for each in notes if _TAKEN.search(each)]:
        raise NotProven(
            f"expected tables and their columns to stay, found that what nobody knows takes some "
            f"with it: {taken[0][:300]}: choose another backup; production is untouched"
        )
    if missing := lacking(items, reference):
        notes.append(missing)
    if len(notes) > _MOST_NOTES:
        notes = [*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more of the kind"]
    return Screened(tuple(notes))


def _remove(connection: Connection[TupleRow], item: Item) -> bool:
    """Whether it is gone, by our statement or with something removed before it."""
    if not item.removal:
        return False
    try:
        connection.execute(item.removal.encode())
    except (psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable):
        return True
    except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedColumn):
        return True
    except psycopg.Error:
        return False
    return True


def _cascaded(notice: psycopg.errors.Diagnostic, notes: list[str]) -> None:
    """What went with something else; a column or a constraint may be among it."""
    texts = (notice.message_primary or "", notice.message_detail or "")
    notes.extend(" ".join(each[:_NOTICE_BYTES].split()) for each in texts if "cascades to" in each)


def _make_missing_role(admin: Connection[TupleRow], error: ClientError) -> None:
    """The role that the file's grants name. Raises `error` when it complains of something else."""
    cause = error.__cause__
    words = (cause.diag.message_primary or "") if isinstance(cause, psycopg.Error) else ""
    name = words.removeprefix('role "').partition('"')[0]
    if not words.startswith('role "') or not words.endswith("does not exist"):
        raise error
    admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(sql.Identifier(name)))


@cache
def _query() -> bytes:
    return files("tasks.work").joinpath("screening_catalog.sql").read_bytes()
