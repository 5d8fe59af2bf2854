"""Comparing what a source stores with what was signed: records in, findings out.

Rows are aligned by their `seq`, so one deleted record is one finding and not a shift of all that
follow. A block of 65,536 records that gives the signed root costs one hash a record, one a node
and one comparison of its links; only where a block differs are its signed leaves read, and JSON is
read only to say what is wrong with a record, and in the tail that nobody has signed yet.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tasks.domain.ledger.blocks import BLOCK, SignedBlocks, block_range
from tasks.domain.ledger.comparison import Comparison
from tasks.domain.ledger.explain import Explainer
from tasks.domain.ledger.findings import MAX_FINDINGS, FindingList
from tasks.domain.ledger.hashing import HASH_SIZE, chained, leaf_hashes
from tasks.domain.ledger.lines import size_of
from tasks.domain.ledger.localise import differing_leaves
from tasks.domain.ledger.records import (
    is_tombstone,
    links_after,
    lost_leaf,
    stored_prev,
)
from tasks.domain.ledger.tail import GENESIS, Row, Tail
from tasks.domain.ledger.tree import CompactRange, MerkleTree
from tasks.domain.ledger.verdicts import Code

_MAX_GAPS = 100_000
_MAX_PENDING_BYTES = 64 * 1024 * 1024

Visit = Callable[[int, MerkleTree], None]
"""Called with each block that is as signed: its index, and the tree over its leaves."""


@dataclass(slots=True)
class _Pending:
    """Lines of one block that look right, until the block's end shows whether they are.

    Without a signed root of the block the lines are not kept: nothing could be said about them.
    """

    first: int
    before: Row | None
    signed: bytes | None
    batches: list[tuple[Sequence[bytes], bytes]]
    size: int = 0


class Comparer:
    """Takes the rows of one source in their stored order and compares them with `signed`.

    `begin` and `end` bound the part of the log that is looked at: `begin` is a block's first seq;
    without an `end` the unsigned tail belongs to it. Leaf hashes that the source stores beside its
    records are not asked. Memory: one block's lines (at most 64 MiB of them) and leaves.
    """

    def __init__(
        self,
        source: str,
        signed: SignedBlocks,
        begin: int = 0,
        end: int | None = None,
        *,
        visit: Visit | None = None,
        limit: int = MAX_FINDINGS,
    ) -> None:
        self._source = source
        self._signed = signed
        self._begin = begin
        self._end = signed.size if end is None else min(end, signed.size)
        self._found = FindingList(source, limit)
        self._explain = Explainer(signed, self._found)
        self._visit = visit
        self._next = begin
        self._gaps: list[tuple[int, int]] = []
        self._before: Row | None = None
        self._pending: _Pending | None = None
        self._whole: CompactRange | None = CompactRange.empty(begin)
        self._good_first = False
        self._good_until = begin
        self._first_link: bytes | None = None
        self._tail = Tail(signed, self._found, self._explain)
        self._matched = self._records = self._bytes = 0
        self._supposed: list[tuple[int, int]] = []

    def add(self, seqs: Sequence[int], lines: Sequence[bytes], leaves: bytes | None = None) -> None:
        """Compare a batch: `lines[i]` is stored as record `seqs[i]`.

        `leaves`: what `leaf_hashes` has made of the lines, by whoever needed it before.
        """
        self._records += len(lines)
        self._bytes += size_of(lines)
        leaves = leaf_hashes(lines) if leaves is None else leaves
        at = 0
        while at < len(lines):
            stop = min(len(lines), at + max(1, self._block_end() - self._next))
            part = leaves[at * HASH_SIZE : stop * HASH_SIZE]
            self._add_part(seqs[at:stop], lines[at:stop], part)
            at = stop

    def finish(self) -> Comparison:
        """Add what is missing, and say what was found."""
        self._settle()
        if self._next < self._end:
            self._gaps.append((self._next, self._end))
        for start, end in self._gaps:
            self._say_missing(start, end)
        self._tail.finish()
        return Comparison(
            source=self._source,
            findings=self._found.finish(),
            begin=self._begin,
            end=self._end,
            records=self._records,
            size=self._bytes,
            matched=self._matched,
            supposed=tuple(self._supposed),
            whole=self._whole if self._whole and self._whole.end == self._end else None,
            first_link=self._first_link if self._good_first else None,
            last_links=self._last_links(),
        )

    def _block_end(self) -> int:
        return min(self._end, (self._next // BLOCK + 1) * BLOCK)

    def _add_part(self, seqs: Sequence[int], lines: Sequence[bytes], leaves: bytes) -> None:
        """Rows that reach no further than the end of the block that is expected next."""
        if not self._looks_right(seqs, lines, leaves):
            self._settle()
            for at, (seq, line) in enumerate(zip(seqs, lines, strict=True)):
                self._add_one(seq, line, leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE])
            return
        if self._next == self._begin:
            self._first_link = stored_prev(lines[0])
        pending = self._pending
        if pending is None:
            root = self._signed.block_root(self._next // BLOCK)
            pending = self._pending = _Pending(self._next, self._before, root, [])
        pending.batches.append((lines if pending.signed else (), leaves))
        pending.size += size_of(lines) if pending.signed else 0
        self._next += len(lines)
        self._before = (self._next - 1, lines[-1], leaves[-HASH_SIZE:])
        if self._next == self._end or self._next % BLOCK == 0:
            self._settle_block()
        elif pending.size > _MAX_PENDING_BYTES:
            self._lighten(pending)

    def _lighten(self, pending: _Pending) -> None:
        """Many long lines: judge them now by their leaves, or keep no more than their hashes."""
        if self._signed.leaves(pending.first, pending.first + 1) is not None:
            self._settle()
            return
        pending.batches = [((), leaves) for _, leaves in pending.batches]
        pending.size = 0

    def _looks_right(self, seqs: Sequence[int], lines: Sequence[bytes], leaves: bytes) -> bool:
        """Whether the rows go on where the last one ended, each chained to the one before.

        Where signed leaves cannot be read a broken chain says nothing more than the block's root.
        """
        first, end = self._next, self._next + len(lines)
        if end > self._end or not _are(seqs, range(first, end)):
            return False
        links = self._links_before(first)
        follows = links is None or stored_prev(lines[0]) in links
        if follows and (chained(lines, leaves) or _chained_over_tombstones(lines, leaves)):
            return True
        return self._signed.leaves(first, first + 1) is None

    def _links_before(self, seq: int) -> frozenset[bytes] | None:
        """What `_prev` of record `seq` may be, going by the record before; None without it."""
        if seq == 0:
            return GENESIS
        if self._before is None or self._before[0] != seq - 1:
            return None
        return links_after(self._before[1], self._before[2])

    def _settle_block(self) -> None:
        """At a block's end: its root says whether everything in it is as signed."""
        pending = self._pending
        index = (self._next - 1) // BLOCK
        block = block_range(index, self._signed.size)
        if pending is None or pending.first != block.start or self._next != block.stop:
            self._settle()
            return
        self._pending = None
        tree = MerkleTree(b"".join([leaves for _, leaves in pending.batches]))
        if pending.signed is not None and tree.root() != pending.signed:
            self._whole = None
            self._say_differences(block.start, tree, pending)
            return
        self._note_good(block.start, block.stop)
        if pending.signed is None:
            self._supposed.append((block.start, len(block)))
        else:
            self._matched += len(block)
        if self._whole is not None and self._whole.end == block.start:
            self._whole = self._whole.merge(CompactRange.over(tree, block.start))
        if self._visit is not None and pending.signed is not None:
            self._visit(index, tree)

    def _say_differences(self, first: int, found: MerkleTree, pending: _Pending) -> None:
        """A whole block that is chained in itself, but not as signed: descend to what differs."""
        leaves = self._signed.leaves(first, first + found.size)
        if leaves is None:
            self._explain.unreadable(first, differs=True)
            return
        signed = MerkleTree(leaves)
        differing = differing_leaves(signed, found).leaves
        self._matched += found.size - len(differing)
        lines = [line for part, _ in pending.batches for line in part]
        for at in differing:
            self._explain.difference(first + at, lines[at], found.node(0, at), signed.node(0, at))

    def _settle(self) -> None:
        """Judge what is pending by its leaves, and record by record where those differ."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._whole = None
        readable = self._signed.leaves(pending.first, pending.first + 1) is not None
        if pending.signed is None or not readable:
            self._explain.unreadable(pending.first, differs=False)
            return
        ahead, self._next, self._before = self._next, pending.first, pending.before
        for lines, leaves in pending.batches:
            first, end = self._next, self._next + len(lines)
            if self._signed.leaves(first, end) == leaves:
                self._matched += len(lines)
                self._note_good(first, end)
                self._next, self._before = end, (end - 1, lines[-1], leaves[-HASH_SIZE:])
                continue
            for at, line in enumerate(lines):
                self._add_one(first + at, line, leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE])
        self._next = max(self._next, ahead)

    def _add_one(self, seq: int, line: bytes, leaf: bytes) -> None:
        if seq >= self._signed.size:
            if self._tail.add((seq, line, leaf), self._before):
                self._before = (seq, line, leaf)
            return
        if not self._takes_place(seq, leaf):
            return
        self._whole = None
        if seq == self._begin:
            self._first_link = stored_prev(line)
        signed = self._signed.leaves(seq, seq + 1)
        if signed is None:
            self._explain.unreadable(seq, differs=False)
        elif leaf == signed:
            self._matched += 1
            self._note_good(seq, seq + 1)
            self._check_signed_link(seq, line)
        else:
            self._explain.difference(seq, line, leaf, signed)
        self._before = (seq, line, leaf)

    def _takes_place(self, seq: int, leaf: bytes) -> bool:
        """Whether the record is the first one of its seq; other rows are one too many."""
        if not self._begin <= seq < self._end:
            self._found.add(Code.INSERTED, seq, detail="no record has this seq", found=leaf.hex())
            return False
        if seq >= self._next:
            if seq > self._next:
                self._miss(self._next, seq)
            self._next = seq + 1
            return True
        gap = bisect_right(self._gaps, (seq, self._signed.size + 1)) - 1
        if gap >= 0 and self._gaps[gap][0] <= seq < self._gaps[gap][1]:
            start, end = self._gaps[gap]
            parts = [part for part in ((start, seq), (seq + 1, end)) if part[0] < part[1]]
            self._gaps[gap : gap + 1] = parts
            self._found.add(Code.REORDERED, seq, detail="stored after later records")
            return True
        same = "the same" if leaf == self._signed.leaves(seq, seq + 1) else "another"
        detail = f"stored twice, here {same} line as signed"
        self._found.add(Code.INSERTED, seq, detail=detail, found=leaf.hex())
        return False

    def _miss(self, start: int, end: int) -> None:
        self._whole = None
        self._gaps.append((start, end))
        if len(self._gaps) > _MAX_GAPS:
            early, self._gaps = self._gaps[: _MAX_GAPS // 2], self._gaps[_MAX_GAPS // 2 :]
            for gap in early:
                self._say_missing(*gap)

    def _say_missing(self, start: int, end: int) -> None:
        code = Code.TRUNCATED if end == self._signed.size else Code.DELETED
        signed = self._signed.leaves(start, end) if end - start == 1 else None
        self._found.add(
            code,
            start,
            count=end - start,
            detail="signed records are missing",
            expected=signed.hex() if signed else "",
        )

    def _check_signed_link(self, seq: int, line: bytes) -> None:
        """A line that is as signed was chained when it was sealed; say so when it was not.

        Without the record before, a tombstone there cannot be told from a break: no finding, since
        the missing or altered record before is one already.
        """
        links = self._links_before(seq)
        if links is None or stored_prev(line) in links:
            return
        if seq and self._before is not None:
            _, before, leaf = self._before
            signed = self._signed.leaves(seq - 1, seq)
            stands = signed in (leaf, lost_leaf(before))
            if not stands or stored_prev(line) == (signed or b"").hex().encode():
                return
        detail = "signed as it stands, but not chained to the record before"
        self._found.add(Code.CHAIN_BREAK, seq, detail=detail)

    def _note_good(self, first: int, end: int) -> None:
        """Records that are as signed: only such ones say something about the seams."""
        self._good_first = self._good_first or first == self._begin
        self._good_until = max(self._good_until, end)

    def _last_links(self) -> frozenset[bytes] | None:
        before = self._before
        if before is None or before[0] != self._end - 1 or self._good_until < self._end:
            return None
        if is_tombstone(before[1]):
            return links_after(before[1], before[2])
        return frozenset({before[2].hex().encode()})


def _are(seqs: Sequence[int], expected: range) -> bool:
    return seqs == expected if isinstance(seqs, range) else list(seqs) == list(expected)


def _chained_over_tombstones(lines: Sequence[bytes], leaves: bytes) -> bool:
    """The slow look at a batch that is not chained link by link: a tombstone allows two links."""
    return all(
        stored_prev(line) in links_after(before, leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE])
        for at, (before, line) in enumerate(pairwise(lines))
    )
