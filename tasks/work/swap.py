"""The swap: the proven database takes production's name, the damaged one is kept as evidence.

    1. writers wait      LOCK TABLE ... IN SHARE ROW EXCLUSIVE MODE on production
    2. the last rows     what came since the bulk goes over and is proven to be one chain
    3. other tables      what came since, privacy spend and erasures (reconciling_tables)
    4. production closes ALLOW_CONNECTIONS false, every session ended, ours last
    5. the head          is still the one that the restored database is proven against
    6. both renames      one transaction, with both marks: no client sees half of it

A kill after 4 leaves production closed but marked; the next call opens it and begins again. A
kill in 6 leaves either the state before or the state after, because it is one transaction.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.errors import Conflict
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.reconciled import Reconciled
from tasks.work.carry_over import AskHead, Carried, carry, newest, reading_production
from tasks.work.closing import closing, refuse_superusers, reopen_after_kill, set_doors
from tasks.work.log_heads import latest_head
from tasks.work.reconciliation_book import open_book
from tasks.work.reconciliation_list import reconciled_so_far
from tasks.work.reconciling_tables import last_look, lock_others, look
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

_ATTEMPTS = 3
_LOCK_SECONDS = 10.0
_END_SECONDS = 10.0
_COUNT = "SELECT count(*), coalesce(max(seq) + 1, 0) FROM public.audit_records"


@dataclass(frozen=True, slots=True)
class Swapped:
    """The restored database is in service. `outage_seconds`: from the lock to the renames.

    `outage_seconds` is None only if a kill came between the renames and the note of it. `before`
    is what the damaged table held; all zero when this call found the swap done.
    """

    database: str
    quarantine: str | None
    records: int
    carried: Carried
    ended_sessions: int
    outage_seconds: float | None
    before: Extent
    other_tables: Reconciled
    done_before: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal and the report."""
        return {
            "database": self.database,
            "quarantine": self.quarantine,
            "records_before": self.before.records,
            "records_after": self.records,
            "last_step": self.carried.as_json(),
            "ended_sessions": self.ended_sessions,
            "outage_seconds": self.outage_seconds,
            "other_tables": self.other_tables.as_json(),
            "done_before": self.done_before,
        }


class SealedMeanwhile(PlanStale):
    """The log was sealed further than the restored database is proven to; undone."""


