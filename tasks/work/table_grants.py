"""Who may do what with other people's tables: a right that was taken away since is not given back.

A backup brings the rights of its time. What the living database no longer grants is revoked in the
restored one; what only the living one grants is not given, because whoever damaged it may have
granted it. Both are on the list. Owners keep their own, and the system what it cannot work without.
"""

from collections.abc import Mapping, Sequence

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import ClientError, Transient
from tasks.domain.reconciled import What
from tasks.work.reconciliation_book import note
from tasks.work.recovery import TABLE

Grant = tuple[str, str, str, str, str]
"""Schema, relation, column (or empty), privilege, role ("" for everybody)."""

_GRANTS = """
SELECT n.nspname::text, c.relname::text, each.attname, acl.privilege_type,
       CASE WHEN acl.grantee = 0 THEN '' ELSE pg_get_userbyid(acl.grantee)::text END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT '' AS attname,
              coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
                                            c.relowner)) AS acl
        UNION ALL
       SELECT a.attname::text, a.attacl FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped) each
 CROSS JOIN LATERAL aclexplode(each.acl) acl
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND acl.grantee <> c.relowner
   AND n.nspname NOT LIKE 'pg\\_%'
   AND n.nspname NOT IN ('information_schema', 'audit_recovery')
 ORDER BY 1, 2, 3, 4, 5
"""
_RELATIONS = """
SELECT n.nspname::text, c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
"""
_PRIVILEGES = frozenset(
    {
        *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
        "USAGE",
    }
)


def take_back(
    scratch: Connection[TupleRow],
    living: Connection[TupleRow],
    needed: Mapping[str, Sequence[str]],
) -> None:
    """Compare both sides' grants; `needed`: of roles on the audit table, which stay in any case.

    Relations that the living database lacks keep what they have: nobody there could tell.
    """
    there = {(row[0], row[1]) for row in living.execute(_RELATIONS)}
    theirs: set[Grant] = {tuple(row) for row in living.execute(_GRANTS)}
    ours: set[Grant] = {tuple(row) for row in scratch.execute(_GRANTS)}
    table = tuple(TABLE.split("."))
    stay = {(*table, "", each, role) for role, granted in needed.items() for each in granted}
    here = {(row[0], row[1]) for row in scratch.execute(_RELATIONS)}
    for grant in sorted(ours - theirs - stay):
        if grant[:2] in there:
            _revoke(scratch, grant)
    for grant in sorted(theirs - ours):
        if grant[:2] in here:
            note(scratch, grant[:2], _key(grant), What.RIGHTS, "granted since, not given")


def _revoke(scratch: Connection[TupleRow], grant: Grant) -> None:
    schema, relation, column, privilege, role = grant
    if privilege not in _PRIVILEGES:
        note(scratch, grant[:2], _key(grant), What.RIGHTS, "unknown, left as in the backup")
        return
    statement = sql.SQL("REVOKE {}{} ON {} FROM {} CASCADE").format(
        sql.SQL(privilege),
        sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL(""),
        sql.Identifier(schema, relation),
        sql.Identifier(role) if role else sql.SQL("PUBLIC"),
    )
    try:
        with postgres.translated("take rights back"), scratch.transaction():
            scratch.execute(statement)
    except Transient:
        raise
    except ClientError as error:
        note(scratch, grant[:2], _key(grant), What.RIGHTS, f"left: {type(error).__name__}")
        return
    note(scratch, grant[:2], _key(grant), What.RIGHTS, "taken back, as in the living database")


def _key(grant: Grant) -> str:
    _, _, column, privilege, role = grant
    of = f" of column {column}" if column else ""
    return f"right {privilege}{of} of {role or 'everybody'}"[:200]
