"""Where copies of an audit log lie in the store, and the manifest that belongs to a legacy one.

s3://bucket/audit-logs/                          a sealed log, or a legacy one
s3://bucket/audit-logs/daily/YYYYmmdd/           the legacy log as it was copied on that day
s3://bucket/audit-logs/manifests/audit_manifest_YYYYmmdd.txt    sha256sum of that copy
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tasks.clients.bulk import BulkReader
from tasks.clients.errors import Denied
from tasks.clients.object_store import ObjectStore
from tasks.clients.object_versions import ObjectVersions
from tasks.domain.errors import BadInput
from tasks.domain.ledger.legacy_manifest import MAX_MANIFEST_BYTES, parse_manifest
from tasks.settings import StoreSettings

_DAY = re.compile(r"(?P<base>.*/|)daily/(?P<day>[0-9]{8})/", re.DOTALL)
_DATE = re.compile(r"[0-9]{8}", re.ASCII)
_MANIFEST = re.compile(r"audit_manifest_[0-9]{8}\.txt", re.ASCII)
_SEALED = {"checkpoints", "seg", "tile"}


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

    It lies beside the copy that it speaks for: it proves as much as nobody could change both.
    """

    digests: dict[str, str]
    covers_all: bool
    origin: str


def newest_copy(reader: BulkReader, source: Source) -> tuple[Source, list[str]]:
    """The source itself, or of copies by day the newest; the days that there are."""
    days = sorted(
        each for each in reader.folders(f"{source.prefix}daily/") if _DATE.fullmatch(each)
    )
    if not days or _SEALED.intersection(reader.folders(source.prefix)):
        return source, []
    return replace(source, prefix=f"{source.prefix}daily/{days[-1]}/"), days


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
