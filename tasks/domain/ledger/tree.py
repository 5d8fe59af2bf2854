"""Merkle trees over n * 32 bytes of leaf hashes: whole trees, and ranges that merge exactly."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.domain.ledger.hashing import (
    EMPTY_ROOT,
    HASH_SIZE,
    joined,
    node_hash,
    pair_hashes,
    tree_root,
)


class Tree(ABC):
    """What needs perfect subtrees only, wherever they come from: ranges, roots and proofs.

    Every proof is O(log size) of them. RFC 6962 section 2.1, RFC 9162 sections 2.1.3.1, 2.1.4.1.
    """

    __slots__ = ("size",)

    size: int
    """How many leaves there are."""

    @abstractmethod
    def node(self, level: int, index: int) -> bytes:
        """Hash of leaves [index << level, (index + 1) << level), all of which exist."""

    def range_hash(self, begin: int, end: int) -> bytes:
        """MTH of leaves [begin, end), where `begin` is a multiple of the range's top power of 2.

        Such ranges are what the recursive definition of RFC 6962 section 2.1 splits into.
        """
        width = end - begin
        if width == 0:
            return EMPTY_ROOT
        if width & (width - 1) == 0:
            return self.node(width.bit_length() - 1, begin // width)
        middle = begin + split_point(width)
        return node_hash(self.range_hash(begin, middle), self.range_hash(middle, end))

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` leaves (all of them by default): an older head's root."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise ValueError(f"expected a size of 0 to {self.size}, found {size}")
        return self.range_hash(0, size)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """PATH(index, D[size]) of RFC 9162 section 2.1.3.1: sibling hashes from the leaf up."""
        size = self.size if size is None else size
        if not 0 <= index < size <= self.size:
            raise ValueError(f"no leaf {index} of {size} in a tree of {self.size} leaves")
        proof: list[bytes] = []
        begin, end = 0, size
        while end - begin > 1:
            middle = begin + split_point(end - begin)
            if index < middle:
                proof.append(self.range_hash(middle, end))
                end = middle
            else:
                proof.append(self.range_hash(begin, middle))
                begin = middle
        return proof[::-1]

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """PROOF(old_size, D[new_size]) of section 2.1.4.1; empty for size 0 and equal sizes."""
        new_size = self.size if new_size is None else new_size
        if not 0 <= old_size <= new_size <= self.size:
            raise ValueError(f"expected {old_size} <= {new_size} <= {self.size} leaves")
        if old_size in (0, new_size):
            return []
        proof: list[bytes] = []
        begin, end, whole = 0, new_size, True
        while old_size != end:
            middle = begin + split_point(end - begin)
            if old_size <= middle:
                proof.append(self.range_hash(middle, end))
                end = middle
            else:
                proof.append(self.range_hash(begin, middle))
                begin, whole = middle, False
        if not whole:
            proof.append(self.range_hash(begin, end))
        return proof[::-1]


class MerkleTree(Tree):
    """All perfect subtrees of the leaves in memory, so that a node is a look-up.

    Memory: 64 bytes a leaf. `hashes` is n * 32 bytes or a sequence of 32-byte leaf hashes.
    """

    __slots__ = ("_levels",)

    def __init__(self, hashes: bytes | Sequence[bytes]) -> None:
        level = joined(hashes)
        self.size = len(level) // HASH_SIZE
        self._levels = [level]
        while len(level) >= 2 * HASH_SIZE:
            level = pair_hashes(level[: len(level) - len(level) % (2 * HASH_SIZE)])
            self._levels.append(level)

    def node(self, level: int, index: int) -> bytes:
        """Hash of leaves [index << level, (index + 1) << level), all of which exist."""
        start = index * HASH_SIZE
        return self._levels[level][start : start + HASH_SIZE]

    def level(self, level: int) -> bytes:
        """All perfect subtrees of 2**level leaves, k * 32 bytes; empty above the top."""
        return self._levels[level] if level < len(self._levels) else b""


@dataclass(frozen=True, slots=True)
class CompactRange:
    """Leaves [begin, end) as O(log n) hashes of the largest aligned perfect subtrees.

    Workers return one each; neighbours merge to exactly the range over both, in any grouping.
    `nodes` go from left to right, at the places that `cover(begin, end)` lists.
    """

    begin: int
    end: int
    nodes: tuple[bytes, ...]

    @classmethod
    def empty(cls, begin: int = 0) -> "CompactRange":
        """The range without leaves at `begin`."""
        return cls(begin, begin, ())

    @classmethod
    def of(cls, hashes: bytes | Sequence[bytes], begin: int = 0) -> "CompactRange":
        """The range of these leaf hashes, the first of which is leaf `begin`."""
        data = joined(hashes)
        end = begin + len(data) // HASH_SIZE
        nodes = []
        for level, index in cover(begin, end):
            start = ((index << level) - begin) * HASH_SIZE
            nodes.append(tree_root(data[start : start + (HASH_SIZE << level)]))
        return cls(begin, end, tuple(nodes))

    @classmethod
    def over(cls, tree: Tree, begin: int) -> "CompactRange":
        """The range of a tree's leaves, the first of which is leaf `begin` of a larger tree.

        `begin` must be a multiple of the smallest power of two that the tree fits under.
        """
        places = cover(begin, begin + tree.size)
        nodes = [tree.node(level, index - (begin >> level)) for level, index in places]
        return cls(begin, begin + tree.size, tuple(nodes))

    def append(self, leaf: bytes) -> "CompactRange":
        """The range with one leaf more at its end."""
        return self.merge(CompactRange.of(leaf, self.end))

    def merge(self, right: "CompactRange") -> "CompactRange":
        """The range over both; ValueError unless `right` begins where this one ends."""
        if right.begin != self.end:
            raise ValueError(f"expected a range that begins at {self.end}, found {right.begin}")
        known = dict(zip(cover(self.begin, self.end), self.nodes, strict=True))
        known.update(zip(cover(right.begin, right.end), right.nodes, strict=True))
        wanted = cover(self.begin, right.end)
        return CompactRange(
            self.begin, right.end, tuple(_assemble(level, index, known) for level, index in wanted)
        )

    def root(self) -> bytes:
        """The tree's root; ValueError unless the range begins at leaf 0."""
        if self.begin:
            raise ValueError(f"only a range from leaf 0 has a root, this begins at {self.begin}")
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root


def split_point(width: int) -> int:
    """The largest power of two that is smaller than `width` (>= 2): RFC 6962's k."""
    return 1 << ((width - 1).bit_length() - 1)


def cover(begin: int, end: int) -> list[tuple[int, int]]:
    """(level, index) of the largest aligned perfect subtrees that make up [begin, end)."""
    if not 0 <= begin <= end:
        raise ValueError(f"expected 0 <= begin <= end, found {begin} and {end}")
    subtrees = []
    while begin < end:
        aligned = (begin & -begin).bit_length() - 1 if begin else end.bit_length()
        level = min(aligned, (end - begin).bit_length() - 1)
        subtrees.append((level, begin >> level))
        begin += 1 << level
    return subtrees


def _assemble(level: int, index: int, known: dict[tuple[int, int], bytes]) -> bytes:
    """Hash of a perfect subtree from the parts that either neighbour brought."""
    node = known.get((level, index))
    if node is not None:
        return node
    return node_hash(
        _assemble(level - 1, 2 * index, known), _assemble(level - 1, 2 * index + 1, known)
    )
