"""Worlds that a verification looks at, and what an attacker can do to them.

A world is the rows of the table, the files of the store, the anchor that was kept, the head that
the API shows, the trust policy and the time. It is written by code of its own, from RFC 6962 and
C2SP: nothing of the sealer, the signer or the tree under test. `tamper_matrix` has the attacks.
"""

import base64
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.clients.errors import Malformed
from tests.domain.ledger.sample_log import MemoryLog, plain_leaf, plain_root

ORIGIN = "audit.example/prod"
SIZE = 300
ANCHORED = 250
NOW = 1_800_000_000
HOUR = 3600
MIB = 1024 * 1024
BATCH = 97


# Keys and notes, by hand


@dataclass(frozen=True)
class Key:
    """An Ed25519 key under a name; kind 1 signs texts, kind 4 signs times and texts."""

    name: str
    seed: int
    kind: int = 1

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)

    @property
    def packed(self) -> bytes:
        return bytes([self.kind]) + self.private.public_key().public_bytes_raw()

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + self.packed).digest()[:4]

    @property
    def public(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self.packed).decode()}"

    def line(self, blob: bytes) -> str:
        return f"\u2014 {self.name} {base64.b64encode(self.id + blob).decode()}\n"

    def sign(self, text: str, at: int = NOW - HOUR) -> str:
        if self.kind == 1:
            return self.line(self.private.sign(text.encode()))
        message = f"cosignature/v1\ntime {at}\n{text}".encode()
        return self.line(struct.pack(">Q", at) + self.private.sign(message))


LOG = Key(ORIGIN, 1)
OLD = Key(ORIGIN, 2)
FUTURE = Key(ORIGIN, 3)
EVIL = Key(ORIGIN, 4)
W1, W2, W3 = (Key(f"w{number}.example", 10 + number, 4) for number in (1, 2, 3))
STRANGER = Key("w9.example", 20, 4)
QUORUM = (W1, W2)

POLICY = f"""
origin = "{ORIGIN}"
quorum = 2
max_age_hours = 25

[[log_keys]]
key = "{OLD.public}"
until_size = 120

[[log_keys]]
key = "{LOG.public}"
from_size = 101

[[log_keys]]
key = "{FUTURE.public}"
from_size = 100000

[[witnesses]]
key = "{W1.public}"
[[witnesses]]
key = "{W2.public}"
[[witnesses]]
key = "{W3.public}"
"""


def root_of(lines: Iterable[bytes]) -> bytes:
    return plain_root([plain_leaf(line) for line in lines])


def head_text(size: int, root: bytes, origin: str = ORIGIN) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def signed(text: str, *keys: Key, at: int = NOW - HOUR) -> bytes:
    return (text + "\n" + "".join(key.sign(text, at) for key in keys)).encode()


def note(lines: list[bytes], *keys: Key, at: int = NOW - HOUR, origin: str = ORIGIN) -> bytes:
    """The head of these lines, signed by the log and two witnesses unless others are named."""
    keys = keys or (OLD if len(lines) <= 100 else LOG, *QUORUM)
    return signed(head_text(len(lines), root_of(lines), origin), *keys, at=at)


# Records, tiles and segments, by hand


def link(line: bytes | None) -> str:
    return plain_leaf(line).hex() if line is not None else "0" * 64


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


def chain(count: int, start: Iterable[bytes] = (), **changes: object) -> list[bytes]:
    """`count` lines in all, going on after `start`; `changes` go into the new ones."""
    lines = list(start)
    while len(lines) < count:
        prev = link(lines[-1] if lines else None)
        lines.append(record(len(lines), prev, **changes))
    return lines


def stone(seq: int, prev: str, lost: str) -> bytes:
    """A tombstone for `seq`."""
    data = {"incident": "2026-03-14-0300-a1b2c3", "lost_leaf": lost}
    return record(seq, prev, data=data, event_type="record_lost", event_id=f"record-lost-{seq}")


