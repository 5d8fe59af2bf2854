"""The patient's database: roles of least privilege, the table, and a fast way to fill it."""

from collections.abc import Iterable
from importlib.resources import files

import psycopg
from psycopg import sql

from deployments.lab import side_tables
from deployments.lab.dataset import Row
from deployments.lab.postgres import PostgresServer

DATABASE = "rlhf_audit"
OWNER = "audit_owner"

_LOGINS = {
    "audit_api": "",  # appends and reads, cannot change or remove
    "audit_reader": "",  # checks, verification, evidence
    "audit_recovery": "CREATEDB",  # may restore, rename and end sessions; no superuser
    "audit_isolation": "CREATEROLE",  # may lock the roles that it administers; reads no table
    "sealer": "",  # reads what it signs
}
PEOPLE = ("analyst", "dba")
"""Logins of people who read the audit trail by hand."""

LOCKABLE = ("audit_api", *PEOPLE)
"""Roles that an isolation may lock."""

_COPY = "COPY audit_records (seq, record, leaf, event_type) FROM STDIN (FORMAT BINARY)"


def set_up(server: PostgresServer) -> None:
    """Roles, the database and its schema in a running, empty cluster."""
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(OWNER)))
    for role, attributes in (*_LOGINS.items(), *((person, "") for person in PEOPLE)):
        server.add_login(role, attributes)
    with server.connect() as connection:
        connection.execute("GRANT audit_owner, pg_signal_backend TO audit_recovery")
        # a slot of its own: it looks and acts when every other connection is taken
        connection.execute("GRANT pg_use_reserved_connections TO audit_recovery")
        connection.execute("GRANT pg_monitor TO audit_reader, audit_recovery")
        # Who may log in from where is evidence. Granted here, not in the database of the audit
        # trail: dumps hold what is granted there, and a restore may not grant it.
        connection.execute("GRANT SELECT ON pg_hba_file_rules TO audit_reader")
        connection.execute("GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO audit_reader")
        for person in PEOPLE:
            connection.execute(sql.SQL("GRANT audit_reader TO {}").format(sql.Identifier(person)))
        grant_isolation(connection)
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(DATABASE), sql.Identifier(OWNER)
            )
        )
    schema = files("deployments.lab").joinpath("schema.sql").read_bytes()
    with server.connect(DATABASE) as connection:
        connection.execute("SET ROLE audit_owner")
        connection.execute(schema)


def grant_isolation(connection: psycopg.Connection, lockable: Iterable[str] = LOCKABLE) -> None:
    """Lock the API's role and people's, and end sessions; CREATEROLE alone reaches nobody.

    All of it is the server's, and stands in no dump of a database.
    """
    connection.execute("GRANT pg_monitor, pg_signal_backend TO audit_isolation")
    connection.execute("GRANT SET ON PARAMETER runbook.isolated_by TO audit_isolation")
    for role in lockable:
        connection.execute(
            sql.SQL("GRANT {} TO audit_isolation WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(
                sql.Identifier(role)
            )
        )


def load(server: PostgresServer, rows: Iterable[Row]) -> None:
    """Write rows past the API, as the owner: only to fill an empty lab."""
    with server.connect(DATABASE) as connection:
        connection.execute("SET ROLE audit_owner")
        first, end = _copy(connection, rows)
        side_tables.derive(connection, first, end)
        connection.execute("ANALYZE audit_records")


def _copy(connection: psycopg.Connection, rows: Iterable[Row]) -> tuple[int, int]:
    """Write the rows; from which seq to which (exclusive) they are."""
    first = end = 0
    with connection.cursor().copy(_COPY) as copy:
        copy.set_types(["int8", "bytea", "bytea", "text"])
        for row in rows:
            first, end = (first if end else row.seq), row.seq + 1
            copy.write_row(row)
    return first, end
