"""Whether a kernel computes what hashlib does: asked before it is believed."""

import random
from collections.abc import Callable, Sequence

from tasks.domain.ledger.kernel_hashlib import Hashlib
from tasks.domain.ledger.kernel_protocol import HASH_SIZE, LEAF_PREFIX, Kernel

_EVENT = (
    b'{"data":{"a":[1,-2.5e-07],"b":{"c":true}},"event_id":"i","event_type":"t","hash":"%b"'
    b',"merkle_proof":null,"session_id":"s","signature":null,"timestamp":1.5}' % (b"0" * 64)
)
_SHAPE = (
    b'{"data":{"a":[n],"b":{"c":w}},"event_id":s,"event_type":s,"hash":s,"merkle_proof":w'
    b',"session_id":s,"signature":w,"timestamp":n}'
)
_HASHED = (
    b'{"data":{"a":[1,-2.5e-07],"b":{"c":true}},"event_id":"i","event_type":"t"'
    b',"session_id":"s","timestamp":1.5}'
)
_PARTS = (_SHAPE, "", "i", "0" * 64, "s", "null", "1.5", _HASHED)
_TESTED_LENGTHS = [*range(200), 435, 1_000, 70_000]
"""Of lines: every one around the boundaries of a block, and some long ones."""


def difference(kernel: Kernel, seed: int = 0) -> str:
    """What this kernel computes otherwise than hashlib; empty when they agree."""
    known, noise = Hashlib(), random.Random(seed)  # noqa: S311 - test data
    lengths = [*_TESTED_LENGTHS, *(noise.randrange(2_000) for _ in range(50))]
    lines = [noise.randbytes(length).replace(b"\n", b" ") for length in lengths]
    text, longest = b"\n".join(lines), max(lengths)
    nodes = known.leaf_hashes(lines)[:-HASH_SIZE]
    row = b"\0\2\0\0\0\x08%b\0\0\0\x0bhello world"
    rows = b"".join(row % seq.to_bytes(8, signed=True) for seq in (-3, 3, 4))[:-1]
    chain = _chain(lines[:20])
    broken = [*chain[:7], *chain[8:]]
    looks: dict[str, Callable[[Kernel], object]] = {
        "leaf hashes": lambda one: one.leaf_hashes(lines),
        "node hashes": lambda one: one.pair_hashes(nodes),
        "lines of a text": lambda one: _listed(*one.split(text, len(lines) - 2, longest)),
        "rows of a table": lambda one: _table(*one.rows(rows, 2)),
        "links of a chain": lambda one: [
            one.is_chained(each, known.leaf_hashes(each)) for each in (chain, broken)
        ],
    }
    for name, look in looks.items():
        if look(kernel) != look(known):
            return name
    return "" if kernel.read_event(_EVENT) in (None, _PARTS) else "parts of an event"


def _chain(lines: Sequence[bytes]) -> list[bytes]:
    """Each line with the leaf hash of the one before it at its beginning."""
    chain: list[bytes] = []
    link = LEAF_PREFIX.hex().encode() * HASH_SIZE
    for line in lines:
        chain.append(b'{"_prev":"%b",%b}' % (link, line))
        link = Hashlib().leaf_hashes(chain[-1:]).hex().encode()
    return chain


def _listed(lines: Sequence[bytes], rest: bytes) -> tuple[list[bytes], bytes]:
    return list(lines), rest


def _table(
    seqs: Sequence[int], columns: list[Sequence[bytes]], rest: bytes
) -> tuple[list[int], list[list[bytes]], bytes]:
    return list(seqs), [list(each) for each in columns], rest
