"""Base backups and archived WAL in the object store: what lies there, and how far it reaches.

    base/<label>.manifest                 a signed note, as beside a dump: it names `<label>`, and
                                          the SHA-256 and size of the next
    base/<label>/backup_manifest          PostgreSQL's own: a digest of every file
    base/<label>/base.tar[.zst|.gz]       and pg_wal.tar[.zst|.gz], as pg_basebackup writes them
    wal/<segment>[.zst|.gz]               and wal/<timeline>.history

WAL is not signed. What it makes of the audit log is proven afterwards like any other restore.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import PurePosixPath

from tasks.clients.errors import ClientError, NotFound, Transient
from tasks.clients.object_store import ObjectStore, StoredObject
from tasks.domain.backups import Backup, Format, Kind, Layer, key_within, read_manifest
from tasks.domain.base_manifest import BaseContents, read_base_manifest
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import NoteVerifier, open_note
from tasks.domain.wal import (
    SEGMENT_BYTES,
    Chain,
    Gap,
    Segment,
    Timeline,
    chain,
    gaps_in,
    history_timeline,
    newest_timeline,
    plain_name,
)

NOTE_SUFFIX = ".manifest"
MANIFEST, BASE_TAR, WAL_TAR = "backup_manifest", "base.tar", "pg_wal.tar"

_NOTE_BYTES = 16 * 1024
_MANIFEST_BYTES = 512 * 1024 * 1024
_HISTORY_BYTES = 64 * 1024
_LAYERS = {"": (), ".zst": (Layer.ZSTD,), ".gz": (Layer.GZIP,)}


@dataclass(frozen=True)
class WalArchive:
    """The archive's files by their plain names; `size` in bytes of one segment."""

    stored: Mapping[str, StoredObject]
    timelines: tuple[Timeline, ...] = ()
    size: int = SEGMENT_BYTES

    @cached_property
    def segments(self) -> frozenset[Segment]:
        """The segments that are there."""
        return frozenset(_segments(self.stored, self.size))

    @cached_property
    def gaps(self) -> list[Gap]:
        """Holes between the oldest and the newest segment of each timeline."""
        return gaps_in(self.segments)

    @property
    def last_time(self) -> datetime | None:
        """When the newest segment arrived; None without one. The store's word, nobody's proof."""
        if not self.segments:
            return None
        return self.stored[max(self.segments).name(self.size)].modified.astimezone(UTC)

    def timeline_for(self, contents: BaseContents) -> Timeline:
        """The newest timeline that the base can be brought onto."""
        return newest_timeline(
            self.timelines, self.segments, contents.timeline, contents.end, self.size
        )

    def reaches(self, contents: BaseContents, taken_at: datetime | None) -> datetime | None:
        """When the last WAL arrived that follows the base without a hole, at least `taken_at`.

        The last commit in it may be a little older: only replaying it tells.
        """
        found = self.chain_for(contents, own_wal=True).reachable
        last = self.stored.get(found[-1].name(self.size)) if found else None
        times = [taken_at, last.modified if last else None]
        return max((each.astimezone(UTC) for each in times if each is not None), default=None)

    def hole_after(self, contents: BaseContents) -> str:
        """The segments at which the WAL that follows the base breaks off; empty when it does not.

        Others are there behind them: without those it would only be the archive's end.
        """
        gaps = self.chain_for(contents, own_wal=True).gaps
        return gaps[0].describe(self.size) if gaps else ""

    def chain_for(self, contents: BaseContents, *, own_wal: bool) -> Chain:
        """The WAL that brings the base further; `own_wal`: it brings along what it needs itself."""
        own = contents.own_segments(self.size)
        first = own[-1].number if own_wal else own[0].number
        present = self.segments | set(own) if own_wal else self.segments
        found = chain(present, first, self.timeline_for(contents), self.size)
        if len(found.reachable) < len(own) and not own_wal and not found.gaps:
            return Chain(found.reachable, (Gap(own[len(found.reachable)], own[-1]),))
        return found


def wal_archive(store: ObjectStore, bucket: str, prefix: str) -> WalArchive:
    """What the archive holds. Objects with other names are left out; they may be anybody's."""
    stored: dict[str, StoredObject] = {}
    for each in store.list(bucket, prefix):
        name = plain_name(each.key.removeprefix(prefix))
        try:
            key_within(prefix, each.key)
            if history_timeline(name) is None:
                Segment.parse(name)
        except BadInput:
            continue
        stored.setdefault(name, each)
    timelines = tuple(
        timeline
        for name, each in stored.items()
        if (timeline := _timeline(store, bucket, each.key, name)) is not None
    )
    return WalArchive(stored, timelines)


def _timeline(store: ObjectStore, bucket: str, key: str, name: str) -> Timeline | None:
    number = history_timeline(name)
    if number is None or key != f"{key.rpartition('/')[0]}/{name}":  # history is never compressed
        return None
    try:
        text = store.get(bucket, key, _HISTORY_BYTES).decode("utf-8")
        return Timeline.parse(number, text)
    except (BadInput, ClientError, UnicodeDecodeError):
        return None  # no recovery goes onto a timeline whose history cannot be read


