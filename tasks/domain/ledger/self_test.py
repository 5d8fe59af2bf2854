"""Whether what hashes here hashes rightly: known answers, before its own answers count.

A kernel may be wrong on one machine only (another library, another processor, broken memory), so
each process that hashes for others is asked, before each shard. `kernel` looks once, when it
chooses; here it is what was chosen that is asked, hashlib too, and the trees that are built on it.
"""

from hashlib import sha256

from tasks.domain.ledger.hashing import (
    EMPTY_ROOT,
    HASH_SIZE,
    chained,
    leaf_hashes,
    node_hash,
    pair_hashes,
    tree_root,
)
from tasks.domain.ledger.kernel import KERNEL

_INPUTS = tuple(
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
"""Root over the eight inputs above: the test vector of Certificate Transparency's reference."""

_LENGTHS = (0, 1, 54, 55, 56, 63, 64, 65, 118, 119, 120, 127, 128, 435, 4096, 70_000)
"""Of lines: either side of where SHA-256 pads into one more block, and some long ones."""


def kernel_fault() -> str:
    """What the kernel computes wrongly, as a sentence; empty when it is sound.

    Takes less than a millisecond.
    """
    if tree_root(leaf_hashes(_INPUTS)).hex() != _ROOT or tree_root(b"") != EMPTY_ROOT:
        return f"the kernel {KERNEL.name} does not give the root of the RFC 6962 vector"
    lines = [bytes(at % 251 for at in range(length)) for length in _LENGTHS]
    leaves = [sha256(b"\x00" + line).digest() for line in lines]
    if leaf_hashes(lines) != b"".join(leaves):
        return f"the kernel {KERNEL.name} gives other leaf hashes than the standard library"
    pairs = list(zip(leaves[::2], leaves[1::2], strict=True))
    nodes = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    alone = [node_hash(left, right) for left, right in pairs]
    if alone != nodes or pair_hashes(b"".join(leaves)) != b"".join(nodes):
        return f"the kernel {KERNEL.name} gives other node hashes than the standard library"
    return "" if _chains() else f"the kernel {KERNEL.name} does not see whether records are chained"


def _chains() -> bool:
    lines = [b'{"_prev":"' + b"0" * 64 + b'"}']
    for _ in range(3):
        link = sha256(b"\x00" + lines[-1]).hexdigest().encode()
        lines.append(b'{"_prev":"' + link + b'"}')
    leaves = b"".join(sha256(b"\x00" + line).digest() for line in lines)
    broken = leaves[:HASH_SIZE] + bytes(HASH_SIZE) + leaves[2 * HASH_SIZE :]
    return chained(lines, leaves) and not chained(lines, broken)
