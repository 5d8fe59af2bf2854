"""Proofs made again from what was put back, and checked: for records, and from older heads."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.domain.ledger import NoteError, Trust, verify_consistency, verify_inclusion
from tasks.domain.log_rebuild import Range
from tasks.work.log_files import LogStore
from tasks.work.log_heads import latest_head, open_head, stored_sizes
from tasks.work.proving import continue_anchor
from tasks.work.signed_tree import read_tree

MOST_RECORDS = 1000
_MOST_HEADS = 200


@dataclass(frozen=True, slots=True)
class Reproved:
    """Proofs that hold now: of `records` of the `affected` ones, and from `heads` older heads."""

    size: int
    affected: int
    records: int
    heads: int

    def __str__(self) -> str:
        of = "all" if self.records == self.affected else f"{self.records} of"
        return (
            f"inclusion proofs of {of} {self.affected} affected records and consistency proofs "
            f"from {self.heads} older heads were made again from the stored tiles; they lead to "
            f"the signed root of {self.size} records"
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal."""
        return {
            "size": self.size,
            "affected": self.affected,
            "records": self.records,
            "heads": self.heads,
        }


def prove_again(log: LogStore, trust: Trust, affected: Sequence[Range]) -> Reproved:
    """Make and verify them. ProofError or NotProven when one does not lead to the signed root.

    Of more than a thousand records the ends of each range and others drawn at random.
    """
    head = latest_head(log, trust).checkpoint
    tree = read_tree(log, head.size)
    continue_anchor(tree, head, trust)
    clipped = [(first, min(end, head.size)) for first, end in affected if first < head.size]
    chosen = _chosen(clipped)
    for seq in chosen:
        proof = tree.inclusion_proof(seq)
        verify_inclusion(seq, head.size, tree.node(0, seq), head.root, proof)
    older = [size for size in stored_sizes(log) if 0 < size < head.size][-_MOST_HEADS:]
    proven = 0
    for size in older:
        try:
            old = open_head(log, size, trust, witnessed=False).checkpoint
        except NoteError:
            continue  # no head of the log: verification has told it
        hashes = tree.consistency_proof(size)
        verify_consistency(size, head.size, old.root, head.root, hashes)
        proven += 1
    return Reproved(head.size, sum(end - first for first, end in clipped), len(chosen), proven)


def _chosen(ranges: Sequence[Range]) -> list[int]:
    total = sum(end - first for first, end in ranges)
    if total <= MOST_RECORDS:
        return [seq for first, end in ranges for seq in range(first, end)]
    ends = [seq for first, end in ranges for seq in {first, end - 1}][:MOST_RECORDS]
    drawn: set[int] = set(ends)
    chance = secrets.SystemRandom()
    while len(drawn) < MOST_RECORDS:
        at = chance.randrange(total)
        for first, end in ranges:
            if at < end - first:
                drawn.add(first + at)
                break
            at -= end - first
    return sorted(drawn)
