"""The swap: the proven database takes production's name, the damaged one is kept as evidence.

    1. once more proven  the restored log, from then on locked against everybody else
    2. writers wait      LOCK TABLE ... IN SHARE ROW EXCLUSIVE MODE on production
    3. the last rows     what came since the bulk goes over and is proven to be one chain
    4. other tables      what came since, privacy spend and erasures (reconciling_tables)
    5. both close        ALLOW_CONNECTIONS false, every session ended, ours last
    6. the head          is still the one that the restored database is proven against
    7. both renames      one transaction, with both marks: no client sees half of it

From 2 on writers wait, at most to a limit: then it is undone. A kill after 5 leaves both closed but
marked; the next call opens them and begins again. A kill in 7 leaves either the state before or the
state after, because it is one transaction.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from tasks.clients import database_likeness, postgres, postgres_admin
from tasks.clients.errors import Conflict
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.carry_over import WritersHead
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.reconciled import Reconciled
from tasks.work.carry_over import AskHead, Carried, carry, newest, reading_production
from tasks.work.closing import Closing, closing, refuse_superusers, reopen_after_kill, set_doors
from tasks.work.held_scratch import Altered, HeldScratch, held
from tasks.work.log_heads import Head, latest_head
from tasks.work.outage import limited
from tasks.work.reconciliation_book import open_book, read_book
from tasks.work.reconciliation_list import reconciled_so_far
from tasks.work.reconciling_tables import Seen, last_look, lock_others, look
from tasks.work.recovery import (
    SPARE,
    TABLE,
    Extent,
    Fence,
    Mark,
    Site,
    Stage,
    has_readable_table,
    observe,
)
from tasks.work.restore import catch_up
from tasks.work.scratch_database import reopen
from tasks.work.swapped import Swapped
from tasks.work.table_grants import take_back

_ATTEMPTS = 3
_LOCK_SECONDS = 10.0
_END_SECONDS = 10.0
_COUNT = "SELECT count(*), coalesce(max(seq) + 1, 0) FROM public.audit_records"


class SealedMeanwhile(PlanStale):
    """The log was sealed further than the restored database is proven to; undone."""


Settle = Callable[[Reconciled], None]
"""Gets what became of other tables just before the renames; what it raises undoes the swap."""


def _nothing(_: Reconciled) -> None:
    """Nothing has to be settled before the renames."""


def swap(site: Site, ask_head: AskHead, fence: Fence, settle: Settle = _nothing) -> Swapped:
    """Put the restored database into service; once, however often it is called.

    Whatever was sealed since the restore is completed and proven first. `ask_head` is asked just
    before the writers are stopped. Raises Denied, naming them, when superusers' sessions hold
    production (nothing is changed then), Transient when writers do not make way in time (undone:
    production goes on; Overdue beyond the limit), PlanStale when production is another database
    than when the scratch was restored or the scratch was written to since, NotProven when the tail
    is no chain or a newly signed record is nowhere, Conflict when a database under one of our names
    is somebody else's, SealedMeanwhile when each attempt was overtaken by the sealer.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(SealedMeanwhile):
            return _attempt(site, ask_head, fence, settle)
    return _attempt(site, ask_head, fence, settle)


def _attempt(site: Site, ask_head: AskHead, fence: Fence, settle: Settle) -> Swapped:
    names = site.names
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, _all(site))
        production = states.get(names.production)
        if production is not None:
            served = site.is_ours(production, Stage.IN_SERVICE)
            if served is not None:
                return _already(site, admin, served, states, fence)
        mark = _restored(site, states)
        site.require_planned(mark, production)
        reopen_after_kill(site, admin, production, fence)
        reopen(admin, states[names.scratch])
        catch_up(site, admin, mark, fence)
        states = postgres_admin.databases(admin, _all(site))  # as the renames must find them
        mark = _restored(site, states)
        site.require_planned(mark, states.get(names.production))
        at = _At(site, admin, mark, states, ask_head, fence, settle, observe(site, mark.signed))
        if names.production not in states:
            return _without_production(at)
        refuse_superusers(admin, names.production)
        return _swap(at)


@dataclass(frozen=True, slots=True)
class _At:
    """One attempt. `states`: the databases as the renames must find them."""

    site: Site
    admin: Connection[TupleRow]
    mark: Mark
    states: dict[str, DatabaseState]
    ask_head: AskHead
    fence: Fence
    settle: Settle
    before: Extent


