"""Connections to PostgreSQL servers under care, with every psycopg error translated.

Functions take the connection as an argument; `connect` is the one place that opens one. Session
settings bound what a connection can do to the server: statements and locks time out by default.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection, conninfo, pq, sql
from psycopg.rows import TupleRow

from tasks.clients.errors import ClientError, Conflict, Denied, Malformed, NotFound, Transient

APPLICATION = "runbook"

_BY_CLASS: tuple[tuple[type[psycopg.Error], type[ClientError], str], ...] = (
    (psycopg.errors.InsufficientPrivilege, Denied, "PostgreSQL refused"),
    (psycopg.errors.InvalidPassword, Denied, "PostgreSQL refused the login"),
    (psycopg.errors.InvalidAuthorizationSpecification, Denied, "PostgreSQL refused the login"),
    (psycopg.errors.LockNotAvailable, Transient, "a lock was not granted in time"),
    (psycopg.errors.UndefinedTable, NotFound, "not there"),
    (psycopg.errors.UndefinedColumn, NotFound, "not there"),
    (psycopg.errors.UndefinedObject, NotFound, "not there"),
    (psycopg.errors.InvalidCatalogName, NotFound, "not there"),
    (psycopg.errors.ObjectInUse, Conflict, "in use"),
    (psycopg.errors.DuplicateDatabase, Conflict, "there already"),
    (psycopg.errors.DuplicateTable, Conflict, "there already"),
    (psycopg.errors.IntegrityError, Conflict, "contradicts what is there"),
    (psycopg.errors.ObjectNotInPrerequisiteState, Conflict, "not in the state that it needs"),
    (psycopg.OperationalError, Transient, "PostgreSQL did not answer"),
    (psycopg.Error, Malformed, "expected PostgreSQL to carry it out, found"),
)
_REFUSED_LOGINS = ("password authentication failed", "no pg_hba.conf entry", "permission denied")
_EXCERPT = 300
_BESIDES = re.compile(r"^(?:DETAIL|CONTEXT|HINT|LINE \d+|QUERY|STATEMENT):", re.MULTILINE)
_DATA_EXCEPTION = "22"
"""SQLSTATE class."""

_ONLY_TABLES = """
SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings
 WHERE name = 'restrict_nonsystem_relation_kind'
"""
"""Servers that have not this setting yet go without."""

_SEARCH_PATH = "-c search_path=pg_catalog,public"


def translate(error: psycopg.Error, doing: str) -> ClientError:
    """Our error for a psycopg error, by SQLSTATE; `doing` says what was tried.

    libpq reports a failed login without a SQLSTATE, so there its message decides. DETAIL, CONTEXT
    and HINT are left out, and the value that a type refuses: they quote rows.
    """
    text = without_rows(error)
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        if any(mark in text for mark in _REFUSED_LOGINS):
            return Denied(f"{doing}: PostgreSQL refused the login: {text}")
        if 'database "' in text and "does not exist" in text:
            return NotFound(f"{doing}: not there: {text}")
    return of_kind(type(error), doing, text)


def of_kind(kind: type[psycopg.Error], doing: str, text: str) -> ClientError:
    """Our error for psycopg's class of a SQLSTATE; `text` is what the server said."""
    ours, reason = next((ours, why) for theirs, ours, why in _BY_CLASS if issubclass(kind, theirs))
    return ours(f"{doing}: {reason}: {text}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate psycopg errors that are raised inside; `doing` becomes the message's beginning."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, doing) from error


@contextmanager
def connect(
    dsn: str,
    *,
    timeout_seconds: float,
    statement_seconds: float | None = None,
    autocommit: bool = True,
) -> Iterator[Connection[TupleRow]]:
    """A connection that is closed at the end; errors of the body are translated as well.

    `timeout_seconds` bounds connecting, `statement_seconds` each statement (None: no bound, for
    bulk work). Without autocommit the body is one transaction, committed when it ends well.
    """
    with translated("read the DSN"):
        where = describe(dsn)
    bound = 0 if statement_seconds is None else round(statement_seconds * 1000)
    with translated(f"{where}: connect"):
        connection = psycopg.connect(
            dsn,
            autocommit=autocommit,
            connect_timeout=max(2, round(timeout_seconds)),  # libpq's own minimum
            application_name=APPLICATION,
            # "options" of the DSN come first, so that ours hold; so do they against settings of
            # the database or role, with which a superuser could put other functions before ours.
            options=f"{_options(dsn)} {_SEARCH_PATH} -c statement_timeout={bound}".strip(),
        )
    with translated(where), connection:
        yield connection


def only_read(connection: Connection[TupleRow]) -> None:
    """For reading a damaged database, before its first transaction begins (no autocommit).

    Its owner's functions may run by our mere reading (expressions of indexes, views put in a
    table's place): they cannot write in a transaction that only reads, and views are refused.
    """
    connection.read_only = True
    connection.execute(_ONLY_TABLES)
    connection.commit()


def dsn_of(dsn: str, database: str) -> str:
    """The same server and role, another database."""
    return conninfo.make_conninfo(dsn, dbname=database)


def describe(dsn: str) -> str:
    """Server, database and role for messages; never the password."""
    parts = conninfo.conninfo_to_dict(dsn)
    host = parts.get("host", "localhost")
    return f"{parts.get('user', '')}@{host}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def role_in(dsn: str) -> str:
    """The role that the DSN logs in as; empty when it names none."""
    return str(conninfo.conninfo_to_dict(dsn).get("user") or "")


def environment(dsn: str) -> dict[str, str]:
    """The DSN as libpq's environment variables: so no password stands in an argument list.

    What has no variable is left out (keepalives, the password of a client's key).
    """
    names = {
        each.keyword.decode(): each.envvar.decode()
        for each in pq.Conninfo.get_defaults()
        if each.envvar
    }
    parts = conninfo.conninfo_to_dict(dsn)
    return {names[key]: str(value) for key, value in parts.items() if key in names}


def table_exists(connection: Connection[TupleRow], table: str) -> bool:
    """Whether the table exists; `table` with its schema."""
    row = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return row is not None and row[0] is not None


def lock_against_writers(
    connection: Connection[TupleRow], table: str, timeout_seconds: float
) -> None:
    """SHARE ROW EXCLUSIVE: readers go on, writers wait, until the transaction ends.

    Raises Transient when other sessions keep it from being granted in time.
    """
    connection.execute(
        "SELECT set_config('lock_timeout', %s, true)", (f"{round(timeout_seconds * 1000)}ms",)
    )
    connection.execute(
        sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
            sql.Identifier(*table.split("."))
        )
    )


def without_rows(error: psycopg.Error) -> str:
    """The error's first message, bounded; of what is wrong with a value, not the value."""
    text = " ".join((error.diag.message_primary or _BESIDES.split(str(error))[0]).split())
    if (error.sqlstate or "").startswith(_DATA_EXCEPTION) and '"' in text:
        text = f'{text.partition(chr(34))[0]}"..."'
    return text[:_EXCERPT]


def _options(dsn: str) -> str:
    return str(conninfo.conninfo_to_dict(dsn).get("options", ""))
