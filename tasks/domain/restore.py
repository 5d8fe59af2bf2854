"""Which backup comes back, what it brings, what cannot be had: decided before anything is touched.

A backup is an archive `X.dump` and beside it `X.dump.manifest`, a C2SP signed note whose text has
six lines: `rlhf-audit-backup/v1`, file name, SHA-256 (hex), bytes, records in the log when the
dump was taken, UTC time (ISO 8601). Nothing but the signature makes a backup believable: names,
times and sizes that the object store reports are an attacker's to choose.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from tasks.domain.errors import BadInput, NotProven

MANIFEST_HEADER = "rlhf-audit-backup/v1"
DUMP_SUFFIX = ".dump"
MANIFEST_SUFFIX = ".dump.manifest"

_KEY_LIMIT = 1024  # S3's own limit
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # fits a bigint; int() alone takes "1_0" and " 1"
_SUFFIX_LIMIT = 32  # and 19 for the name and 12 for "_quarantine_": PostgreSQL's 63 bytes
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,18}")

_MAGIC = (
    (b"PGDMP", "custom"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x85", "gpg"),
    (b"-----BEGIN PGP", "gpg"),
    (b"--\n-- PostgreSQL database dump", "plain SQL"),
    (b"--\n-- PostgreSQL database cluster dump", "plain SQL of a cluster"),
)


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `unusable` is empty, or says why it is not to be used.

    `size` in bytes; `log_size` is the number of records that the log had when it was taken.
    """

    key: str
    size: int = 0
    sha256: str = ""
    log_size: int = 0
    taken_at: datetime | None = None
    unusable: str = ""

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


@dataclass(frozen=True, slots=True)
class DatabaseNames:
    """The three names of one recovery on the patient's server."""

    production: str
    scratch: str
    quarantine: str


@dataclass(frozen=True, slots=True)
class RestoreNumbers:
    """The plan's numbers, in records. `lost_at_most` is settled only by the carry-over.

    `acknowledged_known`: the writers could be asked what they were told is written. Without their
    word the numbers are what the damaged table says of itself.
    """

    from_backup: int
    from_segments: int
    unsigned_tail: int
    size_after: int
    lost_at_most: int
    acknowledged_known: bool = True
    table_readable: bool = True

    @property
    def approvers_needed(self) -> int:
        """Two when neither writers nor table can say what was acknowledged, else one.

        Then acknowledged records may vanish of which no loss list knows.
        """
        return 1 if self.acknowledged_known or self.table_readable else 2

    @property
    def will_be_lost(self) -> str:
        """The sentence for the plan."""
        if not self.acknowledged_known:
            return self._lost_as_far_as_known()
        if not self.unsigned_tail:
            return "nothing: every acknowledged record is under the signed head"
        first = self.size_after - self.unsigned_tail
        return (
            f"nothing signed; of the {self.unsigned_tail} acknowledged but unsigned records "
            f"{first}..{self.size_after - 1} those that the damaged table no longer proves "
            f"(known now: {self.lost_at_most}), each on the signed loss list"
        )

    def _lost_as_far_as_known(self) -> str:
        first = self.size_after - self.unsigned_tail
        if not self.table_readable:
            known = "the table cannot be read: everything acknowledged after it is gone, unlisted"
        elif self.unsigned_tail:
            known = (
                f"of the {self.unsigned_tail} unsigned records {first}..{self.size_after - 1} that "
                f"the damaged table reaches to, {self.lost_at_most} are missing now; acknowledged "
                "ones beyond its end would be on no list"
            )
        else:
            known = "the damaged table holds none after it; acknowledged ones would be on no list"
        return (
            "unknown: the writers could not be asked what they were told; nothing signed is lost "
            f"(head at {first}), and {known}"
        )


def key_within(prefix: str, key: str) -> str:
    """The name of `key` below `prefix`. Raises BadInput when the key points anywhere else."""
    name = key.removeprefix(prefix)
    parts = name.split("/")
    if (
        not key.startswith(prefix)
        or not name
        or len(key.encode()) > _KEY_LIMIT
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in key
        or not key.isprintable()
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
    return Backup(key, int(size), sha256, int(log_size), moment)


def choose_backup(backups: Iterable[Backup], head_size: int) -> Backup:
    """The newest usable backup that is not newer than the signed head of `head_size` records.

    A backup that claims more records than were ever signed cannot be proven, so it is passed over.
    Raises NotProven with every reason when none is left.
    """
    fit: list[Backup] = []
    reasons: list[str] = []
    for backup in backups:
        if backup.unusable:
            reasons.append(f"{backup.key}: {backup.unusable}")
        elif backup.log_size > head_size:
            reasons.append(f"{backup.key}: {backup.log_size} records, only {head_size} are signed")
        else:
            fit.append(backup)
    if not fit:
        found = "; ".join(reasons[:20]) or "none at all"
        raise NotProven(
            f"expected a backup with a signed manifest of at most {head_size} records, "
            f"found {found}: bring one back from another place; production is untouched"
        )
    return max(fit, key=lambda one: (one.log_size, one.taken_at, one.key))


def plan_numbers(
    backup: Backup,
    head_size: int,
    table_end: int,
    table_tail: int,
    acknowledged: int | None,
    *,
    table_readable: bool = True,
) -> RestoreNumbers:
    """Numbers of a plan.

    `table_end` is the damaged table's last seq + 1 (0 without a table), `table_tail` how many of
    its rows lie at or after the signed head, `acknowledged` the size that the writers report, None
    when they could not be asked.
    """
    size_after = max(head_size, table_end, acknowledged or 0)
    tail = size_after - head_size
    return RestoreNumbers(
        from_backup=min(backup.log_size, head_size),
        from_segments=max(0, head_size - backup.log_size),
        unsigned_tail=tail,
        size_after=size_after,
        lost_at_most=max(0, tail - table_tail),
        acknowledged_known=acknowledged is not None,
        table_readable=table_readable,
    )


def archive_format(first_bytes: bytes) -> str:
    """What a dump is by its content (256 bytes suffice); its name says nothing reliable."""
    for magic, name in _MAGIC:
        if first_bytes.startswith(magic):
            return name
    return "tar" if first_bytes[257:262] == b"ustar" else "unknown"


def incident_suffix(incident: str) -> str:
    """The incident as the end of a database name: at most 32 of [a-z0-9_].

    Two incidents may not collide, so whatever a name cannot hold is replaced by a digest.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", incident.lower()).strip("_")
    if plain.replace("_", "-") == incident.lower() and len(plain) <= _SUFFIX_LIMIT:
        return plain
    digest = hashlib.sha256(incident.encode()).hexdigest()[:12]
    return f"{plain[: _SUFFIX_LIMIT - 13]}_{digest}"


def database_names(production: str, incident: str) -> DatabaseNames:
    """Scratch and quarantine beside `production`. Raises BadInput for a name that needs quoting."""
    if not _NAME.fullmatch(production):
        raise BadInput(
            f"expected a database name of at most 19 lower-case letters, digits and underscores, "
            f"found {production[:80]!r}: correct RUNBOOK_DATABASE__NAME"
        )
    suffix = incident_suffix(incident)
    return DatabaseNames(
        production, f"{production}_restore_{suffix}", f"{production}_quarantine_{suffix}"
    )
