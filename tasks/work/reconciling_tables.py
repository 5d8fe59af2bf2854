"""Other tables than the log: from the living database to the restored one, by rule.

The bulk goes over while production still writes (`reconcile_bulk`); the swap calls `last_look`
while writers wait, for what came since. What becomes of each row is in the book
(`reconciliation_book`), which goes along through the swap until its list is sealed.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from psycopg import Connection, IsolationLevel, sql
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.errors import ClientError, Denied, NotFound
from tasks.domain.errors import NotProven
from tasks.domain.reconciled import CONTRADICTIONS, NOT_CARRIED, Reconciled, What
from tasks.domain.reconciliation_rules import Rule, TableName, parents_first
from tasks.work.carry_over import reading_production
from tasks.work.deleted_since import HELD_FAST
from tasks.work.erasing_again import Tables, erase_again
from tasks.work.log_events import log_size
from tasks.work.privacy_spend import add_releases, compare_spend
from tasks.work.reconciliation_book import note, open_book, read_book
from tasks.work.recovery import Fence, Mark, Site, Stage
from tasks.work.sequences import move_sequences_on
from tasks.work.table_differences import reconcile_table
from tasks.work.table_pairs import Pair, pair_of
from tasks.work.table_shapes import (
    MAX_TABLES,
    SAME_TEXT,
    Shape,
    count_tables,
    references,
    shapes,
)
from tasks.work.table_staging import Sides, horizon_of
from tasks.work.table_taking import raise_if_passing
from tasks.work.unsigned_tail import look_at_tail

_ROUNDS = 3
"""How often tables whose rows were refused are tried again: a row they refer to came later."""

_REFUSED = (
    "SELECT schema_name, table_name, count(*) FROM audit_recovery.entries"
    " WHERE (what = 'refused' AND detail = 'ForeignKeyViolation') OR detail = %s GROUP BY 1, 2"
)
_FORGET_LOOK = "DELETE FROM audit_recovery.looks WHERE schema_name = %s AND table_name = %s"
_MOVED = "UPDATE audit_recovery.about SET sequences = sequences + %s"
_COMMENT = (
    "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
    " WHERE datname = current_database()"
)
_SPEND, _ROWS, _OWNER = "spend", "spend of rows that are not carried over", "owner"
_FORGET_TABLES = "DELETE FROM audit_recovery.entries WHERE key = ANY(%s) AND what = ANY(%s)"
_ABOUT_TABLES = [
    *(what.value for what in (What.UNREADABLE, What.UNCOMPARED, What.OTHER_OWNER, What.CUT_OFF))
]
_NOT_CARRIED = (
    "SELECT coalesce(sum(number), 0)::bigint FROM audit_recovery.entries"
    " WHERE schema_name = %s AND table_name = %s AND key <> '' AND what = ANY(%s)"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The tables of both sides; `pairs` in an order in which rows can be inserted."""

    pairs: list[Pair]
    living: dict[TableName, Shape]
    restored: dict[TableName, Shape]
    order: list[TableName]


def reconcile_bulk(site: Site, backup_size: int, fence: Fence) -> Reconciled:
    """Everything up to now, while writers go on. `backup_size`: the backup's records.

    Raises NotProven when there is no restored scratch database of this incident.
    """
    scratch_name = site.names.scratch
    with (
        postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin,
        postgres.connect(
            site.dsn_of(scratch_name), timeout_seconds=site.timeout_seconds
        ) as scratch,
    ):
        states = postgres_admin.databases(admin, [scratch_name, site.names.production])
        mark = site.is_ours(states[scratch_name], Stage.RESTORED)
        if mark is None:
            raise NotProven(f"expected {scratch_name} to be restored for {site.incident}: do so")
        production = states.get(site.names.production)
        site.require_planned(mark, production)
        fence()
        open_book(scratch, site.incident, backup_size, production.oid if production else None)
        look(site, scratch, fence)
        return read_book(scratch)


def look(site: Site, scratch: Connection[TupleRow], fence: Fence) -> Seen:
    """What is new since the last look, in one snapshot of the living database; its tables."""
    with reading_production(site) as living:
        if living is not None:
            living.isolation_level = IsolationLevel.REPEATABLE_READ
        seen = _see(site, scratch, living)
        _take(site, scratch, living, seen, fence)
        moved = move_sequences_on(scratch, living, columns=True)
        scratch.execute(_MOVED, (moved,))
        _follow_log(site, scratch, living, seen)
    return seen


def lock_others(
    living: Connection[TupleRow], seen: Seen, timeout_seconds: float
) -> frozenset[TableName]:
    """Let writers of every table that is looked at wait, until the transaction ends.

    The tables that are not ours to lock: others may write to them until their sessions end. Raises
    Transient when other sessions keep a lock from being granted in time.
    """
    unlocked = set()
    living.execute(
        "SELECT set_config('lock_timeout', %s, true)", (f"{round(timeout_seconds * 1000)}ms",)
    )
    for name in (pair.living.name for pair in seen.pairs):
        lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE")
        try:
            with (
                suppress(NotFound),
                postgres.translated(".".join(name)),
                living.transaction(),
            ):
                living.execute(lock.format(sql.Identifier(*name)))
        except Denied:
            unlocked.add(name)
    return frozenset(unlocked)


