"""Which records of the unsigned tail are carried over, and exactly which are lost.

Records after the signed head are committed to by nothing but the records after them: `_prev` of
each names the one before (`ledger.chain_link`), and the writers' own head names the last. So the
tail is judged from its end: a record whose hash its successor (or the head) names is kept for
certain; where it is not the named one, its successor still says which hash is lost, and the record
before it stands on its own again. One damaged row costs one row.

A record that nothing names (the end of a table whose writers cannot be asked, the record before a
gap) is kept when it is whole: right `seq`, right origin, stored leaf equal to its hash. Whoever
could rewrite leaves could forge such a record; `LossList.confirmed_from` says where certainty
begins. What is lost becomes a tombstone at its `seq`, so that no `seq` is used twice.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.ledger import (
    GENESIS_PREV,
    RecordError,
    canonical_line,
    chain_link,
    is_tombstone,
    leaf_hash,
    lost_leaf,
    parse_line,
    tombstone_line,
)
from tasks.domain.ledger.records import links_after, stored_prev

MAX_TAIL = 1_000_000
"""Unsigned records that one recovery carries over; more means that sealing stood still."""

MAX_GAP = 65_536
"""Writers append without gaps, so a row that lies further beyond the others was slipped in."""

_LINK = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the damaged table (or of another source), as stored; nothing is believed yet."""

    seq: int
    record: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True)
class WritersHead:
    """What the writers were told is written: `size` records, `leaf` the chain link of the last."""

    size: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that goes over unchanged."""

    seq: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """A record that no source has; `leaf` is its hash where a successor names it."""

    seq: int
    leaf: bytes | None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a tail begins: at `seq`, after a record with these `links` (64 hex bytes each)."""

    seq: int
    link: str
    links: frozenset[bytes]

    @classmethod
    def after(cls, seq: int, line: bytes) -> "Start":
        """After record `seq` with the stored `line`, which is proven."""
        leaf = leaf_hash(line)
        return cls(seq + 1, chain_link(line, leaf), links_after(line, leaf))

    @classmethod
    def genesis(cls) -> "Start":
        """Before the first record."""
        return cls(0, GENESIS_PREV, frozenset({GENESIS_PREV.encode()}))


@dataclass(frozen=True, slots=True)
class LostRange:
    """`count` consecutive lost records from `first`; one leaf (hex, empty: unknown) for each."""

    first: int
    count: int
    leaves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LossList:
    """What a recovery could not bring back. Sizes are numbers of records.

    Kept records from `confirmed_from` to the acknowledged size are named, hash by hash, by the
    writers' head; those between the signed head and `confirmed_from` rest on their own chain.
    `acknowledged_size` is None when the writers could not be asked what they were told: then
    acknowledged records may have vanished that no list can name.
    """

    incident: str
    origin: str
    signed_size: int
    acknowledged_size: int | None
    size: int
    confirmed_from: int
    lost: tuple[LostRange, ...]

    @property
    def records(self) -> int:
        """How many records are lost."""
        return sum(each.count for each in self.lost)

    def as_json(self) -> dict[str, Any]:
        """JSON-able: what is signed and what the report shows."""
        return {
            "version": "rlhf-audit-loss-list/v1",
            "incident": self.incident,
            "origin": self.origin,
            "signed_size": self.signed_size,
            "acknowledged_size": self.acknowledged_size,
            "acknowledged_known": self.acknowledged_size is not None,
            "size": self.size,
            "confirmed_from": self.confirmed_from,
            "records_lost": self.records,
            "lost": [
                {"first": each.first, "count": each.count, "leaves": list(each.leaves)}
                for each in self.lost
            ],
        }


def judge_tail(
    rows: Iterable[Row], start: Start, origin: str, head: WritersHead | None
) -> list[Kept | Lost]:
    """A decision for every `seq` from the start to the larger of table end and writers' head.

    `rows` may come in any order, from several sources, damaged in any way; a record is found by
    the hash that is asked for, wherever it lies: in a row before the start, too. A head that is
    not beyond the start says nothing. Raises BadInput for a tail of more than `MAX_TAIL`.
    """
    known = list(rows)
    seqs = (row.seq for row in known if row.seq >= start.seq)
    end = tail_end(seqs, start.seq, head.size if head else 0)
    sources = _Sources(known, origin)
    if head is None or head.size <= start.seq:
        return _judge(sources, start, end, None)
    named = head.leaf.hex().encode()
    acknowledged = _judge(sources, start, head.size, named)
    if end <= head.size:
        return acknowledged
    beyond = Start(head.size, head.leaf.hex(), _links_of(acknowledged[-1]) | {named})
    return acknowledged + _judge(sources, beyond, end, None)


def may_lie_elsewhere(decision: Kept | Lost) -> bool:
    """Whether a row not seen yet could decide better: the hash is known, the record is not."""
    if isinstance(decision, Lost):
        return decision.leaf is not None
    return is_tombstone(decision.record)


def tail_end(seqs: Iterable[int], first: int, acknowledged: int) -> int:
    """The tail's end (last seq + 1): of the table or of the writers' head, the larger.

    Rows more than `MAX_GAP` beyond it are passed over; BadInput for more than `MAX_TAIL` records.
    """
    end = max(first, acknowledged)
    for seq in sorted(seqs):
        if seq - end > MAX_GAP:
            break
        end = max(end, seq + 1)
    if end - first > MAX_TAIL:
        raise BadInput(
            f"expected at most {MAX_TAIL} unsigned records after {first}, found {end - first}: "
            "seal the log, or correct the head that the writers report"
        )
    return end


