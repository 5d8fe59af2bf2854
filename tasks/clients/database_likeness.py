"""What gives one database the privileges and settings of another: a dump of one holds none.

Everything here runs on a connection to the maintenance database, as `postgres_admin`. What is
returned is run by `rename_databases`, in its transaction.
"""

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients.errors import Conflict

_GRANTS = """
SELECT acl.privilege_type, acl.is_grantable,
       CASE WHEN acl.grantee = 0 THEN NULL ELSE pg_get_userbyid(acl.grantee) END
  FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) acl
 WHERE d.datname = %s
"""
_SETTINGS = """
SELECT s.setrole::bigint, pg_get_userbyid(s.setrole), unnest(s.setconfig)
  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = %s
"""
_LIMIT = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
_TABLESPACES = """
SELECT d.datname::text, t.spcname::text FROM pg_database d JOIN pg_tablespace t
    ON t.oid = d.dattablespace WHERE d.datname = ANY(%s)
"""
_PRIVILEGES = frozenset({"CONNECT", "CREATE", "TEMPORARY"})


def grants_like(connection: Connection[TupleRow], source: str, target: str) -> sql.Composed:
    """What gives `target` the database privileges of `source`."""
    name = sql.Identifier(target)
    statements = [sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name)]
    for privilege, grantable, role in connection.execute(_GRANTS, (source,)).fetchall():
        if privilege not in _PRIVILEGES:
            raise Conflict(f"expected a database privilege, found {privilege!r} on {source}")
        statements.append(
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                name,
                sql.SQL("PUBLIC") if role is None else sql.Identifier(role),
                sql.SQL(" WITH GRANT OPTION" if grantable else ""),
            )
        )
    return sql.SQL("; ").join(statements)


def settings_like(
    connection: Connection[TupleRow], source: str, target: str
) -> tuple[sql.Composed, list[str]]:
    """What gives `target` the settings of `source` (ALTER DATABASE), and what cannot be given.

    Before the renames a setting such as read-only would hinder whoever fills
    `target`. Settings for one role in one database need rights over that role, which we lack: they
    come back as text, for the report.
    """
    limit = connection.execute(_LIMIT, (source,)).fetchone()
    statements = [
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            sql.Identifier(target), sql.Literal(limit[0] if limit is not None else -1)
        )
    ]
    left: list[str] = []
    for role_oid, role, setting in connection.execute(_SETTINGS, (source,)).fetchall():
        name, _, value = setting.partition("=")
        if role_oid:
            left.append(f"ALTER ROLE {role} IN DATABASE {target} SET {name}")
            continue
        parts = [sql.Literal(part.strip().strip('"')) for part in value.split(",")]
        values = sql.SQL(", ").join(parts) if name in _LISTS else sql.Literal(value)
        statement = sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
            sql.Identifier(target), sql.Identifier(*name.split(".")), values
        )
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            left.append(f"ALTER DATABASE {target} SET {name}")
        else:
            statements.append(statement)
    return sql.SQL("; ").join(statements), left


def other_tablespace(connection: Connection[TupleRow], source: str, target: str) -> list[str]:
    """What a person has to do where `source` lies in another tablespace than `target`."""
    rows = connection.execute(_TABLESPACES, ([source, target],)).fetchall()
    spaces: dict[str, str] = dict(rows)
    if spaces.get(source) == spaces.get(target):
        return []
    return [f"ALTER DATABASE {target} SET TABLESPACE {spaces.get(source)}"]


_LISTS = frozenset({"search_path", "temp_tablespaces", "session_preload_libraries"})
