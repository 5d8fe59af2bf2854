"""Evidence before remedy: the damaged table, the segments and the checkpoint, under Object Lock.

    evidence/<incident>/database/<hold>/
        audit_records-<sha>.copy.zst[.age]   COPY BINARY of the table, zstd
        segments/<sha>-<name>[.age]          each sealed segment, byte for byte
        checkpoint-<size>.note               the newest head that verifies
        manifest.json                        all of these, written last

Damage that is found later has a hold and a snapshot of its own. The manifest makes the snapshot
complete: while it is not there, a killed attempt is made again and what it had stored stays as it
is, because keys carry their content's digest. What holds records is encrypted to the recipients of
the settings; without any it is in clear, in a bucket that only responders read. The manifest says
which, and for whom.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from tasks.clients import age, postgres
from tasks.clients.errors import Malformed, NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.facts import RUNBOOK
from tasks.domain.holds import Hold
from tasks.domain.ledger.segments import MAX_STORED_BYTES
from tasks.sections.systems import StoreSettings
from tasks.work import journal
from tasks.work.log_heads import Head
from tasks.work.log_store import LogStore
from tasks.work.recovery import TABLE
from tasks.work.scratch import private_scratch

_CONNECT_SECONDS = 10.0
_MANIFEST = "manifest.json"
_NAMED = 20
_NAME_MARKS = 120
_MANIFEST_BYTES = 4 * 1024 * 1024
_VERSION = "rlhf-audit-evidence/v1"
_COPY = "COPY public.audit_records TO STDOUT (FORMAT BINARY)"


@dataclass(frozen=True, slots=True)
class Item:
    """One sealed object. `size` in bytes, `sha256` in hex, `locked_until` ISO 8601 in UTC."""

    name: str
    key: str
    sha256: str
    size: int
    locked_until: str
    version_id: str

    def as_json(self) -> dict[str, Any]:
        """JSON-able, for the journal and the manifest."""
        return asdict(self)


def seal_snapshot(
    incident: str,
    hold: int,
    dsn: str,
    log: LogStore,
    head: Head,
    store: ObjectStore,
    settings: StoreSettings,
    recipients: Sequence[str] = (),
) -> list[Item]:
    """Seal what a recovery is about to replace; finds what an earlier call has sealed for the hold.

    `hold`: its place in the journal. `dsn`: a role that may read the production table.
    `recipients`: of age, who may read it; the digests are those of what is stored. The last item is
    the manifest. Table and segments stream through private files (`scratch`, below TMPDIR),
    one at a time, so memory stays flat: at most one part of an upload, 64 MiB. A missing table is
    noted in the manifest, because
    its absence is evidence as well; so is a name among the segments that cannot be one. Raises
    NotProven when the store took the objects but does not hold them locked, or no longer holds what
    was sealed.
    """
    sealing = _Sealing(snapshot_prefix(incident, hold), store, settings, tuple(recipients))
    known = sealing.earlier()
    if known is not None:
        return known
    with private_scratch(incident) as directory:
        items, missing = sealing.everything(dsn, log, head, directory)
    manifest = {
        "version": _VERSION,
        "incident": incident,
        "hold": hold,
        "source": postgres.describe(dsn),
        "at": datetime.now(UTC).isoformat(),
        "by": RUNBOOK,
        "encrypted": bool(recipients),
        "recipients": list(recipients),
        "items": [item.as_json() for item in items],
        "missing": missing,
    }
    data = json.dumps(manifest, sort_keys=True, indent=1).encode() + b"\n"
    items.append(sealing.put("manifest", _MANIFEST, data))
    bucket = settings.evidence_bucket
    if not evidence_is_sealed(store, bucket, [item.as_json() for item in items]):
        raise NotProven(
            f"expected {len(items)} objects locked in s3://{bucket}, found some that are not: "
            "does the bucket have Object Lock enabled? Nothing else was changed"
        )
    return items


def snapshot_prefix(incident: str, hold: int) -> str:
    """Where the snapshot of a hold lies in the evidence bucket."""
    return f"evidence/{incident}/database/{hold}/"


def evidence_is_sealed(store: ObjectStore, bucket: str, items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every item is there now, the same version, digest and size, locked until later.

    Asks the store itself; what the journal says is not enough. No items: False.
    """
    return bool(items) and all(_is_locked(store, bucket, item) for item in items)


def stands(store: ObjectStore, hold: Hold) -> bool:
    """Whether the evidence that the hold's incident sealed for its scope is really there."""
    sealed = journal.read(hold.incident).evidence.get(hold.scope)
    if sealed is None:
        return False
    return evidence_is_sealed(store, str(sealed.get("bucket", "")), sealed.get("items", ()))


