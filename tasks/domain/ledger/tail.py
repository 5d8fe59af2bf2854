"""The unsigned tail: records newer than the head, which only their chain holds together."""

from tasks.domain.ledger.blocks import SignedBlocks
from tasks.domain.ledger.explain import Explainer
from tasks.domain.ledger.findings import FindingList
from tasks.domain.ledger.records import GENESIS_PREV, links_after, lost_leaf
from tasks.domain.ledger.verdicts import Code

Row = tuple[int, bytes, bytes]
"""seq, line, leaf hash."""

GENESIS = frozenset({GENESIS_PREV.encode()})
"""What `_prev` of the first record must be."""


class Tail:
    """Takes the unsigned records in their stored order."""

    def __init__(self, signed: SignedBlocks, found: FindingList, explain: Explainer) -> None:
        self._signed = signed
        self._found = found
        self._explain = explain
        self._count = 0
        self._next = signed.size

    def add(self, row: Row, before: Row | None) -> bool:
        """Whether the record, stored after the record `before`, belongs to the tail."""
        seq, line, leaf = row
        if seq < self._next:
            detail = "an unsigned seq is stored twice or out of order"
            self._found.add(Code.INSERTED, seq, detail=detail, found=leaf.hex())
            return False
        follows = seq == self._next
        if not follows:
            detail = "unsigned records are missing before later ones"
            self._found.add(Code.DELETED, self._next, count=seq - self._next, detail=detail)
        self._count += 1
        self._next = seq + 1
        prev = self._explain.form(seq, line)
        links = self._links(seq, before)
        if follows and prev is not None and links is not None and prev not in links:
            detail = "not chained to the record before; no signature says which is right"
            self._found.add(Code.CHAIN_BREAK, seq, detail=detail, found=leaf.hex())
        return True

    def finish(self) -> None:
        """Say how long the tail is."""
        if self._count:
            detail = "records that no checkpoint covers yet"
            self._found.add(Code.UNSIGNED_TAIL, self._signed.size, count=self._count, detail=detail)

    def _links(self, seq: int, before: Row | None) -> frozenset[bytes] | None:
        """What `_prev` of the record may be; None when nothing is known of the one before."""
        if seq > self._signed.size:
            return links_after(before[1], before[2]) if before else frozenset()
        if seq == 0:
            return GENESIS
        signed = self._signed.leaves(seq - 1, seq)
        links = frozenset({signed.hex().encode()}) if signed else frozenset()
        if before is None or before[0] != seq - 1:
            return links or None
        stands = signed is None or signed in (before[2], lost_leaf(before[1]))
        return links | links_after(before[1], before[2]) if stands else links
