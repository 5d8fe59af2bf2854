"""SHA-256 as RFC 6962 section 2.1 (RFC 9162 section 2.1.1) uses it for Merkle trees.

Leaves and inner nodes carry different prefixes, so a node can never pass as a record. Hashes are
32 raw bytes; many hashes travel as one `bytes` of n * 32, because a Python object per record is
what makes verifiers slow. `kernel` says who computes them.
"""

from collections.abc import Sequence
from hashlib import sha256

from tasks.domain.ledger.kernel import KERNEL
from tasks.domain.ledger.kernel_protocol import HASH_SIZE, LEAF_PREFIX, NODE_PREFIX

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "chained",
    "joined",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "pair_hashes",
    "tree_root",
]

EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves."""


def leaf_hash(line: bytes) -> bytes:
    """SHA-256(0x00 || line): the line as it is stored, without its newline."""
    return sha256(LEAF_PREFIX + line).digest()


def leaf_hashes(lines: Sequence[bytes]) -> bytes:
    """Leaf hashes of many lines, n * 32 bytes."""
    return KERNEL.leaf_hashes(lines)


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(NODE_PREFIX + left + right).digest()


def pair_hashes(level: bytes) -> bytes:
    """Parents of neighbouring hashes; `level` is 2k * 32 bytes, the answer k * 32."""
    return KERNEL.pair_hashes(level)


def chained(lines: Sequence[bytes], leaves: bytes) -> bool:
    """Whether each line but the first begins with `{"_prev":"` and the leaf before it, in hex.

    `leaves` are those of the lines. A tombstone among them is for the caller to look at.
    """
    return KERNEL.is_chained(lines, leaves)


def joined(hashes: bytes | Sequence[bytes]) -> bytes:
    """One `bytes` of n * 32 from either form; ValueError when a hash has another length."""
    if isinstance(hashes, bytes):
        if len(hashes) % HASH_SIZE:
            raise ValueError(f"expected a multiple of {HASH_SIZE} bytes, found {len(hashes)}")
        return hashes
    wrong = next((len(each) for each in hashes if len(each) != HASH_SIZE), None)
    if wrong is not None:
        raise ValueError(f"expected hashes of {HASH_SIZE} bytes, found one of {wrong}")
    return b"".join(hashes)


def tree_root(hashes: bytes | Sequence[bytes]) -> bytes:
    """MTH over leaf hashes, given one by one or as n * 32 bytes.

    Level by level; a last node without a neighbour moves up unchanged, which is the same tree as
    the recursive definition's split at the largest power of two.
    """
    level = joined(hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > HASH_SIZE:
        paired = len(level) - len(level) % 64
        level = pair_hashes(level[:paired]) + level[paired:]
    return level
