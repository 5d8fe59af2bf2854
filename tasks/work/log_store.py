"""Where a sealed log lies: a directory or an object store with `seg/`, `tile/`, `checkpoints/`.

Files are written once. Nothing read from here is believed until it leads to a signed root:
`latest_head` opens notes with the log's key, `signed_leaves` recomputes the root over the tiles,
`signed_lines` compares every line with its signed leaf.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from tasks.clients.errors import Malformed, NotFound
from tasks.clients.object_store import ObjectStore, check_key
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import (
    HASH_SIZE,
    Checkpoint,
    CheckpointError,
    Code,
    Finding,
    NoteError,
    NoteSignatureError,
    NoteVerifier,
    leaf_hashes,
    open_checkpoint,
    tree_root,
)
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.ledger.segments import (
    MAX_STORED_BYTES,
    SEGMENT_LINES,
    Segment,
    SegmentError,
    pick,
    segments_of,
    unpack,
)
from tasks.domain.ledger.tiles import TILE_WIDTH, Tile, leaf_tiles
from tasks.work.log_directory import DirectoryLog

__all__ = [
    "DirectoryLog",
    "Head",
    "LogStore",
    "ObjectLog",
    "latest_head",
    "open_head",
    "segment_lines",
    "signed_leaves",
    "signed_lines",
    "stored_segments",
    "stored_sizes",
    "strays",
]

_CHECKPOINTS = "checkpoints/"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MAX_REFUSED = 1000
_NAMED_STRAYS = 5
_NAMED_MARKS = 90


class LogStore(Protocol):
    """What a sealed log needs of its place. `source` names it in findings."""

    source: str

    def read(self, path: str, limit: int = ...) -> bytes:
        """The file's bytes; NotFound without it, Malformed when it exceeds `limit` bytes."""

    def read_many(self, paths: Iterable[str], limit: int = ...) -> Iterator[bytes]:
        """Many small files in the order asked for, with the errors of `read`."""

    def fetch(self, path: str, target: Path, limit: int = ...) -> None:
        """Stream the file into the new file `target`, with the errors of `read`."""

    def write(self, path: str, data: bytes) -> None:
        """Durable on return, and once: the same bytes again are fine, others are a Conflict."""

    def paths(self, prefix: str) -> list[str]:
        """Every file below the folder `prefix` (`seg/`), relative to the log.

        Names come from outside and may be anything: pick those that are known. `read` refuses a
        path that leads out of the log.
        """