def swap(site: Site, ask_head: AskHead, fence: Fence) -> Swapped:
    """Put the restored database into service; once, however often it is called.

    Whatever was sealed since the restore is completed and proven first. `ask_head` is asked just
    before the writers are stopped. Raises Denied, naming them, when superusers' sessions hold
    production (nothing is changed then), Transient when writers do not make way in time (undone:
    production goes on), NotProven when the tail is no chain or a newly signed record is nowhere,
    Conflict when a database under one of our names is somebody else's, SealedMeanwhile when each
    attempt was overtaken by the sealer.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(SealedMeanwhile):
            return _attempt(site, ask_head, fence)
    return _attempt(site, ask_head, fence)


def _attempt(site: Site, ask_head: AskHead, fence: Fence) -> Swapped:
    names = site.names
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, _all(site))
        production = states.get(names.production)
        if production is not None:
            served = site.is_ours(production, Stage.IN_SERVICE)
            if served is not None:
                return _already(site, admin, served, states, fence)
        mark = _restored(site, states)
        reopen_after_kill(site, admin, production, fence)
        catch_up(site, admin, mark, fence)
        states = postgres_admin.databases(admin, _all(site))  # as the renames must find them
        mark = _restored(site, states)
        before = observe(site, mark.signed)
        if names.production not in states:
            return _without_production(site, admin, mark, states, ask_head, fence, before)
        refuse_superusers(admin, names.production)
        return _swap(site, admin, mark, states, ask_head, fence, before)


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


def _swap(
    site: Site,
    admin: Connection[TupleRow],
    mark: Mark,
    states: dict[str, DatabaseState],
    ask_head: AskHead,
    fence: Fence,
    before: Extent,
) -> Swapped:
    names = site.names
    damaged = states[names.production]
    with postgres.connect(
        site.dsn_of(names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        open_book(scratch, site.incident, 0, damaged.oid)
        look(site, scratch, fence)
        with reading_production(site) as production:
            known = newest(mark.writers_head, ask_head())
            carry(site, mark.signed, production, scratch, known, fence, last=False)
        records = _whole(scratch)
        seen = look(site, scratch, fence)  # a short one, so that the last is short as well
    previous = Mark.of(damaged.comment)
    comment = previous.previous if previous else damaged.comment
    with closing(site, admin, damaged, fence) as door:
        with reading_production(site) as production:
            with postgres.connect(
                site.dsn_of(names.scratch), timeout_seconds=site.timeout_seconds
            ) as scratch:
                head = newest(known, ask_head())
                began = time.monotonic()
                if production is not None and has_readable_table(production):
                    postgres.lock_against_writers(production, TABLE, _LOCK_SECONDS)
                if production is not None:
                    lock_others(production, seen, _LOCK_SECONDS)
                carried = carry(site, mark.signed, production, scratch, head, fence, last=True)
                last_look(site, scratch, production, seen, fence)
                scratch.execute(f"DROP TABLE IF EXISTS {SPARE}")
            postgres_admin.end_sessions(admin, names.scratch, timeout_seconds=_END_SECONDS)
            grants = postgres_admin.grants_like(admin, names.production, names.scratch)
            fence()
            door.close()
            keep = [] if production is None else [production.info.backend_pid]
            ended = postgres_admin.end_sessions(
                admin, names.production, keep=keep, timeout_seconds=_END_SECONDS
            )
        postgres_admin.wait_until_empty(admin, names.production, timeout_seconds=_END_SECONDS)
        _require_current(site, mark)  # the sealer, too, can read nothing more there
        fence()
        served = replace(
            mark,
            stage=Stage.IN_SERVICE,
            acknowledged=head.size if head else None,
            leaf=head.leaf.hex() if head else "",
            end=carried.size,
            previous=comment,
        )
        postgres_admin.rename_databases(
            admin,
            [
                (names.production, names.quarantine, _quarantined(site, comment).text()),
                (names.scratch, names.production, served.text()),
            ],
            known=(door.marked, states[names.scratch]),
            grants=grants,
        )
        outage = time.monotonic() - began
        door.renamed = True
    set_doors(site, admin)
    timed = replace(served, outage_seconds=round(outage, 4))
    renamed = replace(states[names.scratch], name=names.production, comment=served.text())
    with suppress(Conflict):  # another incident's by now: the figure is in our result
        postgres_admin.set_door(admin, renamed, allowed=True, comment=timed.text())
    return Swapped(
        names.production,
        names.quarantine,
        records + carried.kept + carried.lost,
        carried,
        ended,
        timed.outage_seconds,
        before,
        reconciled_so_far(site) or Reconciled(),
    )


def _without_production(
    site: Site,
    admin: Connection[TupleRow],
    mark: Mark,
    states: dict[str, DatabaseState],
    ask_head: AskHead,
    fence: Fence,
    before: Extent,
) -> Swapped:
    """The whole database is gone: only one rename, and nobody whose sessions must end."""
    names = site.names
    began = time.monotonic()
    head = newest(mark.writers_head, ask_head())
    with postgres.connect(
        site.dsn_of(names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        carried = carry(site, mark.signed, None, scratch, head, fence, last=True)
        open_book(scratch, site.incident, 0, None)
        last_look(site, scratch, None, None, fence)
        scratch.execute(f"DROP TABLE IF EXISTS {SPARE}")
        records = _whole(scratch)
    postgres_admin.end_sessions(admin, names.scratch, timeout_seconds=_END_SECONDS)
    _require_current(site, mark)
    fence()
    served = replace(
        mark,
        stage=Stage.IN_SERVICE,
        acknowledged=head.size if head else None,
        leaf=head.leaf.hex() if head else "",
        end=carried.size,
        outage_seconds=round(time.monotonic() - began, 4),
    )
    with admin.transaction():
        postgres_admin.give_default_grants(admin, names.scratch)
        postgres_admin.rename_databases(
            admin,
            [(names.scratch, names.production, served.text())],
            known=(states[names.scratch],),
        )
    set_doors(site, admin)
    outage, others = served.outage_seconds, reconciled_so_far(site) or Reconciled()
    return Swapped(names.production, None, records, carried, 0, outage, before, others)


def _require_current(site: Site, mark: Mark) -> None:
    """No shorter table than the signed one comes into service: the head is still the proven one."""
    head = latest_head(site.log, site.trust)
    if not mark.is_at(head):
        raise SealedMeanwhile(
            f"expected the signed head of {mark.signed} records that the restored database is "
            f"proven against, found one of {head.checkpoint.size}: it was sealed meanwhile; "
            "production is as it was; swap again"
        )


def _quarantined(site: Site, comment: str) -> Mark:
    name = site.names.quarantine
    return Mark(
        site.incident,
        Stage.QUARANTINED,
        previous=comment,
        note=f"evidence; to look into it: ALTER DATABASE {name} ALLOW_CONNECTIONS true",
    )


def _whole(scratch: Connection[TupleRow]) -> int:
    """The number of rows; NotProven unless they are 0, 1, 2, ... without a gap."""
    row = scratch.execute(_COUNT).fetchone()
    count, end = row if row is not None else (0, 0)
    if count != end:
        raise NotProven(
            f"expected {end} rows without a gap in the scratch database, found {count}: restore "
            "again; production is untouched"
        )
    return int(count)
