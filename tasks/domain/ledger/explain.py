"""Saying what is wrong with one record: moved, altered, declared lost, or not a record at all."""

from tasks.domain.ledger.blocks import BLOCK, SignedBlocks, block_range
from tasks.domain.ledger.findings import FindingList
from tasks.domain.ledger.records import (
    RecordError,
    canonical_line,
    is_tombstone,
    lost_leaf,
    parse_line,
)
from tasks.domain.ledger.verdicts import Code


class Explainer:
    """Adds to `found` why a record differs from the one that was signed in its place."""

    def __init__(self, signed: SignedBlocks, found: FindingList) -> None:
        self._signed = signed
        self._found = found
        self._shift = 0
        self._unreadable: int | None = None

    def difference(self, seq: int, line: bytes, leaf: bytes, signed: bytes) -> None:
        """The record `seq` has `leaf` instead of `signed`."""
        declared_lost = is_tombstone(line) and lost_leaf(line) == signed
        place = None if declared_lost else self._place_of(seq, leaf)
        if declared_lost:
            code, detail = Code.LOST, "declared lost by a tombstone"
        elif place is None:
            code, detail = Code.MODIFIED, "not the line that was signed"
        else:
            code, detail = Code.REORDERED, f"holds the record signed as {place}"
        self._found.add(code, seq, detail=detail, expected=signed.hex(), found=leaf.hex())
        self.form(seq, line)

    def unreadable(self, seq: int, *, differs: bool) -> None:
        """The signed leaves of the record's block are unreadable; `differs`: its root is another.

        One finding a block. Without the root of a whole block nothing is said against its records.
        """
        block = block_range(seq // BLOCK, self._signed.size)
        if self._unreadable == block.start:
            return
        self._unreadable = block.start
        if differs:
            detail = (
                "at least one of these records is not as signed; the tiles that would say which"
                " are damaged too"
            )
            self._found.add(Code.MODIFIED, block.start, count=len(block), detail=detail)
        else:
            detail = "cannot be judged one by one: the tiles with their signed hashes are damaged"
            self._found.add(Code.UNPROVEN, block.start, count=len(block), detail=detail)

    def form(self, seq: int, line: bytes) -> bytes | None:
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
        if 0 <= guess < self._signed.size and self._signed.leaves(guess, guess + 1) == leaf:
            return guess
        place = self._signed.find(leaf, seq)
        if place is not None:
            self._shift = place - seq
        return place
