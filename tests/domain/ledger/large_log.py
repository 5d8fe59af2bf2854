"""A log of more than two blocks, written once a test run: 140,000 records in 3 segments."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from tasks.domain.ledger import Checkpoint, sign_checkpoint
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, packed

SIZE = 140_000
BLOCK = 65_536
OLDER = (65_536, 100_000, 131_072)
_LINE = (
    b'{"_prev":"%b","data":{},"event_id":"e%d","event_type":"annotation","origin":"audit.example/'
    b'lab","seq":%d,"session_id":"s","timestamp":"2026-03-14T03:00:00+00:00"}'
)


@cache
def lines() -> tuple[bytes, ...]:
    """The records, each chained to the one before."""
    written, prev = [], b"0" * 64
    for seq in range(SIZE):
        written.append(_LINE % (prev, seq, seq))
        prev = sha256(b"\0" + written[-1]).hexdigest().encode()
    return tuple(written)


@cache
def files() -> dict[str, bytes]:
    """Segments, tiles and checkpoints; whoever changes them copies them first."""
    levels = _levels([sha256(b"\0" + line).digest() for line in lines()])
    found: dict[str, bytes] = {}
    for level in range(0, len(levels), 8):
        for start in range(0, len(levels[level]), 256):
            tile = levels[level][start : start + 256]
            partial = f".p/{len(tile)}" if len(tile) < 256 else ""
            found[f"tile/{level // 8}/{start // 256:03d}{partial}"] = b"".join(tile)
    for first in range(0, SIZE, BLOCK):
        part = lines()[first : first + BLOCK]
        found[f"seg/{first}-{len(part)}.jsonl.zst"] = packed(part)
    for size in (*OLDER, SIZE):
        head = Checkpoint(ORIGIN, size, _root(levels, size))
        found[f"checkpoints/{size}"] = sign_checkpoint(head, SIGNER).encode()
    return found


def _levels(hashes: list[bytes]) -> list[list[bytes]]:
    levels = [hashes]
    while len(levels[-1]) > 1:
        low = levels[-1]
        pairs = range(0, len(low) - 1, 2)
        levels.append([sha256(b"\1" + low[at] + low[at + 1]).digest() for at in pairs])
    return levels


def _root(levels: Sequence[Sequence[bytes]], size: int) -> bytes:
    """Perfect subtrees from the right: RFC 6962 section 2.1, by the bits of the size."""
    root, end = b"", size
    for level in range(size.bit_length()):
        if size >> level & 1:
            node = levels[level][(end >> level) - 1]
            root = sha256(b"\1" + node + root).digest() if root else node
            end -= 1 << level
    return root