def _is_locked(store: ObjectStore, bucket: str, item: Mapping[str, Any]) -> bool:
    try:
        head = store.head(bucket, str(item["key"]))
    except (NotFound, KeyError):
        return False
    # What was streamed declares no digest: there the version says that it is the same.
    is_streamed = head.sha256 == "" and item.get("version_id", "") != ""
    return (
        (head.sha256 == item.get("sha256") or is_streamed)
        and head.size == item.get("size")
        and head.version_id == item.get("version_id", head.version_id)
        and head.lock_mode != ""
        and head.retain_until is not None
        and head.retain_until > datetime.now(UTC)
    )


class _Sealing:
    """One attempt to seal one snapshot under a prefix, every object until the same time."""

    def __init__(
        self, prefix: str, store: ObjectStore, settings: StoreSettings, recipients: tuple[str, ...]
    ) -> None:
        if recipients:
            age.check_recipients(recipients)
        self._recipients = recipients
        self._store = store
        self._bucket = settings.evidence_bucket
        self._until = datetime.now(UTC) + timedelta(days=settings.retention_days)
        self._prefix = prefix

    def earlier(self) -> list[Item] | None:
        """What an earlier attempt sealed to the end, if it still stands."""
        key = self._prefix + _MANIFEST
        try:
            data = self._store.get(self._bucket, key, _MANIFEST_BYTES)
        except NotFound:
            return None
        try:
            items = [Item(**item) for item in json.loads(data)["items"]]
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(
                f"s3://{self._bucket}/{key}: expected our manifest, found {error}: somebody "
                "wrote there; keep it and look"
            ) from error
        items.append(self._item("manifest", key))
        if not evidence_is_sealed(self._store, self._bucket, [item.as_json() for item in items]):
            raise NotProven(
                f"expected the sealed items of s3://{self._bucket}/{key} to be there, locked and "
                "unaltered, found that they are not: list the versions of each, and tell security"
            )
        return items

    def everything(
        self, dsn: str, log: LogStore, head: Head, directory: Path
    ) -> tuple[list[Item], list[str]]:
        """The checkpoint, the segments and the table; and what of it could not be had."""
        note = f"checkpoint-{head.checkpoint.size}.note"
        segments, missing = self._segments(log, directory / "segment")
        items = [self.put("checkpoint", note, head.note.encode()), *segments]
        table = self._table(dsn, directory / "audit_records.copy.zst")
        if table is None:
            return items, [*missing, f"{postgres.describe(dsn)} has no {TABLE}"]
        return [*items, table], missing

    def put(self, name: str, path: str, data: bytes) -> Item:
        """Store one object under Object Lock."""
        self._store.put(self._bucket, self._prefix + path, data, retain_until=self._until)
        return self._item(name, self._prefix + path)

    def _segments(self, log: LogStore, file: Path) -> tuple[list[Item], list[str]]:
        items: list[Item] = []
        unnamed: list[str] = []
        for path in sorted(log.paths("seg/")):
            try:
                log.fetch(path, file, MAX_STORED_BYTES)
            except BadInput:
                unnamed.append(ascii(path)[:_NAME_MARKS])
                continue
            name = path.removeprefix("seg/")
            items.append(self._put_file(f"segment {name}", "segments/{digest}-" + name, file))
        if not unnamed:
            return items, []
        named = ", ".join(unnamed[:_NAMED])
        return items, [f"{len(unnamed)} names among the segments that cannot be read: {named}"]

    def _table(self, dsn: str, file: Path) -> Item | None:
        try:
            _copy_table(dsn, file)
        except NotFound:
            return None
        return self._put_file("damaged table", "audit_records-{digest}.copy.zst", file)

    def _put_file(self, name: str, path: str, file: Path) -> Item:
        """Store and remove the file; `{digest}` in `path` becomes the begin of its SHA-256."""
        if self._recipients:
            file, path = _encrypted(file, self._recipients), f"{path}.age"
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        key = self._prefix + path.replace("{digest}", digest[:16], 1)
        stored = self._store.put_file(self._bucket, key, file, retain_until=self._until)
        if stored != digest:
            raise BadInput(f"{file} changed while it was read: seal again")
        file.unlink()
        return self._item(name, key)

    def _item(self, name: str, key: str) -> Item:
        head = self._store.head(self._bucket, key)
        return Item(
            name=name,
            key=key,
            sha256=head.sha256,
            size=head.size,
            locked_until=head.retain_until.isoformat() if head.retain_until else "",
            version_id=head.version_id,
        )


def _encrypted(file: Path, recipients: Sequence[str]) -> Path:
    """The file as only its recipients read it, in place of the one in clear."""
    sealed = file.with_name(f"{file.name}.age")
    with file.open("rb") as source, sealed.open("xb") as target:
        age.encrypt(source, target, recipients)
    file.unlink()
    return sealed


def _copy_table(dsn: str, file: Path) -> None:
    """Every column of every row as PostgreSQL holds it, compressed on the way."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with (
        postgres.connect(dsn, timeout_seconds=_CONNECT_SECONDS) as connection,
        file.open("xb") as target,
        compressor.stream_writer(target) as compressed,
        connection.cursor().copy(_COPY) as copy,
    ):
        for block in copy:
            compressed.write(block)