def write_tail(
    decisions: Iterable[Kept | Lost], start: Start, *, incident: str, origin: str, at: datetime
) -> Iterator[Row]:
    """The rows to store: kept records as they are, tombstones for the lost ones."""
    link = start.link
    for decision in decisions:
        if isinstance(decision, Kept):
            line = decision.record
        else:
            line = tombstone_line(decision.seq, link, decision.leaf, incident, at, origin=origin)
        leaf = leaf_hash(line)
        link = chain_link(line, leaf)
        yield Row(decision.seq, line, leaf)


def first_break(rows: Iterable[Row], start: Start) -> int | None:
    """The first `seq` at which the tail is not one chain from the start; None when it is one."""
    expected, links = start.seq, start.links
    for row in rows:
        if (
            row.seq != expected
            or row.leaf != leaf_hash(row.record)
            or stored_prev(row.record) not in links
        ):
            return expected
        expected, links = row.seq + 1, links_after(row.record, row.leaf)
    return None


def list_losses(
    tail: Sequence[Row], start: Start, *, incident: str, origin: str, head: WritersHead | None
) -> LossList:
    """The loss list of a carried-over tail, read from its tombstones, whoever wrote them.

    Reading it from the rows themselves makes it the same list on every call.
    """
    ranges: list[LostRange] = []
    last_lost = start.seq - 1
    for row in tail:
        if not is_tombstone(row.record):
            continue
        known = lost_leaf(row.record)
        leaf = known.hex() if known else ""
        if ranges and row.seq == last_lost + 1:
            open_range = ranges.pop()
            ranges.append(
                LostRange(open_range.first, open_range.count + 1, (*open_range.leaves, leaf))
            )
        else:
            ranges.append(LostRange(row.seq, 1, (leaf,)))
        last_lost = row.seq
    size = tail[-1].seq + 1 if tail else start.seq
    return LossList(
        incident=incident,
        origin=origin,
        signed_size=start.seq,
        acknowledged_size=head.size if head else None,
        size=size,
        confirmed_from=_confirmed_from(tail, start, head),
        lost=tuple(ranges),
    )


def _confirmed_from(tail: Sequence[Row], start: Start, head: WritersHead | None) -> int:
    """The first `seq` of the unbroken run of named records that ends at the writers' head."""
    if head is None or head.size <= start.seq:
        return tail[-1].seq + 1 if tail else start.seq
    named, at = head.leaf, head.size
    for row in reversed(tail[: head.size - start.seq]):
        if row.leaf != named:
            break
        at = row.seq
        prev = stored_prev(row.record)
        named = bytes.fromhex(prev.decode()) if prev else b""
    return at


def _links_of(decision: Kept | Lost) -> frozenset[bytes]:
    if isinstance(decision, Kept):
        return links_after(decision.record, leaf_hash(decision.record))
    return frozenset({decision.leaf.hex().encode()}) if decision.leaf else frozenset()


class _Sources:
    """Records by the links that a successor may carry, and whole rows by their place."""

    def __init__(self, rows: Iterable[Row], origin: str) -> None:
        self._by_link: dict[tuple[int, bytes], bytes] = {}
        self._whole: dict[int, bytes] = {}
        for row in rows:
            seq = _claimed_seq(row.record, origin)
            if seq is None:
                continue
            leaf = leaf_hash(row.record)
            for link in links_after(row.record, leaf):
                # A tombstone must not stand in for a record that is still there.
                if link == leaf.hex().encode():
                    self._by_link[seq, link] = row.record
                else:
                    self._by_link.setdefault((seq, link), row.record)
            if seq == row.seq and leaf == row.leaf:
                self._whole.setdefault(seq, row.record)

    def named(self, seq: int, link: bytes) -> bytes | None:
        return self._by_link.get((seq, link))

    def whole(self, seq: int) -> bytes | None:
        return self._whole.get(seq)


def _claimed_seq(record: bytes, origin: str) -> int | None:
    """The `seq` inside a readable record of this log; None for anything else.

    A record in any but the one form that is written is none of ours: the verifier, which judges
    the table after the swap, would call it tampered with.
    """
    prev = stored_prev(record)
    try:
        event = parse_line(record)
        canonical = canonical_line(event)
    except RecordError:
        return None
    seq = event.get("seq")
    if canonical != record or prev is None or not _LINK.fullmatch(prev):
        return None
    if event.get("origin") != origin or type(seq) is not int:
        return None
    return seq


def _judge(sources: _Sources, start: Start, end: int, named: bytes | None) -> list[Kept | Lost]:
    """From the end to the start; `named` is the link that the record before `seq` must have."""
    decisions: list[Kept | Lost] = []
    for seq in range(end - 1, start.seq - 1, -1):
        record = sources.named(seq, named) if named is not None else sources.whole(seq)
        prev = stored_prev(record) if record is not None else None
        if record is None or (seq == start.seq and prev not in start.links):
            decisions.append(Lost(seq, _hash(named)))
            named = None
        else:
            decisions.append(Kept(seq, record))
            named = prev
    decisions.reverse()
    return decisions


def _hash(named: bytes | None) -> bytes | None:
    return bytes.fromhex(named.decode()) if named is not None else None
