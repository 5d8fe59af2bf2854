"""Backups: what they are, by their content and by a manifest that somebody signed.

A backup is believed when beside an archive `X.dump` lies `X.dump.manifest`, a C2SP signed note
whose text has six lines: `rlhf-audit-backup/v1`, file name, SHA-256 (hex), bytes, records in the
log when the dump was taken, UTC time (ISO 8601). Names, times and sizes that an object store
reports are an attacker's to choose.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath

from tasks.domain.errors import BadInput

MANIFEST_HEADER = "rlhf-audit-backup/v1"
DUMP_SUFFIX = ".dump"
MANIFEST_SUFFIX = ".dump.manifest"

_KEY_LIMIT = 1024  # S3's own limit
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # fits a bigint; int() alone takes "1_0" and " 1"


class Kind(StrEnum):
    """What comes back from it."""

    DUMP = "dump"  # one database, as of one moment
    CLUSTER_DUMP = "dump of all databases"
    BASE = "base backup"  # a whole cluster; with WAL to any later moment
    REPOSITORY = "pgBackRest repository"  # recognised and listed only


class Format(StrEnum):
    """How it is written, below its layers."""

    CUSTOM = "custom"
    DIRECTORY = "directory"
    TAR = "tar"
    PLAIN = "plain SQL"
    UNKNOWN = "unknown"


class Layer(StrEnum):
    """What is wrapped around it."""

    GZIP = "gzip"
    ZSTD = "zstd"
    GPG = "gpg"


class Place(StrEnum):
    """Where it lies."""

    STORE = "object store"
    DIRECTORY = "directory"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class Proof:
    """A restore drill that this backup passed: when, how long it took, how many records it had."""

    at: datetime
    seconds: float
    records: int


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `unusable` is empty, or says why it is not to be used.

    `size` in bytes; `log_size` is the number of records that the log had when it was taken, 0 when
    nobody said. `trusted`: a manifest with a signature that we accept names `sha256`. `layers` from
    the outside in. `root`: bucket, directory, or namespace/pod:/directory. `covers_until`: the last
    moment to which a base backup can be brought by WAL; `wal_hole`: the segments that are missing
    then, though later ones are there. `away`: it is unusable because its place cannot tell, which
    says nothing about the backup; as the key of a place that was not listed it stands for all.
    """

    key: str
    size: int = 0
    sha256: str = ""
    log_size: int = 0
    taken_at: datetime | None = None
    unusable: str = ""
    trusted: bool = False
    kind: Kind = Kind.DUMP
    format: Format = Format.CUSTOM
    layers: tuple[Layer, ...] = ()
    place: Place = Place.STORE
    root: str = ""
    covers_until: datetime | None = None
    wal_hole: str = ""
    proven: Proof | None = None
    away: bool = False

    @property
    def identity(self) -> str:
        """What is kept of it elsewhere is filed under this: its SHA-256 where that is signed.

        Without a trusted digest: one of place, name, size and time, so that another file under the
        same name is another backup.
        """
        if self.sha256:
            return self.sha256
        at = self.taken_at.isoformat() if self.taken_at else ""
        parts = (self.place, self.root, self.key, str(self.size), at)
        return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def manifest_text(self) -> str:
        """The text to sign; `read_manifest` is its inverse. Needs `taken_at`."""
        if self.taken_at is None:
            raise BadInput(f"{self.key}: expected the time of the dump, found none")
        lines = (
            MANIFEST_HEADER,
            PurePosixPath(self.key).name,
            self.sha256,
            str(self.size),
            str(self.log_size),
            self.taken_at.isoformat(),
        )
        return "\n".join(lines) + "\n"


def key_within(prefix: str, key: str) -> str:
    """The name of `key` below `prefix`. Raises BadInput when the key points anywhere else."""
    name = key.removeprefix(prefix)
    parts = name.split("/")
    if (
        not key.startswith(prefix)
        or not name
        or not key.isprintable()  # first: what is no UTF-8 has no length in bytes
        or len(key.encode()) > _KEY_LIMIT
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in key
    ):
        raise BadInput(
            f"expected an object below {prefix!r}, found key {key[:200]!r}: refused; "
            "remove the object or correct the prefix"
        )
    return name


def read_manifest(text: str, key: str) -> Backup:
    """The backup that a manifest's (already verified) text describes; `key` is the dump's key.

    Raises BadInput when a line is not what the format says, or names another file.
    """
    lines = text.split("\n")
    if len(lines) != 7 or lines[6] or lines[0] != MANIFEST_HEADER:  # noqa: PLR2004  six lines + end
        raise BadInput(f"{key}: expected a manifest of six lines headed {MANIFEST_HEADER!r}")
    _, name, sha256, size, log_size, taken_at = lines[:6]
    if name != PurePosixPath(key).name:
        raise BadInput(f"{key}: the manifest is of another file, {name[:200]!r}")
    if not _SHA256.fullmatch(sha256):
        raise BadInput(f"{key}: expected a SHA-256 in line 3, found {sha256[:80]!r}")
    if not _NUMBER.fullmatch(size) or not _NUMBER.fullmatch(log_size):
        raise BadInput(f"{key}: expected whole numbers in lines 4 and 5")
    try:
        moment = datetime.fromisoformat(taken_at)
    except ValueError as error:
        raise BadInput(f"{key}: expected a time in line 6, found {taken_at[:80]!r}") from error
    if moment.tzinfo is None:
        raise BadInput(f"{key}: expected a time with its zone in line 6, found {taken_at!r}")
    return Backup(key, int(size), sha256, int(log_size), moment, trusted=True)
