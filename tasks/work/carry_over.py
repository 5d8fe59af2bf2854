"""The unsigned tail, from the damaged table into the scratch database; and the list of losses.

The bulk goes over while production still writes; the swap's last step carries what came since. A
row that is in the scratch database is never judged again, so each call goes on where the last one
ended, and the loss list is read from the tombstones that stand there.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres, postgres_admin
from tasks.clients.errors import NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain.carry_over import (
    MAX_TAIL,
    Kept,
    LossList,
    Lost,
    Row,
    Start,
    WritersHead,
    first_break,
    judge_tail,
    list_losses,
    may_lie_elsewhere,
    write_tail,
)
from tasks.domain.errors import NotProven
from tasks.domain.ledger import NoteSigner, sign_note
from tasks.work.recovery import SPARE, TABLE, Fence, Site, Stage, has_readable_table

AskHead = Callable[[], WritersHead | None]
"""What the writers were told is written; None when they cannot say."""

_HELD_BACK = 16
"""Newest rows that the bulk leaves to the last step: records after them may still judge them."""

_TAIL = (
    "COPY (SELECT seq, record, leaf FROM {} WHERE seq >= {} AND seq < {} ORDER BY seq LIMIT {})"
    " TO STDOUT (FORMAT BINARY)"
)
_NO_END = 2**63 - 1
_FILL = "COPY public.audit_records (seq, record, leaf) FROM STDIN (FORMAT BINARY)"
_LAST = "SELECT seq, record FROM public.audit_records ORDER BY seq DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Carried:
    """One step of the carry-over: `kept` and `lost` records, and the scratch table's new size."""

    kept: int
    lost: int
    size: int

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal."""
        return {"carried_over": self.kept, "tombstones": self.lost, "size": self.size}


@dataclass(frozen=True, slots=True)
class SealedLosses:
    """The stored loss list: its keys, the SHA-256 (hex) of the JSON, the end of its lock."""

    losses: LossList
    bucket: str
    key: str
    note_key: str
    sha256: str
    locked_until: datetime


def carry_bulk(site: Site, ask_head: AskHead, fence: Fence) -> Carried:
    """Carry over all but the newest rows of the damaged table, while writers go on.

    Raises NotProven when there is no restored scratch database of this incident, or when the
    result is not one chain.
    """
    scratch_name = site.names.scratch
    with (
        postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin,
        postgres.connect(
            site.dsn_of(scratch_name), timeout_seconds=site.timeout_seconds
        ) as scratch,
        reading_production(site) as production,
    ):
        states = postgres_admin.databases(admin, [scratch_name, site.names.production])
        mark = site.is_ours(states[scratch_name], Stage.RESTORED)
        if mark is None:
            raise NotProven(f"expected {scratch_name} to be restored for {site.incident}: do so")
        site.require_planned(mark, states.get(site.names.production))
        # Asked before the rows are read: whatever the head names is in them, or lost.
        head = newest(mark.writers_head, ask_head())
        carried = carry(site, mark.signed, production, scratch, head, fence, last=False)
        if head is not None:
            known = replace(mark, acknowledged=head.size, leaf=head.leaf.hex())
            postgres_admin.comment_on(admin, scratch_name, known.text())
        return carried


def newest(*heads: WritersHead | None) -> WritersHead | None:
    """The largest head that is known: writers that restart on a damaged table know less."""
    return max((each for each in heads if each), key=lambda each: each.size, default=None)


@contextmanager
def reading_production(site: Site) -> Iterator[Connection[TupleRow] | None]:
    """The damaged database in one transaction, or None when it no longer exists."""
    with ExitStack() as stack:
        connection: Connection[TupleRow] | None = None
        with suppress(NotFound):
            connection = stack.enter_context(
                postgres.connect(
                    site.dsn_of(site.names.production),
                    timeout_seconds=site.timeout_seconds,
                    autocommit=False,
                )
            )
            postgres.only_read(connection)
        yield connection


def carry(
    site: Site,
    signed: int,
    production: Connection[TupleRow] | None,
    scratch: Connection[TupleRow],
    head: WritersHead | None,
    fence: Fence,
    *,
    last: bool,
) -> Carried:
    """Judge what the scratch table lacks and write it there, in one transaction.

    `signed`: the size that the scratch is proven to. `last`: production stands still, so
    everything is judged, up to the writers' head.
    """
    start = _end_of(scratch)
    sources = ((production, TABLE), (scratch, SPARE))
    rows = [row for source in sources for row in _tail(*source, start.seq)]
    held_back = 0 if last else _HELD_BACK
    decisions = _judged(rows, start, site, head, held_back)
    if start.seq > signed and any(map(may_lie_elsewhere, decisions)):
        # A record may have been put into a row that an earlier step has passed already.
        rows += [row for source in sources for row in _tail(*source, signed, start.seq)]
        decisions = _judged(rows, start, site, head, held_back)
    if not decisions:
        return Carried(0, 0, start.seq)
    written = list(
        write_tail(
            decisions, start, incident=site.incident, origin=site.trust.origin, at=datetime.now(UTC)
        )
    )
    fence()
    with scratch.transaction():
        with scratch.cursor().copy(_FILL) as copy:
            copy.set_types(["int8", "bytea", "bytea"])
            for row in written:
                copy.write_row((row.seq, row.record, row.leaf))
        broken = first_break(_stored(scratch, TABLE, start.seq), start)
        if broken is not None:
            raise NotProven(
                f"expected the tail from {start.seq} to be one chain, found a break at {broken}: "
                "nothing was carried over; production is untouched"
            )
    lost = sum(isinstance(each, Lost) for each in decisions)
    return Carried(len(decisions) - lost, lost, start.seq + len(decisions))


def _judged(
    rows: list[Row], start: Start, site: Site, head: WritersHead | None, held_back: int
) -> list[Kept | Lost]:
    decisions = judge_tail(rows, start, site.trust.origin, head)
    return decisions[: len(decisions) - held_back] if len(decisions) > held_back else []


def losses_of(site: Site) -> LossList:
    """The loss list, from the tombstones in the scratch database or, after the swap, production.

    Raises NotProven when neither is of this incident.
    """
    names = (site.names.production, site.names.scratch)
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, names)
    for name in names:
        if name not in states:
            continue
        mark = site.is_ours(states[name], Stage.IN_SERVICE, Stage.RESTORED)
        if mark is None:
            continue
        with postgres.connect(
            site.dsn_of(name), timeout_seconds=site.timeout_seconds
        ) as connection:
            start = _start_at(connection, mark.signed)
            rows = _stored(connection, TABLE, start.seq)
            tail = [row for row in rows if mark.end is None or row.seq < mark.end]
        return list_losses(
            tail,
            start,
            incident=site.incident,
            origin=site.trust.origin,
            head=mark.writers_head,
        )
    raise NotProven(
        f"expected a restored database of {site.incident}, found none: restore it first"
    )


def seal_losses(
    site: Site, store: ObjectStore, bucket: str, signer: NoteSigner, retention_days: int
) -> SealedLosses:
    """Store the loss list and a note that signs it, under Object Lock; the same on every call.

    The note (C2SP) names the incident, the SHA-256 of the JSON and the number of lost records:
    the JSON itself may be longer than a note may be.
    """
    losses = losses_of(site)
    data = json.dumps(losses.as_json(), sort_keys=True, indent=1).encode() + b"\n"
    digest = hashlib.sha256(data).hexdigest()
    text = f"rlhf-audit-loss-list/v1\n{site.incident}\n{digest}\n{losses.records}\n"
    until = datetime.now(UTC) + timedelta(days=retention_days)
    key = f"evidence/{site.incident}/loss-list-{digest[:16]}.json"
    note_key = key.removesuffix(".json") + ".note"
    store.put(bucket, key, data, retain_until=until)
    store.put(bucket, note_key, sign_note(text, signer).encode(), retain_until=until)
    head = store.head(bucket, key)
    return SealedLosses(losses, bucket, key, note_key, digest, head.retain_until or until)


def _end_of(scratch: Connection[TupleRow]) -> Start:
    row = scratch.execute(_LAST).fetchone()
    return Start.after(row[0], row[1]) if row is not None else Start.genesis()


def _start_at(connection: Connection[TupleRow], size: int) -> Start:
    """Where the tail begins after `size` signed records."""
    if size == 0:
        return Start.genesis()
    row = connection.execute(
        "SELECT record FROM public.audit_records WHERE seq = %s", (size - 1,)
    ).fetchone()
    if row is None:
        raise NotProven(f"expected the signed record {size - 1}, found none: restore again")
    return Start.after(size - 1, row[0])


def _tail(
    connection: Connection[TupleRow] | None, table: str, first: int, end: int = _NO_END
) -> list[Row]:
    """The rows from `first`, bounded, because an attacker may have filled the table."""
    if connection is None or not has_readable_table(connection, table):
        return []
    return list(_stored(connection, table, first, end))


def _stored(
    connection: Connection[TupleRow], table: str, first: int, end: int = _NO_END
) -> Iterator[Row]:
    query = _TAIL.format(table, int(first), int(end), MAX_TAIL)
    with connection.cursor().copy(query) as copy:
        copy.set_types(["int8", "bytea", "bytea"])
        for seq, record, leaf in copy.rows():
            yield Row(seq, record, leaf)