def _segments(stored: Mapping[str, StoredObject], size: int) -> list[Segment]:
    found = []
    for name in stored:
        if history_timeline(name) is None:
            try:
                found.append(Segment.parse(name, size))
            except BadInput:
                continue  # a number that segments of this size do not have
    return found


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Keys of one base's parts. `wal` is None when its WAL is only in the archive."""

    manifest: str
    base: str
    wal: str | None
    layers: tuple[Layer, ...]


def base_files(stored: Mapping[str, StoredObject], key: str) -> BaseFiles:
    """Where the parts of base `key` (`base/<label>`) are. Raises NotFound that names a missing."""
    manifest = f"{key}/{MANIFEST}"
    ends = {
        name: next((end for end in _LAYERS if f"{key}/{name}{end}" in stored), None)
        for name in (BASE_TAR, WAL_TAR)
    }
    end = ends[BASE_TAR]
    if manifest not in stored or end is None:
        missing = MANIFEST if manifest not in stored else BASE_TAR
        raise NotFound(f"base {key}: expected {missing} in it, found none: choose another base")
    wal = None if ends[WAL_TAR] is None else f"{key}/{WAL_TAR}{ends[WAL_TAR]}"
    return BaseFiles(manifest, f"{key}/{BASE_TAR}{end}", wal, _LAYERS[end])


def list_base(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    verifiers: Sequence[NoteVerifier],
    archive: WalArchive | None = None,
) -> list[Backup]:
    """Every base below the prefix, by key; unusable ones with the reason.

    `size` is what is to be fetched, `sha256` that of its backup_manifest, `covers_until` when the
    last WAL arrived that follows it without a hole.
    """
    stored = {each.key: each for each in store.list(bucket, prefix)}
    labels = set()
    for key in stored:
        name = key.removeprefix(prefix)
        labels.add(name.split("/")[0] if "/" in name else name.removesuffix(NOTE_SUFFIX))
    return [
        _listed(store, bucket, prefix, verifiers, archive or WalArchive({}), stored, label)
        for label in sorted(labels - {""})
    ]


def _listed(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    verifiers: Sequence[NoteVerifier],
    archive: WalArchive,
    stored: Mapping[str, StoredObject],
    label: str,
) -> Backup:
    key = f"{prefix}{label}"
    size = sum(each.size for each in stored.values() if each.key.startswith(f"{key}/"))
    bare = Backup(key, size, kind=Kind.BASE, format=Format.TAR, root=bucket)
    try:
        key_within(prefix, key)
        note_key = key + NOTE_SUFFIX
        if note_key not in stored:
            return replace(bare, unusable="no signed manifest beside it")
        note = store.get(bucket, note_key, _NOTE_BYTES).decode("utf-8")
        signed = read_manifest(open_note(note, verifiers), key)
        files = base_files(stored, key)
        contents = read_contents(store, bucket, files, signed.sha256)
        require_restorable(contents, key)
    except (BadInput, NotFound, UnicodeDecodeError) as error:
        return replace(bare, unusable=f"bad manifest: {str(error)[:300]}")
    except (ClientError, NotProven) as error:
        return replace(bare, unusable=str(error)[:300], away=isinstance(error, Transient))
    return replace(
        bare,
        sha256=signed.sha256,
        log_size=signed.log_size,
        taken_at=signed.taken_at,
        trusted=True,
        layers=files.layers,
        covers_until=archive.reaches(contents, signed.taken_at),
        wal_hole=archive.hole_after(contents),
    )


def read_contents(
    store: ObjectStore, bucket: str, files: BaseFiles, expected_sha256: str
) -> BaseContents:
    """What the base consists of. Raises NotProven when its backup_manifest is not the signed one.

    Raises BadInput when it is, but cannot be read.
    """
    text = fetch_manifest(store, bucket, files, expected_sha256)
    return read_base_manifest(text)


def fetch_manifest(
    store: ObjectStore, bucket: str, files: BaseFiles, expected_sha256: str
) -> bytes:
    """The bytes of its backup_manifest, proven by the digest that was signed."""
    text = store.get(bucket, files.manifest, _MANIFEST_BYTES)
    found = sha256(text).hexdigest()
    if found != expected_sha256:
        raise NotProven(
            f"backup corrupt: {files.manifest}: expected SHA-256 {expected_sha256} (signed), found "
            f"{found}: choose an older backup; production is untouched"
        )
    return text


def require_restorable(contents: BaseContents, key: str) -> None:
    """Raises NotProven for a base that we cannot bring back faithfully, with the reason."""
    label = PurePosixPath(key).name
    if contents.tablespaces:
        raise NotProven(
            f"base {label} has tablespaces, files outside of its data directory: expected none; "
            "restore it by hand with pg_basebackup's own layout"
        )
    if contents.weak:
        raise NotProven(
            f"base {label}: expected a SHA digest of every file in its backup_manifest, found "
            f"{contents.weak} files without: take bases with --manifest-checksums=SHA256"
        )
