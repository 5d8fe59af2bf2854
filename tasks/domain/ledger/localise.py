"""Which leaves two trees of the same size differ in, by descending from their roots.

Only differing subtrees are entered: k damaged leaves of n cost about k log n comparisons.
"""

from dataclasses import dataclass

from tasks.domain.ledger.tree import Tree, split_point


@dataclass(frozen=True, slots=True)
class Differences:
    """Indexes of the differing leaves, ascending, and how many nodes were compared."""

    leaves: tuple[int, ...]
    compared: int


def differing_leaves(one: Tree, other: Tree) -> Differences:
    """Descend both trees; ValueError unless they have the same size."""
    if one.size != other.size:
        raise ValueError(f"expected trees of one size, found {one.size} and {other.size} leaves")
    found: list[int] = []
    compared = 0
    ranges = [(0, one.size)] if one.size else []
    while ranges:
        begin, end = ranges.pop()
        compared += 1
        if one.range_hash(begin, end) == other.range_hash(begin, end):
            continue
        if end - begin == 1:
            found.append(begin)
            continue
        middle = begin + split_point(end - begin)
        ranges += [(middle, end), (begin, middle)]
    return Differences(tuple(found), compared)