def _all(site: Site) -> list[str]:
    return [site.names.production, site.names.scratch, site.names.quarantine]


def _restored(site: Site, states: dict[str, DatabaseState]) -> Mark:
    """The mark of the proven scratch database; refuses names that are somebody else's."""
    names = site.names
    scratch = states.get(names.scratch)
    mark = site.is_ours(scratch, Stage.RESTORED) if scratch is not None else None
    if mark is None:
        raise NotProven(
            f"expected {names.scratch} to be restored and proven for {site.incident}, found "
            f"{'another mark' if scratch else 'no such database'}: restore it first; production "
            "is untouched"
        )
    if names.quarantine in states:
        raise Conflict(
            f"expected the name {names.quarantine} to be free, found a database: it may be "
            "evidence; rename it by hand, then try again"
        )
    return mark


def _already(
    site: Site,
    admin: Connection[TupleRow],
    mark: Mark,
    states: dict[str, DatabaseState],
    fence: Fence,
) -> Swapped:
    """The swap is done: make sure of the doors, which open and close after the renames."""
    quarantine = states.get(site.names.quarantine)
    fence()
    set_doors(site, admin)
    return Swapped(
        database=site.names.production,
        quarantine=quarantine.name if quarantine else None,
        records=mark.end or 0,
        carried=Carried(0, 0, mark.end or 0),
        ended_sessions=0,
        outage_seconds=mark.outage_seconds,
        before=Extent(quarantine is not None, False, 0, 0, 0),  # noqa: FBT003  not looked at
        other_tables=reconciled_so_far(site) or Reconciled(),
        done_before=True,
    )