def frame(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(plain)


def segment(lines: Iterable[bytes]) -> bytes:
    return frame(b"".join(line + b"\n" for line in lines))


def tiles(lines: Iterable[bytes]) -> dict[str, bytes]:
    files = {}
    level, hashes = 0, [plain_leaf(line) for line in lines]
    while hashes:
        for at in range(0, len(hashes), 256):
            part = hashes[at : at + 256]
            width = "" if len(part) == 256 else f".p/{len(part)}"
            files[f"tile/{level}/{at // 256:03d}{width}"] = b"".join(part)
        whole = len(hashes) // 256 * 256
        hashes = [plain_root(hashes[at : at + 256]) for at in range(0, whole, 256)]
        level += 1
    return files


def segments(lines: list[bytes]) -> dict[str, bytes]:
    blocks = ((at, lines[at : at + 65_536]) for at in range(0, len(lines), 65_536))
    return {f"seg/{at}-{len(part)}.jsonl.zst": segment(part) for at, part in blocks}


# Worlds


@dataclass
class World:
    """Everything that is looked at. `checks` are the sources that are asked."""

    lines: list[bytes]
    rows: list[tuple[int, bytes]]
    files: dict[str, bytes]
    anchor: bytes = b""
    api: tuple[int, bytes] | None = None
    policy: str = POLICY
    now: int = NOW
    checks: frozenset[str] = frozenset({"table", "store", "anchor", "api"})

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def copy(self) -> "World":
        return replace(self, lines=[*self.lines], rows=[*self.rows], files=dict(self.files))


LINES = chain(SIZE)
GROWN = chain(SIZE + 8, LINES)
FORKED = chain(SIZE, LINES[:100], session_id="evil")
LATE_FORK = chain(SIZE, LINES[:270], session_id="evil")
DEV = chain(SIZE, origin="audit.example/dev")
HEAD = "checkpoints/300"
SEGMENT = "seg/0-300.jsonl.zst"
OLDER = "seg/0-250.jsonl.zst"
FULL, PARTIAL, UPPER = "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"
SUPERSEDED = frozenset({OLDER, "seg/0-100.jsonl.zst", "tile/0/000.p/250", "tile/0/000.p/100"})


def sealed(lines: list[bytes]) -> dict[str, bytes]:
    """The files of a log that was sealed at 0, 100, 250 and now; the last partial ones remain."""
    times = {0: 72, 100: 44, ANCHORED: 20}
    files = {
        f"checkpoints/{size}": note(lines[:size], at=NOW - h * HOUR) for size, h in times.items()
    }
    for size in (100, ANCHORED):
        files[f"seg/0-{size}.jsonl.zst"] = segment(lines[:size])
        files |= tiles(lines[:size])
    return files | tiles(lines) | segments(lines) | {f"checkpoints/{len(lines)}": note(lines)}


def world_of(lines: list[bytes]) -> World:
    anchor = note(lines[:ANCHORED], at=NOW - 20 * HOUR)
    api = (len(lines), root_of(lines))
    return World([*lines], list(enumerate(lines)), sealed(lines), anchor, api)


@cache
def small_world() -> World:
    return world_of(LINES)


@cache
def large_world() -> World:
    """65,800 short records: two segments, tiles of three levels."""
    lines: list[bytes] = []
    prev = "0" * 64
    for seq in range(65_800):
        line = b'{"_prev":"%b","data":{},"seq":%d}' % (prev.encode(), seq)
        lines.append(line)
        prev = sha256(b"\0" + line).hexdigest()
    files = tiles(lines) | segments(lines) | {"checkpoints/65800": note(lines, LOG, *QUORUM)}
    return World(lines, list(enumerate(lines)), files, checks=frozenset({"table", "store"}))


class Store(MemoryLog):
    """Refuses what exceeds a limit, as all stores do."""

    def read(self, path, limit=1 << 31):
        if len(self.files.get(path, b"")) > limit:
            raise Malformed(f"{path} has more than {limit} bytes")
        return super().read(path, limit)


def batches(rows, size=BATCH):
    parts = (rows[at : at + size] for at in range(0, len(rows), size))
    return [([seq for seq, _ in part], [line for _, line in part]) for part in parts]


def reader(rows):
    """Reads the rows first <= seq < end, as a table does."""
    return lambda first, end: batches([row for row in rows if first <= row[0] < end])


# What can be done to a world


def nothing(_world):
    return None


def both(*steps):
    def do(world):
        for step in steps:
            step(world)

    return do


def rows(change):
    """The rows of the table become what `change` makes of them."""

    def do(world):
        world.rows = list(change(world.rows))

    return do


def line(seq, change):
    """The line that row `seq` holds becomes what `change` makes of it (or that line)."""

    def do(world):
        old = world.rows[seq][1]
        world.rows[seq] = (seq, change(old) if callable(change) else change)

    return do


def grow(*changes, lines=GROWN):
    """The table grows by eight records that nobody signed yet; then `changes`."""
    return both(rows(lambda _: enumerate(lines)), *changes)


def put(path, data):
    """The file becomes `data`, or what it makes of the file's bytes."""

    def do(world):
        world.files[path] = data(world.files[path]) if callable(data) else data

    return do


def drop(*paths):
    def do(world):
        for path in paths:
            del world.files[path]

    return do


def move(old, new):
    def do(world):
        world.files[new] = world.files.pop(old)

    return do


def files(change):
    def do(world):
        world.files = change(world.files)

    return do


def head(data):
    return put(HEAD, data)


def attribute(**values):
    def do(world):
        for name, value in values.items():
            setattr(world, name, value)

    return do


def swapped(old, new):
    """A change of bytes that replaces `old`, which must be there, once."""

    def change(data):
        assert old in data, old
        return data.replace(old, new, 1)

    return change


def flipped(at, bit=1):
    return lambda data: data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def without(*seqs):
    return rows(lambda old: [row for row in old if row[0] not in seqs])


def inserted(at, *new):
    return rows(lambda old: [*old[:at], *new, *old[at:]])


def raw_frame(plain, *, blocks=1, dictionary=False, claimed=None):
    """A zstd frame (RFC 8878) of raw blocks: what no library writes, one can still store."""
    single = claimed is None
    out = b"\x28\xb5\x2f\xfd" + bytes([0x80 | single << 5 | dictionary])
    out += b"" if single else b"\x58"
    out += b"\x07" if dictionary else b""
    out += struct.pack("<I", len(plain) if single else claimed)
    size = -(-len(plain) // blocks)
    for at in range(0, blocks * size, size):
        part = plain[at : at + size]
        out += struct.pack("<I", len(part) << 3 | (at + size >= blocks * size))[:3] + part
    return out


def kilobytes_exactly(plain):
    """A frame whose length is a multiple of 1,024: 9 bytes, 3 a block, and the text."""
    data = raw_frame(plain, blocks=-(9 + len(plain)) * pow(3, -1, 1024) % 1024)
    assert len(data) % 1024 == 0
    return data


def wide_window(plain):
    options = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    packer = zstandard.ZstdCompressor(compression_params=options).compressobj()
    return packer.compress(plain) + packer.flush()


SKIPPABLE = struct.pack("<II", 0x184D2A50, 4) + b"skip"
PLAIN = b"".join(each + b"\n" for each in LINES)
