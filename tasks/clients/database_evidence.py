"""What a PostgreSQL server says of itself, row by row as JSON, and a dump of a database of it.

Read as bytes: a name or a query need not be text in any encoding, and a row that cannot be decoded
is the one that somebody would like to hide.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from psycopg import IsolationLevel, sql

from tasks.clients import postgres
from tasks.clients.dump_tools import find_program
from tasks.clients.errors import Malformed
from tasks.clients.tool_process import output_of
from tasks.sections.systems import DatabaseSettings

MOST_ROWS = 100_000
_LOCK_WAIT = "5s"
_VERSION_SECONDS = 10.0

_GRANTS = """
SELECT 'database' AS kind, datname::text AS name, datdba::regrole AS owner, datacl::text AS granted
  FROM pg_database
UNION ALL SELECT 'schema', nspname, nspowner::regrole, nspacl::text FROM pg_namespace
UNION ALL SELECT 'relation ' || c.relkind::text, n.nspname || '.' || c.relname,
                 c.relowner::regrole, c.relacl::text
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
UNION ALL SELECT 'function', p.oid::regprocedure::text, p.proowner::regrole, p.proacl::text
            FROM pg_proc p WHERE p.proacl IS NOT NULL OR p.prosecdef
UNION ALL SELECT 'default ' || defaclobjtype::text,
                 CASE WHEN defaclnamespace = 0 THEN '' ELSE defaclnamespace::regnamespace::text END,
                 defaclrole::regrole, defaclacl::text
            FROM pg_default_acl
"""

VIEWS = {
    "pg_stat_activity": "SELECT * FROM pg_stat_activity",
    "pg_locks": "SELECT * FROM pg_locks",
    "pg_stat_replication": "SELECT * FROM pg_stat_replication",
    "pg_roles": "SELECT * FROM pg_roles",
    "pg_auth_members": (
        "SELECT roleid::regrole, member::regrole, grantor::regrole, admin_option"
        " FROM pg_auth_members"
    ),
    "pg_db_role_setting": "SELECT * FROM pg_db_role_setting",
    "grants": _GRANTS,
    "pg_settings": "SELECT * FROM pg_settings",
    "pg_hba_file_rules": "SELECT * FROM pg_hba_file_rules",
}
"""Queries by the name under which their answer is kept; none names an object of a user's."""

SERVER_DATABASE = "postgres"
OF_SERVER = frozenset({"pg_hba_file_rules"})
"""Views that need a grant: given in `postgres`, since dumps of the audited database would hold it,
and whoever restores one may not grant it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a database that several sessions can read while the first is open."""

    id: str
    taken_at: str
    wal: str


def rows_of(dsn: str, view: str, seconds: float, connect_seconds: float) -> Iterator[bytes]:
    """Each row of a view as a line of JSON. Raises Denied where we may not look, Malformed if many.

    One statement, bounded in time, in a transaction that only reads.
    """
    query = f"SELECT textsend(to_json(found)::text) FROM ({VIEWS[view]}) AS found"  # noqa: S608  ours
    with postgres.connect(
        dsn, timeout_seconds=connect_seconds, statement_seconds=seconds, autocommit=False
    ) as connection:
        postgres.only_read(connection)
        with postgres.translated(f"read {view}"):
            found = connection.execute(query, binary=True)
            for number, (row,) in enumerate(found, 1):
                if number > MOST_ROWS:
                    raise Malformed(f"expected at most {MOST_ROWS} rows of {view}, found more")
                yield bytes(row) + b"\n"


@contextmanager
def snapshot(dsn: str, connect_seconds: float) -> Iterator[Snapshot]:
    """A repeatable-read snapshot that others can join while the body runs."""
    with postgres.connect(dsn, timeout_seconds=connect_seconds, autocommit=False) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        postgres.only_read(connection)
        with postgres.translated("take a snapshot"):
            row = connection.execute(
                "SELECT pg_export_snapshot(), now()::text, CASE WHEN pg_is_in_recovery()"
                " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"
            ).fetchone()
        if row is None:
            raise Malformed("expected the name of a snapshot, found no row")
        yield Snapshot(*(str(each) for each in row))


def dump_arguments(database: DatabaseSettings, taken: Snapshot) -> list[str]:
    """pg_dump of a whole database from that snapshot, to its output in the custom format.

    It waits for no lock that somebody holds longer than a moment: nobody shall queue behind it.
    """
    return [
        str(find_program("pg_dump", database.client_binaries)),
        "--format=custom",
        "--compress=gzip:1",
        f"--snapshot={taken.id}",
        f"--lock-wait-timeout={_LOCK_WAIT}",
    ]


@contextmanager
def dumping(dsn: str, arguments: list[str], seconds: float) -> Iterator[BinaryIO]:
    """The dump as it comes. Raises Denied when the role may not read all of it."""
    with output_of(arguments, seconds, stdin=subprocess.DEVNULL, uid=None, dsn=dsn) as out:
        yield out


def dump_version(database: DatabaseSettings) -> str:
    """What `pg_dump --version` says, such as 18.6."""
    program = str(find_program("pg_dump", database.client_binaries))
    with output_of(
        [program, "--version"], _VERSION_SECONDS, stdin=subprocess.DEVNULL, uid=None
    ) as out:
        return out.read(200).decode("ascii", "replace").strip().rpartition(" ")[2]


def may_read_all(dsn: str, connect_seconds: float) -> bool:
    """Whether the role may read every table of the database: pg_dump stops at the first it may not.

    What nobody but the system reads is not asked about.
    """
    query = sql.SQL(
        "SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't'"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        " AND NOT (has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind"
        " WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')"
        " ELSE has_table_privilege(c.oid, 'SELECT') END))"
    )
    with postgres.connect(
        dsn, timeout_seconds=connect_seconds, statement_seconds=connect_seconds
    ) as connection:
        row = connection.execute(query).fetchone()
        return row is not None and row[0] is True
