"""Which records a verification hashes again: all of them, or the new ones and some older blocks.

Older records stay bound to the signed root by the tree; what only hashing them again can show is
that the stored lines still are what was hashed. A share of the older blocks is drawn each night
with a seed that nobody knew when the head was signed, so damage cannot keep out of the way.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from random import Random

from tasks.domain.ledger.blocks import BLOCK, block_count, block_range


@dataclass(frozen=True, slots=True)
class Scope:
    """All records from `since` (a block's first seq) on, and the older blocks in `sampled`."""

    since: int = 0
    sampled: tuple[int, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out."""
        return self.since == 0

    def blocks(self, size: int) -> list[int]:
        """The blocks of a log of `size` records that are hashed again, ascending."""
        return [*self.sampled, *range(self.since // BLOCK, block_count(size))]

    def records(self, size: int) -> int:
        """How many signed records that are."""
        return sum(len(block_range(index, size)) for index in self.blocks(size))

    def within(self, size: int) -> "Scope":
        """The scope in a log of `size` records, perhaps fewer than whoever chose it expected."""
        since = min(self.since, size // BLOCK * BLOCK)
        return Scope(since, tuple(index for index in self.sampled if index * BLOCK < since))

    def with_blocks(self, indexes: Iterable[int]) -> "Scope":
        """Also these older blocks: those that already look wrong from outside."""
        older = {index for index in indexes if index * BLOCK < self.since}
        return Scope(self.since, tuple(sorted(older | set(self.sampled))))

    def describe(self, size: int) -> str:
        """In words, for reports; empty for a full verification."""
        if self.is_full:
            return ""
        older = self.since // BLOCK
        return (
            f"hashed again: records {self.since} and on, and {len(self.sampled)} of {older} older"
            f" blocks of {BLOCK} ({self.records(size)} of {size} records); the others are bound to"
            " the signed root by the tree, and only counted"
        )


FULL = Scope()


def choose_scope(anchored: int, share: float, seed: bytes) -> Scope:
    """What is new since a head of `anchored` records, and a `share` (0 to 1) of what is older.

    `seed` must be drawn after the head was read. At least one older block is taken.
    """
    older = anchored // BLOCK
    if older <= 0:
        return FULL
    drawn = Random(seed).sample(range(older), min(older, max(1, ceil(share * older))))  # noqa: S311 - the seed is secret, not the generator
    return Scope(older * BLOCK, tuple(sorted(drawn)))
