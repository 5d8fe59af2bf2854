"""The backup catalogue: what lies in the object store, and whether it may be believed.

Each `X.dump` needs `X.dump.manifest` signed by a key that we trust (`domain.restore`). Whatever
else lies there is listed as unusable with the reason, because on call one wants to know both.
"""

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tasks.clients.errors import NotFound
from tasks.clients.object_store import ObjectStore, StoredObject
from tasks.domain.backups import (
    DUMP_SUFFIX,
    MANIFEST_SUFFIX,
    Backup,
    archive_format,
    key_within,
    read_manifest,
)
from tasks.domain.errors import BadInput, NotProven, Refused
from tasks.domain.ledger import NoteVerifier, open_note

_MANIFEST_BYTES = 16 * 1024
_SPARE_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


def list_backups(
    store: ObjectStore, bucket: str, prefix: str, verifiers: Sequence[NoteVerifier]
) -> list[Backup]:
    """Every backup below the prefix, by key; unusable ones with the reason.

    Reads the manifests, not the dumps: those are hashed when they are fetched.
    """
    found = {each.key: each for each in store.list(bucket, prefix)}
    return [
        _catalogued(store, bucket, prefix, verifiers, each, found)
        for each in found.values()
        if not each.key.endswith((MANIFEST_SUFFIX, "/"))
        or each.key.removesuffix(MANIFEST_SUFFIX) + DUMP_SUFFIX not in found
    ]


def _catalogued(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    verifiers: Sequence[NoteVerifier],
    stored: StoredObject,
    found: dict[str, StoredObject],
) -> Backup:
    try:
        key_within(prefix, stored.key)
        if stored.key.endswith(MANIFEST_SUFFIX):
            return Backup(stored.key, unusable="the manifest's dump is missing")
        if not stored.key.endswith(DUMP_SUFFIX):
            return Backup(stored.key, stored.size, unusable="not a .dump with a signed manifest")
        manifest = stored.key.removesuffix(DUMP_SUFFIX) + MANIFEST_SUFFIX
        if manifest not in found:
            return Backup(stored.key, stored.size, unusable="no signed manifest beside it")
        note = store.get(bucket, manifest, _MANIFEST_BYTES).decode("utf-8")
        backup = read_manifest(open_note(note, verifiers), stored.key)
    except (BadInput, NotFound, UnicodeDecodeError) as error:
        return Backup(stored.key, stored.size, unusable=f"bad manifest: {str(error)[:300]}")
    if stored.size != backup.size:
        reason = f"expected {backup.size} bytes (manifest), found {stored.size}"
        return Backup(stored.key, stored.size, unusable=reason)
    return backup


def fetch_backup(store: ObjectStore, bucket: str, backup: Backup, directory: Path) -> Path:
    """The dump as a private file in `directory` (made with mode 0700), proven by its manifest.

    A file that an earlier call left there is used when its SHA-256 is right. Raises NotProven for
    other bytes or another format than the manifest promises, Refused for a lack of room.
    """
    if backup.unusable:
        raise NotProven(f"backup {backup.key} is unusable: {backup.unusable}")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = directory / f"{backup.sha256}.dump"
    if archive.exists() and _digest(archive) == backup.sha256:
        return archive
    _require_room(directory, backup)
    part = directory / f"{backup.sha256}.{os.getpid()}.part"
    part.unlink(missing_ok=True)
    try:
        _download(store, bucket, backup, part)
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)
    return archive


def _download(store: ObjectStore, bucket: str, backup: Backup, part: Path) -> None:
    size = store.head(bucket, backup.key).size
    if size == backup.size:
        digest = store.get_file(bucket, backup.key, part)
        if digest == backup.sha256:
            _require_archive(backup, part)
            return
        found = f"SHA-256 {digest}"
    else:
        found = f"{size} bytes"
    raise NotProven(
        f"backup corrupt: {backup.key}: expected {backup.size} bytes with SHA-256 "
        f"{backup.sha256} (signed manifest), found {found}: choose an older backup; "
        "production is untouched"
    )


def _require_archive(backup: Backup, part: Path) -> None:
    with part.open("rb") as file:
        kind = archive_format(file.read(512))
    if kind != "custom":
        raise NotProven(
            f"{backup.key}: expected a custom-format archive of pg_dump, found {kind}: choose "
            "another backup; production is untouched"
        )


def _require_room(directory: Path, backup: Backup) -> None:
    free = shutil.disk_usage(directory).free
    if free < backup.size + _SPARE_BYTES:
        raise Refused(
            f"expected {backup.size + _SPARE_BYTES} free bytes in {directory} for {backup.key}, "
            f"found {free}: make room or set TMPDIR to a larger place"
        )


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
