"""Where copies of an audit log lie in the store, and the manifest that belongs to a legacy one.

s3://bucket/audit-logs/                          a sealed log, or a legacy one
s3://bucket/audit-logs/daily/YYYYmmdd/           the legacy log as it was copied on that day
s3://bucket/audit-logs/manifests/audit_manifest_YYYYmmdd.txt    sha256sum of that copy
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from tasks.clients.bulk import BulkReader
from tasks.clients.errors import Denied
from tasks.clients.object_store import ObjectStore, check_key
from tasks.clients.object_versions import ObjectVersions
from tasks.domain.errors import BadInput
from tasks.domain.ledger.legacy_manifest import MAX_MANIFEST_BYTES, parse_manifest
from tasks.sections.systems import StoreSettings
from tasks.work.log_segments import is_of_a_sealer
from tasks.work.recovery_layout import SEALED_FOLDERS, versions_of, was_sealed

_DAY = re.compile(r"(?P<base>.*/|)daily/(?P<day>[0-9]{8})/", re.DOTALL)
_DATE = re.compile(r"[0-9]{8}", re.ASCII)
_MANIFEST = re.compile(r"audit_manifest_[0-9]{8}\.txt", re.ASCII)
_ZONES = timedelta(days=1)
"""A day begins somewhere before it does in UTC."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A prefix of a bucket: empty, or with a slash at its end."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @classmethod
    def parse(cls, text: str | None, store: StoreSettings) -> "Source":
        """From s3://bucket/prefix; without a text what the settings name. BadInput else."""
        if text is None:
            bucket, prefix = store.backups_bucket, store.audit_prefix
        else:
            if not text.startswith("s3://"):
                raise BadInput(f"expected s3://bucket/prefix, found {text[:200]!r}")
            parts = urlsplit(text, allow_fragments=False)
            bucket, prefix = parts.netloc, parts.path.removeprefix("/")
            if not bucket or parts.query:
                raise BadInput(f"expected s3://bucket/prefix, found {text[:200]!r}")
        return cls(bucket, f"{prefix}/" if prefix and not prefix.endswith("/") else prefix)

    @property
    def day(self) -> str:
        """YYYYmmdd when it is the copy of one day, else empty."""
        match = _DAY.fullmatch(self.prefix)
        return match["day"] if match else ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """SHA-256 (hex) by path. `covers_all`: it was made of this very copy, so nothing may be more.

    `is_outside`: kept apart from the bucket. One beside the copy that it speaks for shows what was
    deleted and altered, and nothing to somebody who could write both.
    """

    digests: dict[str, str]
    covers_all: bool
    origin: str
    is_outside: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """What is to be brought. `days`: all copies by day; `passed_over`: of days that never were."""

    source: Source
    days: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def doubt(self) -> str:
        """What a person should know of copies that were passed over; empty: nothing."""
        if not self.passed_over:
            return ""
        more = " and more" if len(self.passed_over) > _NAMED else ""
        named = ", ".join(self.passed_over[:_NAMED])
        return f"not taken for copies, since no such day has been: daily/{named}{more}"


def newest_copy(reader: BulkReader, settings: StoreSettings, source: Source) -> Copy:
    """The source itself, or of copies by day the newest, where no sealed log is or was.

    BadInput for a prefix below which older versions could not be read.
    """
    try:
        check_key(f"{source.prefix}checkpoints/0")
    except BadInput as error:
        raise BadInput(
            f"expected a prefix of plain marks, found {ascii(source.prefix)[:200]}: older versions "
            "below it could not be read; copy all of it under another prefix first"
        ) from error
    dated = [each for each in reader.folders(f"{source.prefix}daily/") if _DATE.fullmatch(each)]
    days = tuple(each for each in dated if _has_been(each))
    passed_over = tuple(each for each in dated if not _has_been(each))
    if not days or _is_sealed(reader, settings, source):
        return Copy(source, days, passed_over)
    newest = replace(source, prefix=f"{source.prefix}daily/{days[-1]}/")
    return Copy(newest, days, passed_over)


def _is_sealed(reader: BulkReader, settings: StoreSettings, source: Source) -> bool:
    start = len(source.prefix)
    for folder in SEALED_FOLDERS:
        for page in reader.pages(source.prefix + folder):
            if any(is_of_a_sealer(each.key[start:]) for each in page):
                return True
    return was_sealed(versions_of(settings, source.bucket, source.prefix)[0])


def _has_been(day: str) -> bool:
    try:
        begin = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return begin <= datetime.now(UTC) + _ZONES


def find_manifest(settings: StoreSettings, source: Source) -> Manifest | None:
    """The manifest of this copy as it was first written; None when there is none.

    Of a log that is no copy of a day the newest manifest, which knows nothing of later files.
    """
    match = _DAY.fullmatch(source.prefix)
    if match:
        return _read(settings, source, f"{match['base']}manifests/", match["day"])
    return _read(settings, source, f"{source.prefix}manifests/", "")


def _read(settings: StoreSettings, source: Source, folder: str, day: str) -> Manifest | None:
    store, versions = ObjectStore(settings), ObjectVersions(settings)
    try:
        try:
            kept = [
                each
                for each in versions.list(source.bucket, f"{folder}audit_manifest_{day}")
                if not each.is_marker and _MANIFEST.fullmatch(each.key.removeprefix(folder))
            ]
        except Denied:
            found = store.list(source.bucket, f"{folder}audit_manifest_{day}")
            keys = [each.key for each in found if _MANIFEST.fullmatch(each.key[len(folder) :])]
            if not keys:
                return None
            key = max(keys)
            text = store.get(source.bucket, key, MAX_MANIFEST_BYTES)
        else:
            if not kept:
                return None
            key = max(each.key for each in kept)
            first = [each for each in kept if each.key == key][-1]  # listed from the newest on
            text = versions.get(source.bucket, key, first.version_id, MAX_MANIFEST_BYTES)
    finally:
        store.close()
        versions.close()
    return Manifest(parse_manifest(text), bool(day), f"s3://{source.bucket}/{key}")
