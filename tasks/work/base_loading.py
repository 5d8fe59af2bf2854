"""A base backup on its way back: found in the store, unpacked, checked against its manifest."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.clients.errors import ClientError, Transient
from tasks.clients.instance_limits import RESERVE_BYTES
from tasks.clients.object_store import ObjectStore
from tasks.clients.postgres_instance import Instance
from tasks.clients.server_user import server_uid
from tasks.domain.backups import Backup
from tasks.domain.base_manifest import BaseContents, read_base_manifest
from tasks.domain.errors import NotProven, Refused
from tasks.domain.wal import Chain
from tasks.settings import settings
from tasks.work.base_backups import (
    BaseFiles,
    WalArchive,
    base_files,
    fetch_manifest,
    require_restorable,
    wal_archive,
)
from tasks.work.unpacking import unpack
from tasks.work.unwrapping import decompressed

_LARGE = 1 << 50
_REPLAYED_WAL = 10 * 1024**3
"""What replay keeps on the disk at most: max_wal_size of an instance, and what is fetched ahead."""
_WAL_FILES = 100_000  # the base's own log, which its manifest does not list file by file
_SPARE_BYTES = 1024**3  # of directories, padding, and own WAL that the manifest does not count


def signal_file(mode: str) -> str:
    """The file in a data directory that makes its server start in `recovery` or as `standby`."""
    return f"{mode}.signal"


_LEFT_OUT = frozenset(
    {
        *("postgresql.auto.conf", "postmaster.pid"),
        *(signal_file(mode) for mode in ("recovery", "standby")),
    }
)
"""Not covered by the manifest, and the server would obey them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where base backups and WAL lie."""

    store: ObjectStore
    bucket: str
    wal_prefix: str

    @classmethod
    def configured(cls) -> "Source":
        """As the settings say."""
        store = settings().store
        return cls(ObjectStore(store), store.backups_bucket, store.wal_prefix)


@dataclass(frozen=True, slots=True)
class FoundBase:
    """One base, with everything that bringing it back needs to know."""

    backup: Backup
    files: BaseFiles
    contents: BaseContents
    manifest: bytes
    archive: WalArchive
    chain: Chain

    @property
    def disk_bytes(self) -> int:
        """Data, the base's own WAL, and the log that replay keeps on the disk."""
        wal = min(len(self.chain.reachable) * self.archive.size, _REPLAYED_WAL)
        return self.contents.data_bytes + (self.contents.end - self.contents.start) + wal

    def require_room(self, place: Path) -> None:
        """Raises Refused when the disk of `place` has less."""
        free = shutil.disk_usage(place).free
        if free < self.disk_bytes + RESERVE_BYTES:
            raise Refused(
                f"expected {self.disk_bytes + RESERVE_BYTES} free bytes in {place} to recover "
                f"{self.backup.key}, found {free}: make room or set TMPDIR to a larger place"
            )


def find_base(base: Backup, source: Source) -> FoundBase:
    """The base as it lies in the store now, and the WAL that follows it.

    Raises NotFound or NotProven when a part is missing or its manifest is not the signed one.
    """
    stored = {each.key: each for each in source.store.list(source.bucket, f"{base.key}/")}
    files = base_files(stored, base.key)
    manifest = fetch_manifest(source.store, source.bucket, files, base.sha256)
    contents = read_base_manifest(manifest)
    require_restorable(contents, base.key)
    archive = wal_archive(source.store, source.bucket, source.wal_prefix)
    chain = archive.chain_for(contents, own_wal=files.wal is not None)
    return FoundBase(base, files, contents, manifest, archive, chain)


def unpack_base(
    instance: Instance, source: Source, found: FoundBase, tell: Callable[[int], None]
) -> None:
    """Stream the base into the instance's data directory; `tell` is given the bytes so far.

    Raises Refused as soon as the instance has broken a bound, or the disk is full.
    """
    instance.watch()
    tars = [(found.files.base, instance.data)]
    if found.files.wal is not None:
        tars.append((found.files.wal, instance.data / "pg_wal"))
    # each file may be padded by a block; more than that is not what the manifest lists
    limit = found.disk_bytes + found.contents.files * 1024 + _SPARE_BYTES
    files = found.contents.files + len(_LEFT_OUT) + _WAL_FILES
    done = 0

    def told(before: int, more: int) -> None:
        if instance.exceeded():
            raise Refused(f"unpacking the base was stopped: {instance.exceeded()}")
        tell(before + more)

    try:
        for key, directory in tars:
            content = decompressed(source.store.get_pieces(source.bucket, key, _LARGE), key)
            done += unpack(
                content,
                directory,
                limit=limit,
                files=files,
                leave_out=_LEFT_OUT,
                tell=partial(told, done),
            )
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise Refused(
            f"expected room for base {found.backup.key}, found the disk of {instance.directory} "
            "full: make room or set TMPDIR to a larger place; production is untouched"
        ) from error


def verify_base(instance: Instance, found: FoundBase) -> None:
    """Every file against the manifest that was signed; what is not in it may not be there either.

    Raises NotProven when one is missing, different or too many.
    """
    manifest = instance.directory / "backup_manifest"
    manifest.write_bytes(found.manifest)
    manifest.chmod(0o640)
    if (uid := server_uid()) is not None:
        os.chown(manifest, -1, uid)
    options = ["--quiet", f"--manifest-path={manifest}"]
    if found.files.wal is None:
        options.append("--no-parse-wal")
    try:
        instance.run("pg_verifybackup", *options, str(instance.data))
    except Transient:
        raise
    except ClientError as error:
        raise NotProven(
            f"backup corrupt: base {found.backup.key} is not what its signed manifest says: "
            f"{error}: choose an older backup; production is untouched"
        ) from error


def major_version(instance: Instance) -> int:
    """The PostgreSQL version of the unpacked base. Raises Refused when the programs are others."""
    theirs = (instance.data / "PG_VERSION").read_text(encoding="ascii").strip()
    ours = instance.run("postgres", "--version").split()[2].split(".")[0]
    if theirs != ours:
        raise Refused(
            f"expected PostgreSQL {theirs[:10]} to recover this base, found {ours}: set "
            "RUNBOOK_DATABASE__CLIENT_BINARIES to an installation of that version"
        )
    return int(theirs)
