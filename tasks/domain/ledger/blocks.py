"""A signed tree in blocks of 65,536 leaves: roots that are believed, leaves read on demand.

The root over a block stands in the tiles of level 2, so a log of a billion records is authenticated
with half a megabyte. A source whose block gives the same root is as signed without reading a single
leaf hash; only where it differs are the block's leaves read, and believed if they give its root.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Self

from tasks.domain.errors import NotProven
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.ledger.hashing import HASH_SIZE, node_hash, tree_root
from tasks.domain.ledger.proofs import verify_consistency
from tasks.domain.ledger.tree import CompactRange, Tree

BLOCK = 65_536
BLOCK_LEVEL = 16

_HELD_BLOCKS = 4
_WIDE_LOADS = 64

ReadBlock = Callable[[int], bytes | None]
"""Claimed leaf hashes of block `index`, n * 32 bytes; None when they cannot be read."""


def block_range(index: int, size: int) -> range:
    """The seqs of block `index` in a log of `size` records."""
    return range(index * BLOCK, min(size, (index + 1) * BLOCK))


def block_count(size: int) -> int:
    """How many blocks `size` records fill, the last one perhaps in part."""
    return -(-size // BLOCK)


class SignedBlocks:
    """Block roots that together give a signed root, and the leaves below them."""

    def __init__(
        self,
        size: int,
        roots: Sequence[bytes | None],
        *readers: ReadBlock,
        root: bytes = b"",
        tree: Tree | None = None,
    ) -> None:
        if len(roots) != block_count(size):
            raise ValueError(f"expected {block_count(size)} block roots, found {len(roots)}")
        self.size = size
        self._roots = roots
        self._readers = readers
        self._root = root
        self._tree = tree
        self._held: OrderedDict[int, bytes | None] = OrderedDict()
        self._places: OrderedDict[int, dict[bytes, int]] = OrderedDict()
        self._wide_loads = 0

    @classmethod
    def proven(
        cls,
        checkpoint: Checkpoint,
        roots: Sequence[bytes],
        *readers: ReadBlock,
        tree: Tree | None = None,
    ) -> Self:
        """Over roots that were read from anywhere; NotProven unless they give the signed root.

        A block's leaves are taken from the first reader whose answer gives the block's root.
        `tree`, believed only as far as it proves, spares reading them for the roots of other sizes.
        """
        found = root_of_blocks(checkpoint.size, roots)
        if found != checkpoint.root:
            raise NotProven(
                f"the tree of {checkpoint.size} records has root {found.hex()},"
                f" signed is {checkpoint.root.hex()}"
            )
        return cls(checkpoint.size, roots, *readers, root=checkpoint.root, tree=tree)

    @classmethod
    def of_leaves(cls, leaves: bytes) -> Self:
        """Over leaf hashes that are believed already, n * 32 bytes."""
        size = len(leaves) // HASH_SIZE

        def read(index: int) -> bytes:
            return leaves[index * BLOCK * HASH_SIZE : (index + 1) * BLOCK * HASH_SIZE]

        return cls(size, [tree_root(read(index)) for index in range(block_count(size))], read)

    @classmethod
    def unknown(cls, size: int) -> Self:
        """Nothing is known of the tree but its size: only a whole root can be compared."""
        return cls(size, [None] * block_count(size))

    def block_root(self, index: int) -> bytes | None:
        """Root over the block's leaves, the last block's being fewer; None when unknown."""
        return self._roots[index]

    def claimed(self, index: int) -> bytes | None:
        """What the first reader says of the block's leaves, right or wrong."""
        return self._readers[0](index) if self._readers else None

    def leaves(self, first: int, end: int) -> bytes | None:
        """Leaf hashes of records `first` <= seq < `end` of one block; None when unreadable."""
        index = first // BLOCK
        held = self._block(index)
        start = index * BLOCK
        return (
            None if held is None else held[(first - start) * HASH_SIZE : (end - start) * HASH_SIZE]
        )

    def find(self, leaf: bytes, near: int) -> int | None:
        """Which signed record this is: in `near`'s block and its neighbours, some others beyond."""
        home = near // BLOCK
        for index in (home, home - 1, home + 1):
            if 0 <= index < len(self._roots) and (at := self._index(index).get(leaf)) is not None:
                return at
        if self._wide_loads >= _WIDE_LOADS:
            return None
        for index in range(len(self._roots)):
            if abs(index - home) > 1 and self._wide_loads < _WIDE_LOADS:
                self._wide_loads += 1
                at = _aligned(self._block(index) or b"", leaf)
                if at is not None:
                    return index * BLOCK + at
        return None

    def root_at(self, size: int) -> bytes | None:
        """Root over the first `size` records; None when the block it ends in is unreadable."""
        if not 0 <= size <= self.size or None in self._roots[: block_count(size)]:
            return None
        proven = self._proven_root(size)
        if proven is not None:
            return proven
        index = size // BLOCK
        start = index * BLOCK
        tail = self.leaves(start, size) if size > start else b""
        if tail is None:
            return None
        roots = [root for root in self._roots[:index] if root is not None]
        return root_of_blocks(size, roots + [tree_root(tail)] * bool(tail))

    def root_with(self, tail: bytes) -> bytes | None:
        """Root over all signed records and `tail`, leaf hashes of the records after them."""
        grown = self._proven_root(self.size + len(tail) // HASH_SIZE, tail)
        if grown is not None:
            return grown
        index = self.size // BLOCK
        rest = self.leaves(index * BLOCK, self.size) if self.size % BLOCK else b""
        if rest is None or None in self._roots:
            return None
        leaves = rest + tail
        roots = [root for root in self._roots[:index] if root is not None]
        step = BLOCK * HASH_SIZE
        roots += [tree_root(leaves[at : at + step]) for at in range(0, len(leaves), step)]
        return root_of_blocks(self.size + len(tail) // HASH_SIZE, roots)

    def _proven_root(self, size: int, tail: bytes = b"") -> bytes | None:
        """The root over `size` records, `tail` being those after the signed ones, by few nodes.

        None when the tree does not prove it: then the leaves are asked.
        """
        if self._tree is None:
            return None
        try:
            if tail:
                signed = CompactRange.over(self._tree, 0)
                grown = signed.merge(CompactRange.of(tail, self.size))
                return grown.root() if signed.root() == self._root else None
            root = self._tree.root(size)
            proof = self._tree.consistency_proof(size)
            verify_consistency(size, self.size, root, self._root, proof)
        except NotProven:
            return None
        return root

    def _block(self, index: int) -> bytes | None:
        if index not in self._held:
            claimed = (read(index) for read in self._readers)
            self._held[index] = next((one for one in claimed if self._is_block(index, one)), None)
            if len(self._held) > _HELD_BLOCKS:
                self._held.popitem(last=False)
        self._held.move_to_end(index)
        return self._held[index]

    def _is_block(self, index: int, claimed: bytes | None) -> bool:
        return (
            claimed is not None
            and len(claimed) == len(block_range(index, self.size)) * HASH_SIZE
            and tree_root(claimed) == self._roots[index]
        )

    def _index(self, index: int) -> dict[bytes, int]:
        if index not in self._places:
            held = self._block(index) or b""
            first = index * BLOCK
            self._places[index] = {
                held[at : at + HASH_SIZE]: first + at // HASH_SIZE
                for at in range(0, len(held), HASH_SIZE)
            }
            if len(self._places) > _HELD_BLOCKS:
                self._places.popitem(last=False)
        self._places.move_to_end(index)
        return self._places[index]


def root_of_blocks(size: int, roots: Sequence[bytes]) -> bytes:
    """The tree's root from the roots of its blocks."""
    whole = CompactRange.empty()
    for index, root in enumerate(roots[: size // BLOCK]):
        whole = whole.merge(whole_block(index, root))
    return root_after(whole, roots[-1]) if size % BLOCK else whole.root()


def whole_block(index: int, root: bytes) -> CompactRange:
    """A full block as a range that merges with its neighbours."""
    return CompactRange(index * BLOCK, (index + 1) * BLOCK, (root,))


def root_after(blocks: CompactRange, rest: bytes) -> bytes:
    """Root of a tree of whole blocks and, after them, a part of a block whose root is `rest`."""
    for node in reversed(blocks.nodes):
        rest = node_hash(node, rest)
    return rest


def _aligned(leaves: bytes, leaf: bytes) -> int | None:
    at = leaves.find(leaf)
    while at >= 0 and at % HASH_SIZE:
        at = leaves.find(leaf, at + 1)
    return at // HASH_SIZE if at >= 0 else None
