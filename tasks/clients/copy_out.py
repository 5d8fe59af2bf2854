"""COPY TO STDOUT by psql, in a process of its own: what a bulk reader takes on one connection.

psycopg gives a COPY out row by row, and each row is a call that holds the interpreter: more than
half of the time that reading and hashing a table takes. psql writes the same bytes into a pipe, so
that one process reads while the other one hashes. It joins the snapshot of the caller's own
transaction, which stays open meanwhile.
"""

import fcntl
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psycopg
from psycopg import Connection, conninfo, sql
from psycopg.rows import TupleRow

from tasks.clients.errors import Transient
from tasks.clients.postgres import of_kind, translated
from tasks.clients.tool_process import ProgramFailed, output_of

_MOST_SECONDS = 24 * 3600.0
_PIPE_BYTES = 1024 * 1024
"""What an unprivileged process may have (fs.pipe-max-size)."""

_DOING = "read by psql"
_STATE = re.compile(r"\b(?:ERROR|FATAL): {1,2}([0-9A-Z]{5}): ")
_SNAPSHOT_ENDED = frozenset({"22023", "55000"})
"""invalid_parameter_value, object_not_in_prerequisite_state: what SET TRANSACTION SNAPSHOT says."""

_JOINED = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SET TRANSACTION SNAPSHOT {}",
    "SET LOCAL enable_sort = off",
)


@contextmanager
def copied(
    connection: Connection[TupleRow], query: sql.Composed, psql: Path, session: Sequence[str]
) -> Iterator[Callable[[], bytes]]:
    """Yields what gives the next bytes of `COPY (query) TO STDOUT (FORMAT BINARY)`, b"" at last.

    `connection`: of `connect`, in a transaction whose snapshot is read; psql's session has its
    options, and the settings `session`. Errors of the server are those that `connect` makes.
    """
    arguments = [
        str(psql),
        *("--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"),
        "--set=VERBOSITY=verbose",  # which adds the SQLSTATE
        *(f"--command={each}" for each in (*session, *_statements(connection, query))),
    ]
    # psycopg's own has the one host and address that it reached: others have not this snapshot
    dsn = conninfo.make_conninfo(connection.info.dsn, password=connection.info.password)
    with (
        _by_state(),
        output_of(arguments, _MOST_SECONDS, stdin=subprocess.DEVNULL, uid=None, dsn=dsn) as out,
    ):
        _widen(out)
        yield lambda: out.read(_PIPE_BYTES)


def _statements(connection: Connection[TupleRow], query: sql.Composed) -> Iterator[str]:
    with translated("share a snapshot"):
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    snapshot = str(row[0]) if row else ""
    for each in _JOINED:
        yield sql.SQL(each).format(snapshot).as_string(connection)
    copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
    yield copy.as_string(connection)


@contextmanager
def _by_state() -> Iterator[None]:
    """What psql failed of, by the SQLSTATE of the server: without one it was not the rows."""
    try:
        yield
    except ProgramFailed as error:
        state = _STATE.search(error.complaint)
        said = error.complaint or str(error)
        if state is None or state[1] in _SNAPSHOT_ENDED:
            raise Transient(f"{_DOING}: {said}") from error
        raise of_kind(_kind(state[1]), _DOING, said) from error


def _kind(state: str) -> type[psycopg.Error]:
    try:
        return psycopg.errors.lookup(state)
    except KeyError:  # of an extension, or of a newer server
        return psycopg.DatabaseError


def _widen(out: BinaryIO) -> None:
    """A wider pipe, for fewer turns between the two processes, where that is allowed."""
    with suppress(OSError):
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
