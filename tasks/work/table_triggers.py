"""A restored table without its triggers, for as long as rows that lived already are written.

They fired when the row was first written. Firing again they would alter it, refuse it without a
word, or write into other tables, whose rows come over by themselves. Constraints stay.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.domain.reconciliation_rules import TableName

_TRIGGERS = """
SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
   AND (c.oid = to_regclass(format('%%I.%%I', %s::text, %s::text)) OR c.oid IN (
        SELECT relid FROM pg_partition_tree(format('%%I.%%I', %s::text, %s::text)::regclass)))
 ORDER BY 1, 2, 3
"""
_STATES = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


@contextmanager
def without_triggers(scratch: Connection[TupleRow], name: TableName) -> Iterator[None]:
    """Within one transaction: afterwards each trigger is as it was; so it is after a rollback.

    Deferred constraints are checked at once meanwhile, so that each row is refused by itself.
    """
    found = scratch.execute(_TRIGGERS, (*name, *name)).fetchall()
    scratch.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for schema, table, trigger, _ in found:
        _set(scratch, (schema, table), trigger, "DISABLE")
    yield
    for schema, table, trigger, state in found:
        _set(scratch, (schema, table), trigger, _STATES[state])


def _set(scratch: Connection[TupleRow], table: TableName, trigger: str, state: str) -> None:
    scratch.execute(
        sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(
            sql.Identifier(*table), sql.SQL(state), sql.Identifier(trigger)
        )
    )
