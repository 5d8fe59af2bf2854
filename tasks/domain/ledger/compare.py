"""Comparing what a source stores with what was signed: records in, findings out.

Rows are aligned by their `seq`, so one deleted record is one finding and not a shift of all that
follow. Whole batches that are as signed cost one hash a record and two comparisons of bytes; JSON
is read only to say what is wrong with a record, and in the tail that nobody has signed yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.domain.ledger.hashing import HASH_SIZE, leaf_hashes
from tasks.domain.ledger.records import (
    GENESIS_PREV,
    RecordError,
    canonical_line,
    is_tombstone,
    links_after,
    lost_leaf,
    parse_line,
    stored_prev,
)
from tasks.domain.ledger.verdicts import INFORMATIONAL, Code, Finding

MAX_FINDINGS = 10_000
_MAX_INDEXED = 1_000_000
_MAX_SCANS = 64
_GENESIS = frozenset({GENESIS_PREV.encode()})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it: `records` and `size` (bytes) were read, `matched` are as signed."""

    findings: tuple[Finding, ...]
    records: int
    size: int
    matched: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing speaks against the source."""
        return all(finding.code in INFORMATIONAL for finding in self.findings)


class FindingList:
    """Findings with runs of consecutive seqs merged; kept up to a limit, counted beyond it."""

    def __init__(self, source: str, limit: int = MAX_FINDINGS) -> None:
        self._source = source
        self._limit = limit
        self._open: dict[Code, Finding] = {}
        self._kept: list[Finding] = []
        self._beyond: dict[Code, int] = {}

    def add(
        self,
        code: Code,
        seq: int,
        *,
        count: int = 1,
        detail: str = "",
        expected: str = "",
        found: str = "",
    ) -> None:
        """Note `count` records from `seq`; hashes are kept for single records only."""
        run = self._open.get(code)
        if run is not None and run.first is not None and run.first + run.count == seq:
            longer = run.count + count
            self._open[code] = replace(run, count=longer, expected="", found="")
            return
        if run is not None:
            self._keep(run)
        self._open[code] = Finding(code, self._source, seq, count, detail[:500], expected, found)

    def finish(self) -> tuple[Finding, ...]:
        """All findings by seq, then one for each code whose findings exceed the limit."""
        for run in self._open.values():
            self._keep(run)
        self._open.clear()
        self._kept.sort(key=lambda finding: (finding.first or 0, finding.code))
        beyond = [
            Finding(code, self._source, None, count, "further records, not listed one by one")
            for code, count in sorted(self._beyond.items())
        ]
        return (*self._kept, *beyond)

    def _keep(self, finding: Finding) -> None:
        if len(self._kept) < self._limit:
            self._kept.append(finding)
        else:
            self._beyond[finding.code] = self._beyond.get(finding.code, 0) + finding.count


class Comparer:
    """Takes the rows of one source in their stored order and compares them with `signed`.

    `signed` are authenticated leaf hashes, n * 32 bytes: whoever calls has proven that they
    reproduce the signed root. Leaf hashes that the source stores beside its records are not asked.
    Memory: one byte a signed record beside `signed` itself.
    """

    def __init__(self, source: str, signed: bytes, *, limit: int = MAX_FINDINGS) -> None:
        self._signed = signed
        self._size = len(signed) // HASH_SIZE
        self._found = FindingList(source, limit)
        self._seen = bytearray(self._size)
        self._next = 0
        self._before: tuple[int, bytes, bytes] | None = None
        self._tail = 0
        self._tail_next = self._size
        self._matched = self._records = self._bytes = 0
        self._shift = self._scans = 0
        self._places: dict[bytes, int] | None = None

    def add(self, seqs: Sequence[int], lines: Sequence[bytes]) -> None:
        """Compare a batch: `lines[i]` is stored as record `seqs[i]`."""
        if not lines:
            return
        self._records += len(lines)
        self._bytes += sum(map(len, lines))
        leaves = leaf_hashes(lines)
        if self._is_as_signed(seqs, lines, leaves):
            first, end = self._next, self._next + len(lines)
            self._seen[first:end] = b"\1" * len(lines)
            self._matched += len(lines)
            self._next = end
            self._before = (end - 1, lines[-1], leaves[-HASH_SIZE:])
            return
        for at, (seq, line) in enumerate(zip(seqs, lines, strict=True)):
            self._add_one(seq, line, leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE])

    def finish(self) -> Comparison:
        """Add what is missing, and say what was found."""
        start = self._seen.find(0)
        while start >= 0:
            end = self._seen.find(1, start)
            end = self._size if end < 0 else end
            self._found.add(
                Code.TRUNCATED if end == self._size else Code.DELETED,
                start,
                count=end - start,
                detail="signed records are missing",
                expected=self._leaf(start).hex() if end - start == 1 else "",
            )
            start = self._seen.find(0, end)
        if self._tail:
            detail = "records that no checkpoint covers yet"
            self._found.add(Code.UNSIGNED_TAIL, self._size, count=self._tail, detail=detail)
        return Comparison(self._found.finish(), self._records, self._bytes, self._matched)

    def _leaf(self, seq: int) -> bytes:
        return self._signed[seq * HASH_SIZE : (seq + 1) * HASH_SIZE]

    def _is_as_signed(self, seqs: Sequence[int], lines: Sequence[bytes], leaves: bytes) -> bool:
        """Whether the batch continues the signed region and each line is as signed and chained."""
        first, end = self._next, self._next + len(lines)
        if end > self._size or seqs[0] != first or list(seqs) != list(range(first, end)):
            return False
        if leaves != self._signed[first * HASH_SIZE : end * HASH_SIZE]:
            return False
        if stored_prev(lines[0]) not in self._links_before(first):
            return False
        links = leaves.hex().encode()
        starts = [b'{"_prev":"%b"' % links[at : at + 64] for at in range(0, len(links) - 64, 64)]
        return [line[:75] for line in lines[1:]] == starts

    def _links_before(self, seq: int) -> frozenset[bytes]:
        """What `_prev` of record `seq` may be, going by the signed record before it."""
        if seq == 0:
            return _GENESIS
        signed = self._leaf(seq - 1)
        links = frozenset({signed.hex().encode()})
        if self._before is not None and self._before[0] == seq - 1:
            _, line, leaf = self._before
            if signed in (leaf, lost_leaf(line)):
                links |= links_after(line, leaf)
        return links

    def _add_one(self, seq: int, line: bytes, leaf: bytes) -> None:
        if seq >= self._size:
            self._add_unsigned(seq, line, leaf)
            return
        if seq < 0:
            self._found.add(Code.INSERTED, seq, detail="no record has this seq", found=leaf.hex())
            return
        if self._seen[seq]:
            same = "the same" if leaf == self._leaf(seq) else "another"
            detail = f"stored twice, here {same} line as signed"
            self._found.add(Code.INSERTED, seq, detail=detail, found=leaf.hex())
            return
        self._seen[seq] = 1
        if seq < self._next:
            self._found.add(Code.REORDERED, seq, detail="stored after later records")
        self._next = max(self._next, seq + 1)
        if leaf == self._leaf(seq):
            self._matched += 1
            self._check_signed_link(seq, line)
        else:
            self._say_why(seq, line, leaf)
        self._before = (seq, line, leaf)

    def _check_signed_link(self, seq: int, line: bytes) -> None:
        """A line that is as signed was chained when it was sealed; say so when it was not.

        Without the record before, a tombstone there cannot be told from a break: no finding, since
        the missing or altered record before is one already.
        """
        if stored_prev(line) in self._links_before(seq):
            return
        before = self._before
        if seq and (before is None or before[0] != seq - 1 or before[2] != self._leaf(seq - 1)):
            return
        detail = "signed as it stands, but not chained to the record before"
        self._found.add(Code.CHAIN_BREAK, seq, detail=detail)

    def _say_why(self, seq: int, line: bytes, leaf: bytes) -> None:
        expected = self._leaf(seq)
        declared_lost = is_tombstone(line) and lost_leaf(line) == expected
        place = None if declared_lost else self._place_of(seq, leaf)
        if declared_lost:
            code, detail = Code.LOST, "declared lost by a tombstone"
        elif place is None:
            code, detail = Code.MODIFIED, "not the line that was signed"
        else:
            code, detail = Code.REORDERED, f"holds the record signed as {place}"
        self._found.add(code, seq, detail=detail, expected=expected.hex(), found=leaf.hex())
        self._check_form(seq, line)

    def _check_form(self, seq: int, line: bytes) -> bytes | None:
        """Findings about the line itself; its `_prev` when it can be read at all."""
        try:
            event = parse_line(line)
            canonical = canonical_line(event)
        except RecordError as error:
            self._found.add(Code.UNPARSEABLE, seq, detail=str(error))
            return None
        if canonical != line:
            self._found.add(Code.NONCANONICAL, seq, detail="not in the one form that is written")
        stored = event.get("seq")
        if type(stored) is not int or stored != seq:
            detail = f"the line says seq {ascii(stored)[:40]}"
            self._found.add(Code.SEQ_MISMATCH, seq, detail=detail)
        return str(event.get("_prev")).encode("ascii", "replace")

    def _place_of(self, seq: int, leaf: bytes) -> int | None:
        """Which signed record this leaf is; a shifted run is found without searching."""
        guess = seq + self._shift
        if 0 <= guess < self._size and self._leaf(guess) == leaf:
            return guess
        place = self._search(leaf)
        if place is not None:
            self._shift = place - seq
        return place

    def _search(self, leaf: bytes) -> int | None:
        if self._size <= _MAX_INDEXED:
            if self._places is None:
                self._places = {self._leaf(seq): seq for seq in range(self._size)}
            return self._places.get(leaf)
        self._scans += 1
        if self._scans > _MAX_SCANS:
            return None
        at = self._signed.find(leaf)
        while at >= 0 and at % HASH_SIZE:
            at = self._signed.find(leaf, at + 1)
        return at // HASH_SIZE if at >= 0 else None

    def _add_unsigned(self, seq: int, line: bytes, leaf: bytes) -> None:
        if seq < self._tail_next:
            detail = "an unsigned seq is stored twice or out of order"
            self._found.add(Code.INSERTED, seq, detail=detail, found=leaf.hex())
            return
        follows = seq == self._tail_next
        if not follows:
            detail = "unsigned records are missing before later ones"
            self._found.add(
                Code.DELETED, self._tail_next, count=seq - self._tail_next, detail=detail
            )
        self._tail += 1
        self._tail_next = seq + 1
        prev = self._check_form(seq, line)
        if follows and prev is not None and prev not in self._links_of_tail(seq):
            detail = "not chained to the record before; no signature says which is right"
            self._found.add(Code.CHAIN_BREAK, seq, detail=detail, found=leaf.hex())
        self._before = (seq, line, leaf)

    def _links_of_tail(self, seq: int) -> frozenset[bytes]:
        if seq == self._size or self._before is None:
            return self._links_before(seq)
        _, line, leaf = self._before
        return links_after(line, leaf)
