"""Verifying inclusion and consistency proofs: RFC 9162 sections 2.1.3 and 2.1.4.

`tree.Tree` generates them.
Verifying returns None or raises ProofError; there is no False that a caller could overlook.
"""

from collections.abc import Sequence

from tasks.domain.errors import NotProven
from tasks.domain.ledger.hashing import EMPTY_ROOT, HASH_SIZE, node_hash


class ProofError(NotProven):
    """The proof does not show what it should; the message says which part fails."""


def verify_inclusion(
    index: int, size: int, leaf: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Prove that `leaf` is leaf `index` of the tree of `size` leaves with this root.

    RFC 9162 section 2.1.3.2. ProofError says what differs.
    """
    if not 0 <= index < size:
        raise ProofError(f"expected an index of 0 to {size - 1}, found {index}")
    _check_hashes(leaf, root, *proof)
    fn, sn, found = index, size - 1, leaf
    for part in proof:
        if sn == 0:
            raise ProofError("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            found = node_hash(part, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, part)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("the inclusion proof is too short")
    if found != root:
        raise ProofError(f"expected root {root.hex()}, the proof leads to {found.hex()}")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Prove that the tree of `new_size` leaves only appends to the one of `old_size`.

    RFC 9162 section 2.1.4.2. Size 0 needs the empty tree's root and no proof: everything extends
    the empty log, so it binds nothing, and a caller must not take it for an anchor.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError(f"expected sizes 0 <= old <= new, found {old_size} and {new_size}")
    _check_hashes(old_root, new_root, *proof)
    if old_size in (0, new_size):
        _verify_trivial(old_size, new_size, old_root, new_root, proof)
        return
    if not proof:
        raise ProofError("the consistency proof is empty")
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    found_old, found_new = _climb(old_size, new_size, path)
    for what, expected, found in (("old", old_root, found_old), ("new", new_root, found_new)):
        if found != expected:
            raise ProofError(
                f"expected {what} root {expected.hex()}, the proof leads to {found.hex()}"
            )


def _climb(old_size: int, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Both roots that a path with at least one hash leads to: steps 4 to 7 of the section."""
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    found_old = found_new = path[0]
    for part in path[1:]:
        if sn == 0:
            raise ProofError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            found_old, found_new = node_hash(part, found_old), node_hash(part, found_new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found_new = node_hash(found_new, part)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("the consistency proof is too short")
    return found_old, found_new


def _verify_trivial(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    if proof:
        raise ProofError("expected an empty proof for equal sizes or an empty old tree")
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise ProofError("a tree without leaves has the root of the empty tree")
    if old_size == new_size and old_root != new_root:
        raise ProofError(f"two roots for {old_size} leaves: {old_root.hex()} and {new_root.hex()}")


def _check_hashes(*hashes: bytes) -> None:
    for each in hashes:
        if len(each) != HASH_SIZE:
            raise ProofError(f"expected hashes of {HASH_SIZE} bytes, found one of {len(each)}")