def _swap(at: _At) -> Swapped:
    site, admin, fence, names = at.site, at.admin, at.fence, at.site.names
    damaged = at.states[names.production]
    with postgres.connect(
        site.dsn_of(names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        open_book(scratch, site.incident, 0, damaged.oid)
        with reading_production(site) as production:
            if production is not None:
                take_back(scratch, production, site.needed)
            known = newest(at.mark.writers_head, at.ask_head())
            carry(site, at.mark.signed, production, scratch, known, fence, last=False)
        look(site, scratch, fence)
    previous = Mark.of(damaged.comment)
    comment = previous.previous if previous else damaged.comment
    given, left = database_likeness.settings_like(admin, names.production, names.scratch)
    with _held(at) as log:
        _require_whole(log.connection)
        with reading_production(site) as production:  # what came during the proof
            carry(site, at.mark.signed, production, log.connection, known, fence, last=False)
        with postgres.connect(
            site.dsn_of(names.scratch), timeout_seconds=site.timeout_seconds
        ) as scratch:
            seen = look(site, scratch, fence)  # a short one, so that the last is short as well
        with closing(site, admin, damaged, fence) as door:
            with reading_production(site) as production:
                head = newest(known, at.ask_head())
                with limited(site, production) as outage:
                    if production is not None and has_readable_table(production):
                        postgres.lock_against_writers(production, TABLE, _LOCK_SECONDS)
                    if production is not None and lock_others(production, seen, _LOCK_SECONDS):
                        _shut_out(at, door, production)  # whom no lock keeps from writing
                    carried = _last(at, log, production, head, seen)
                    grants = database_likeness.grants_like(admin, names.production, names.scratch)
                ended = _shut_out(at, door, production)
            postgres_admin.wait_until_empty(admin, names.production, timeout_seconds=_END_SECONDS)
            _require_current(site, at.mark)  # the sealer, too, can read nothing more there
            fence()
            outage.check()
            served = _served(at.mark, head, carried, comment)
            postgres_admin.rename_databases(
                admin,
                [
                    (names.production, names.quarantine, _quarantined(site, comment).text()),
                    (names.scratch, names.production, served.text()),
                ],
                known=(door.marked, at.states[names.scratch]),
                grants=sql.SQL("; ").join([grants, given]),
                opened=names.production,
            )
            seconds = outage.seconds
            door.renamed = True
    set_doors(site, admin)
    timed = replace(served, outage_seconds=round(seconds, 4))
    renamed = replace(at.states[names.scratch], name=names.production, comment=served.text())
    with suppress(Conflict):  # another incident's by now: the figure is in our result
        postgres_admin.set_door(admin, renamed, allowed=True, comment=timed.text())
    return Swapped(
        names.production,
        names.quarantine,
        carried.size,
        carried,
        ended,
        timed.outage_seconds,
        at.before,
        reconciled_so_far(site) or Reconciled(),
        tuple(left),
    )


def _shut_out(at: _At, door: Closing, production: Connection[TupleRow] | None) -> int:
    """Everybody but our session, which must have held its locks so far; how many were ended."""
    at.fence()
    door.close()
    keep = [] if production is None else [production.info.backend_pid]
    ended = postgres_admin.end_sessions(
        at.admin, at.site.names.production, keep=keep, timeout_seconds=_END_SECONDS
    )
    if production is not None:
        production.execute("SELECT 1")  # raises when it is gone, and its locks with it
    return ended


def _without_production(at: _At) -> Swapped:
    """The whole database is gone: only one rename, and nobody whose sessions must end."""
    site, admin, names = at.site, at.admin, at.site.names
    began = time.monotonic()
    head = newest(at.mark.writers_head, at.ask_head())
    with _held(at) as log:
        _require_whole(log.connection)
        open_book(log.connection, site.incident, 0, None)
        carried = _last(at, log, None, head, None)
        _require_current(site, at.mark)
        at.fence()
        served = replace(
            _served(at.mark, head, carried, ""),
            outage_seconds=round(time.monotonic() - began, 4),
        )
        with admin.transaction():
            postgres_admin.give_default_grants(admin, names.scratch)
            postgres_admin.rename_databases(
                admin,
                [(names.scratch, names.production, served.text())],
                known=(at.states[names.scratch],),
                opened=names.production,
            )
    set_doors(site, admin)
    outage, others = served.outage_seconds, reconciled_so_far(site) or Reconciled()
    return Swapped(names.production, None, carried.size, carried, 0, outage, at.before, others)


def _held(at: _At) -> AbstractContextManager[HeldScratch]:
    """The restored log, proven at the head that its mark names."""
    return held(at.site, at.states[at.site.names.scratch], _require_current(at.site, at.mark))


def _last(
    at: _At,
    log: HeldScratch,
    production: Connection[TupleRow] | None,
    head: WritersHead | None,
    seen: Seen | None,
) -> Carried:
    """The last records and rows; then the restored database is complete, and shut."""
    scratch = log.connection
    carried = carry(at.site, at.mark.signed, production, scratch, head, at.fence, last=True)
    last_look(at.site, scratch, production, seen, at.fence)
    scratch.execute(f"DROP TABLE IF EXISTS {SPARE}")
    at.settle(read_book(scratch))
    log.shut(at.admin)
    return carried


def _served(mark: Mark, head: WritersHead | None, carried: Carried, comment: str) -> Mark:
    return replace(
        mark,
        stage=Stage.IN_SERVICE,
        acknowledged=head.size if head else None,
        leaf=head.leaf.hex() if head else "",
        end=carried.size,
        previous=comment,
    )


def _require_current(site: Site, mark: Mark) -> Head:
    """No shorter table than the signed one comes into service: the head is still the proven one."""
    head = latest_head(site.log, site.trust)
    if not mark.is_at(head):
        raise SealedMeanwhile(
            f"expected the signed head of {mark.signed} records that the restored database is "
            f"proven against, found one of {head.checkpoint.size}: it was sealed meanwhile; "
            "production is as it was; swap again"
        )
    return head


def _quarantined(site: Site, comment: str) -> Mark:
    name = site.names.quarantine
    return Mark(
        site.incident,
        Stage.QUARANTINED,
        previous=comment,
        note=f"evidence; to look into it: ALTER DATABASE {name} ALLOW_CONNECTIONS true",
    )


def _require_whole(scratch: Connection[TupleRow]) -> None:
    """Raises Altered unless rows are 0, 1, 2, ... without a gap."""
    row = scratch.execute(_COUNT).fetchone()
    count, end = row if row is not None else (0, 0)
    if count != end:
        raise Altered(
            f"expected {end} rows without a gap in the scratch database, found {count}: somebody "
            "wrote to it since it was proven; a new plan restores it again"
        )
