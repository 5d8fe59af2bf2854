"""Logs for tests, written by code of their own: a shared mistake would hide itself.

The tree is the recursive definition of RFC 6962 section 2.1, word by word; the writer knows the
formats from their specification and uses none of the sealer.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import zstandard

from tasks.clients.errors import Conflict, NotFound
from tasks.domain.ledger import Checkpoint, NoteSigner, Trust, sign_checkpoint

ORIGIN = "audit.example/lab"
SIGNER = NoteSigner.from_seed(ORIGIN, bytes([1]) * 32)
STRANGER = NoteSigner.from_seed(ORIGIN, bytes([2]) * 32)
TRUST = Trust.in_key(SIGNER.verifier.encoded, ORIGIN)
STRANGERS = Trust.in_key(STRANGER.verifier.encoded, ORIGIN)


def plain_leaf(line: bytes) -> bytes:
    return sha256(b"\0" + line).digest()


def plain_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


def record(seq: int, prev: str, **changes: object) -> bytes:
    event = {
        "_prev": prev,
        "data": {"reward": seq / 7},
        "event_id": f"e{seq}",
        "event_type": "annotation",
        "origin": ORIGIN,
        "seq": seq,
        "session_id": f"s{seq // 50}",
        "timestamp": "2026-03-14T03:00:00+00:00",
    } | changes
    return json.dumps(event, sort_keys=True, separators=(",", ":")).encode()


def chained(count: int, lines: Sequence[bytes] = (), **changes: object) -> list[bytes]:
    """`count` records in all, going on after `lines`; `changes` go into the new ones."""
    grown = list(lines)
    while len(grown) < count:
        prev = plain_leaf(grown[-1]).hex() if grown else "0" * 64
        grown.append(record(len(grown), prev, **changes))
    return grown


def note_of(lines: Sequence[bytes], signer: NoteSigner = SIGNER, origin: str = ORIGIN) -> str:
    root = plain_root([plain_leaf(line) for line in lines])
    return sign_checkpoint(Checkpoint(origin, len(lines), root), signer)


def packed(lines: Sequence[bytes]) -> bytes:
    plain = b"".join(line + b"\n" for line in lines)
    return zstandard.ZstdCompressor(write_checksum=True).compress(plain)


def sealed_files(lines: Sequence[bytes], *, older: Sequence[int] = ()) -> dict[str, bytes]:
    """Every file of the log of these (at most 65,536) records, with older checkpoints."""
    files = {f"checkpoints/{len(lines)}": note_of(lines).encode()}
    for size in older:
        files[f"checkpoints/{size}"] = note_of(lines[:size]).encode()
    if lines:
        files[f"seg/0-{len(lines)}.jsonl.zst"] = packed(lines)
    level, hashes = 0, [plain_leaf(line) for line in lines]
    while hashes:
        for index in range(0, len(hashes), 256):
            tile = hashes[index : index + 256]
            partial = "" if len(tile) == 256 else f".p/{len(tile)}"
            files[f"tile/{level}/{index // 256:03d}{partial}"] = b"".join(tile)
        whole = len(hashes) - len(hashes) % 256
        hashes = [plain_root(hashes[at : at + 256]) for at in range(0, whole, 256)]
        level += 1
    return files


class MemoryLog:
    """A log store over a dict, which tests damage at will."""

    source = "store"

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})

    def read(self, path: str, limit: int = 1 << 31) -> bytes:
        if path not in self.files:
            raise NotFound(f"{path} does not exist")
        assert len(self.files[path]) <= limit
        return self.files[path]

    def read_many(self, paths: Iterable[str], limit: int = 1 << 31) -> Iterator[bytes]:
        return (self.read(path, limit) for path in paths)

    def pieces(self, path: str, limit: int = 1 << 31) -> Iterator[bytes]:
        data = self.read(path, limit)
        return (data[at : at + 4096] for at in range(0, len(data), 4096))

    def write(self, path: str, data: bytes) -> None:
        if self.files.setdefault(path, data) != data:
            raise Conflict(f"{path} exists with other content")

    def paths(self, prefix: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(prefix))