class ObjectLog:
    """A log under `prefix` of a bucket, a folder with or without its last slash; empty: all of it.

    With `retention_days` everything written is put under Object Lock for so long.
    """

    source = "store"

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        prefix: str = "",
        *,
        retention_days: int | None = None,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
        self._retention_days = retention_days

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def read(self, path: str, limit: int = MAX_STORED_BYTES) -> bytes:
        """The object's bytes."""
        return self._store.get(self._bucket, self._key(path), limit)

    def read_many(self, paths: Iterable[str], limit: int = MAX_STORED_BYTES) -> Iterator[bytes]:
        """The bytes of many small objects in order, fetched in parallel."""
        return self._store.get_many(self._bucket, (self._key(path) for path in paths), limit)

    def fetch(self, path: str, target: Path, limit: int = MAX_STORED_BYTES) -> None:
        """Stream the object into the new file `target`."""
        key = self._key(path)
        size = self._store.head(self._bucket, key).size
        if size > limit:
            raise Malformed(f"{self}{path}: expected at most {limit} bytes, found {size}")
        self._store.get_file(self._bucket, key, target)

    def write(self, path: str, data: bytes) -> None:
        """Put the object, locked when the log has a retention."""
        days = self._retention_days
        until = datetime.now(UTC) + timedelta(days=days) if days else None
        self._store.put(self._bucket, self._key(path), data, retain_until=until)

    def paths(self, prefix: str) -> list[str]:
        """Paths below `prefix`, relative to the log."""
        listed = self._store.list(self._bucket, self._prefix + prefix)
        return [each.key[len(self._prefix) :] for each in listed]

    def _key(self, path: str) -> str:
        return check_key(self._prefix + path, self._prefix)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint that verifies. `refused` are newer ones that do not: never ignore."""

    checkpoint: Checkpoint
    note: str
    refused: tuple[Finding, ...] = ()


def stored_sizes(log: LogStore) -> list[int]:
    """Sizes for which the log has a file under `checkpoints/`, ascending."""
    names = (path.removeprefix(_CHECKPOINTS) for path in log.paths(_CHECKPOINTS))
    return sorted(int(name) for name in names if _SIZE.fullmatch(name))


def open_head(log: LogStore, size: int, verifier: NoteVerifier, origin: str) -> Head:
    """The stored checkpoint of this size; NoteError (or a subclass) when it does not verify."""
    try:
        note = log.read(f"{_CHECKPOINTS}{size}", MAX_NOTE_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    except Malformed as error:
        raise NoteError(str(error)) from error
    checkpoint = open_checkpoint(note, verifier, origin)
    if checkpoint.size != size:
        raise CheckpointError(f"stored as size {size}, but signed for size {checkpoint.size}")
    return Head(checkpoint, note)


def refusal(log: LogStore, size: int, error: NoteError) -> Finding:
    """The finding for a stored checkpoint that does not verify."""
    forged = isinstance(error, NoteSignatureError)
    code = Code.BAD_SIGNATURE if forged else Code.BAD_CHECKPOINT
    return Finding(code, log.source, detail=f"{_CHECKPOINTS}{size}: {error}")


def latest_head(log: LogStore, verifier: NoteVerifier, origin: str) -> Head:
    """The checkpoint of the highest size that verifies.

    NotFound when the log has none at all, NotProven when none of those verifies.
    """
    sizes = stored_sizes(log)
    if not sizes:
        raise NotFound(f"{log} has no checkpoint; expected a signed note under {_CHECKPOINTS}")
    refused: list[Finding] = []
    for size in reversed(sizes[-_MAX_REFUSED:]):
        try:
            head = open_head(log, size, verifier, origin)
        except NoteError as error:
            refused.append(refusal(log, size, error))
        else:
            return Head(head.checkpoint, head.note, tuple(refused))
    raise NotProven(
        f"{log}: none of {len(refused)} checkpoints verifies; the newest: {refused[0].detail}"
    )


def signed_leaves(log: LogStore, checkpoint: Checkpoint) -> bytes:
    """All leaf hashes, size * 32 bytes, from the tiles; NotProven unless they give the root."""
    tiles = leaf_tiles(checkpoint.size)
    whole = [tile for tile in tiles if tile.width == TILE_WIDTH]
    parts: list[bytes] = []
    try:
        parts.extend(log.read_many((tile.path for tile in whole), TILE_WIDTH * HASH_SIZE))
        parts.extend(_partial_tile(log, tile) for tile in tiles[len(whole) :])
    except NotFound as error:
        raise NotProven(f"{log}: {tiles[len(parts)].path} is missing: {error}") from error
    for tile, data in zip(tiles, parts, strict=True):
        if len(data) != tile.width * HASH_SIZE:
            raise NotProven(
                f"{log}: {tile.path} has {len(data)} bytes, expected {tile.width * HASH_SIZE}"
            )
    leaves = b"".join(parts)
    root = tree_root(leaves)
    if root != checkpoint.root:
        raise NotProven(
            f"{log}: the tiles of {checkpoint.size} records give root {root.hex()},"
            f" signed is {checkpoint.root.hex()}"
        )
    return leaves


def _partial_tile(log: LogStore, tile: Tile) -> bytes:
    """A partial tile, or that part of the full one, which may have replaced it (tlog-tiles)."""
    limit = TILE_WIDTH * HASH_SIZE
    try:
        return log.read(tile.path, limit)
    except NotFound:
        return log.read(Tile(tile.level, tile.index).path, limit)[: tile.width * HASH_SIZE]


def stored_segments(log: LogStore) -> list[Segment]:
    """The segments that the log has, by their names."""
    parsed = (Segment.parse(path) for path in log.paths("seg/"))
    return [segment for segment in parsed if segment is not None]


def strays(log: LogStore) -> list[Finding]:
    """What lies among segments and checkpoints under names that no sealer writes.

    One finding for each folder: how many there are, the first ones by name. They are never read.
    """
    found: list[Finding] = []
    for folder in ("seg/", _CHECKPOINTS):
        odd = sorted(path for path in log.paths(folder) if not _is_ours(path))
        if odd:
            named = ", ".join(ascii(path)[:_NAMED_MARKS] for path in odd[:_NAMED_STRAYS])
            detail = f"not written by a sealer and not read: {named}"
            found.append(Finding(Code.STRAY, log.source, None, len(odd), detail))
    return found


def _is_ours(path: str) -> bool:
    name = path.removeprefix(_CHECKPOINTS)
    return Segment.parse(path) is not None or (name != path and _SIZE.fullmatch(name) is not None)


def segment_lines(log: LogStore, stored: Segment, wanted: int) -> Iterator[tuple[int, list[bytes]]]:
    """(first seq, lines) in batches: the first `wanted` lines of a stored segment, unproven.

    SegmentError (after the lines before it) when the segment is damaged.
    """
    seq = stored.first
    end = stored.first + wanted
    for lines in unpack(log.read(stored.path, MAX_STORED_BYTES), stored.count):
        part = lines[: end - seq]
        if part:
            yield seq, part
        seq += len(lines)


def signed_lines(
    log: LogStore, checkpoint: Checkpoint, first: int, last: int, *, leaves: bytes | None = None
) -> Iterator[tuple[int, bytes]]:
    """(seq, line) of the records `first` <= seq < `last`, each proven by its signed leaf.

    `leaves`: what `signed_leaves` returned, to spare reading the tiles again. NotProven names the
    segment (and the seq) that is missing or damaged; another source may still have the records.
    """
    if not 0 <= first <= last <= checkpoint.size:
        raise BadInput(f"expected 0 <= first <= last <= {checkpoint.size}, found {first}, {last}")
    leaves = signed_leaves(log, checkpoint) if leaves is None else leaves
    available = stored_segments(log)
    for wanted in segments_of(last, since=first):
        whole = Segment(wanted.first, min(SEGMENT_LINES, checkpoint.size - wanted.first))
        stored = pick(available, whole)
        if stored is None or stored.count < wanted.count:
            raise NotProven(f"{log}: {whole.path} is missing, with records {wanted.first} and on")
        yield from _proven(log, stored, wanted.count, first, leaves)


def _proven(
    log: LogStore, stored: Segment, wanted: int, first: int, leaves: bytes
) -> Iterator[tuple[int, bytes]]:
    try:
        for start, lines in segment_lines(log, stored, wanted):
            signed = leaves[start * HASH_SIZE : (start + len(lines)) * HASH_SIZE]
            found = leaf_hashes(lines)
            if found != signed:
                at = next(
                    at
                    for at in range(len(lines))
                    if found[at * HASH_SIZE : (at + 1) * HASH_SIZE]
                    != signed[at * HASH_SIZE : (at + 1) * HASH_SIZE]
                )
                raise NotProven(f"{log}: {stored.path}: record {start + at} is not as signed")
            yield from ((start + at, line) for at, line in enumerate(lines) if start + at >= first)
    except (SegmentError, NotFound) as error:
        raise NotProven(f"{log}: {stored.path} cannot be read whole: {error}") from error