def last_look(
    site: Site,
    scratch: Connection[TupleRow],
    living: Connection[TupleRow] | None,
    seen: Seen | None,
    fence: Fence,
    only: Collection[TableName] = (),
) -> None:
    """What came since, while writers wait; then erasures, then privacy spend against the log.

    `seen`: of the look before; made anew where tables were made or altered since. `only`: tables
    that are looked at once more, where the others stand still. Without a living database nothing
    comes over: what the backup lacks stays lost.
    """
    if seen is None or living is None or shapes(living) != seen.living:
        seen = _see(site, scratch, living)
    _take(site, scratch, living, seen, fence, only)
    moved = move_sequences_on(scratch, living, columns=living is None)
    scratch.execute(_MOVED, (moved,))
    _follow_log(site, scratch, living, seen)
    releases = site.rules.releases
    if releases is not None:
        charged = seen.restored.get(releases.table)
        compare_spend(scratch, releases, site.rules.of(releases.table), charged)
    _note_spend_not_carried(site, scratch, seen)


def _follow_log(
    site: Site, scratch: Connection[TupleRow], living: Connection[TupleRow] | None, seen: Seen
) -> None:
    """What the restored log says of other tables: what it signs is obeyed, its tail is listed."""
    row = scratch.execute(_COMMENT).fetchone()
    mark = Mark.of(row[0] or "") if row is not None else None
    signed = mark.signed if mark is not None and mark.incident == site.incident else 0
    end = log_size(scratch)
    children_first = [name for name in reversed(seen.order) if name in seen.restored]
    tables = Tables(seen.restored, seen.living, children_first)
    look_at_tail(scratch, site.rules, signed, end)
    erase_again(scratch, living, site.rules, tables, min(signed, end))
    if site.rules.releases is not None:
        add_releases(scratch, site.rules.releases, end)


def _note_spend_not_carried(site: Site, scratch: Connection[TupleRow], seen: Seen) -> None:
    """Of a table whose spend never falls each row on the list contradicts, whatever the reason."""
    kinds = [what.value for what in NOT_CARRIED - CONTRADICTIONS]
    for name in seen.restored:
        if site.rules.of(name).rule is not Rule.GREATEST:
            continue
        row = scratch.execute(_NOT_CARRIED, (*name, kinds)).fetchone()
        if row is not None and row[0]:
            note(scratch, name, _ROWS, What.UNCOMPARED, "", row[0])


def _take(
    site: Site,
    scratch: Connection[TupleRow],
    living: Connection[TupleRow] | None,
    seen: Seen,
    fence: Fence,
    only: Collection[TableName] = (),
) -> None:
    """Each table by its rule; those whose rows others had to go before are tried again."""
    scratch.execute(SAME_TEXT)
    if living is not None:
        living.execute(SAME_TEXT)
    fence()
    scratch.execute(_FORGET_TABLES, (["", _SPEND, _ROWS, _OWNER], _ABOUT_TABLES))
    _note_absent(site, scratch, seen)
    _note_beyond(scratch, living)
    if living is None:
        return
    scratch.execute("UPDATE audit_recovery.about SET living = true WHERE NOT living")
    sides = Sides(living, scratch, horizon_of(living))
    left = [pair for pair in seen.pairs if not only or pair.living.name in only]
    refused = -1
    for _ in range(_ROUNDS):
        for pair in left:
            _take_one(sides, pair, fence)
        found = scratch.execute(_REFUSED, (HELD_FAST,)).fetchall()
        names = {(schema, name) for schema, name, _ in found}
        before, refused = refused, sum(count for _, _, count in found)
        left = [pair for pair in seen.pairs if pair.living.name in names]
        if not left or refused == before:
            break
        for pair in left:
            scratch.execute(_FORGET_LOOK, pair.living.name)


def _take_one(sides: Sides, pair: Pair, fence: Fence) -> None:
    try:
        with postgres.translated(".".join(pair.living.name)):
            reconcile_table(sides, pair, fence)
    except ClientError as error:
        raise_if_passing(error)
        note(sides.scratch, pair.living.name, "", What.UNREADABLE, type(error).__name__)
        if pair.rule.rule is Rule.GREATEST:
            note(sides.scratch, pair.living.name, _SPEND, What.UNCOMPARED, "unreadable")


def _note_absent(site: Site, scratch: Connection[TupleRow], seen: Seen) -> None:
    """Tables that the living database lacks; and spend of which it therefore says nothing.

    Without a living database that is known of each table, so only spend is noted.
    """
    pairs = {pair.living.name: pair for pair in seen.pairs}
    for name in seen.restored:
        rule, pair = site.rules.of(name).rule, pairs.get(name)
        why = pair.why if pair is not None else "the living database has no such table"
        if rule is Rule.GREATEST and (pair is None or not pair.carries):
            note(scratch, name, _SPEND, What.UNCOMPARED, why)
        if rule is not Rule.LEAVE and seen.living and pair is None:
            note(scratch, name, "", What.UNREADABLE, why)

    for name in seen.restored.keys() & seen.living.keys():
        if seen.restored[name].owner != seen.living[name].owner:
            note(scratch, name, _OWNER, What.OTHER_OWNER, f"it was {seen.living[name].owner}")


def _note_beyond(scratch: Connection[TupleRow], living: Connection[TupleRow] | None) -> None:
    beyond = max(count_tables(each) for each in (living, scratch) if each is not None) - MAX_TABLES
    if beyond > 0:
        note(scratch, ("", ""), "", What.CUT_OFF, f"beyond the first {MAX_TABLES}", beyond)


def _see(site: Site, scratch: Connection[TupleRow], living: Connection[TupleRow] | None) -> Seen:
    there = shapes(living) if living is not None else {}
    restored = shapes(scratch)
    order = parents_first({*there, *restored}, references(scratch))
    pairs = [
        pair_of(there[name], restored.get(name), site.rules.of(name))
        for name in order
        if name in there and site.rules.of(name).rule is not Rule.LEAVE
    ]
    return Seen(pairs, there, restored, order)
