"""What a place keeps of a log behind what everybody sees: older versions, and what was deleted.

Nothing that is read here is believed either: whatever a version holds counts only when the signed
tree, or a signature, proves it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tasks.clients.errors import Conflict, NotFound
from tasks.clients.object_store import check_key
from tasks.clients.object_versions import ObjectVersions
from tasks.sections.systems import StoreSettings

MOST_TRIED = 20
"""Versions of one file that are looked at: whoever adds thousands must not keep us busy."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """One version of a file of the log; `path` is relative to the log."""

    path: str
    version_id: str
    size: int
    is_latest: bool
    is_marker: bool


class LogVersions(Protocol):
    """The versions of a log's files. `are_kept`: writing over a file leaves the old one there."""

    def are_kept(self) -> bool:
        """Whether what is written over stays."""

    def below(self, prefix: str) -> list[KeptVersion]:
        """Every version and delete marker below a folder, or of one file."""

    def read(self, path: str, version_id: str, limit: int) -> bytes:
        """The content of one version, with the errors of a log's `read`."""

    def current(self, path: str) -> tuple[str, str] | None:
        """(version id, ETag) of the file that everybody sees; None without one."""

    def write_over(self, path: str, data: bytes, etag: str) -> None:
        """Put other content over the file that has this ETag; Conflict when it has not."""


class NoVersions:
    """A place that keeps none: a directory."""

    def are_kept(self) -> bool:
        """Nothing is."""
        return False

    def below(self, prefix: str) -> list[KeptVersion]:
        """None."""
        del prefix
        return []

    def read(self, path: str, version_id: str, limit: int) -> bytes:
        """There is nothing to read: NotFound."""
        raise NotFound(f"{path} has no version {version_id} of at most {limit} bytes here")

    def current(self, path: str) -> tuple[str, str] | None:
        """Unknown."""
        del path
        return None

    def write_over(self, path: str, data: bytes, etag: str) -> None:
        """Nothing is written over: Conflict."""
        raise Conflict(f"{path} ({etag}) stays: {len(data)} bytes would replace it for good")


class ObjectLogVersions:
    """The versions of a log under `prefix` of a bucket."""

    def __init__(
        self,
        settings: StoreSettings,
        bucket: str,
        prefix: str,
        *,
        retention_days: int | None = None,
    ) -> None:
        self._versions = ObjectVersions(settings)
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
        self._retention_days = retention_days

    def are_kept(self) -> bool:
        """Whether the bucket has versioning."""
        return self._versions.are_kept(self._bucket)

    def below(self, prefix: str) -> list[KeptVersion]:
        """Every version and delete marker below a folder, or of one file, newest first by path."""
        start = len(self._prefix)
        return [
            KeptVersion(
                each.key[start:], each.version_id, each.size, each.is_latest, each.is_marker
            )
            for each in self._versions.list(self._bucket, self._prefix + prefix)
        ]

    def read(self, path: str, version_id: str, limit: int) -> bytes:
        """The content of one version."""
        return self._versions.get(self._bucket, self._key(path), version_id, limit)

    def current(self, path: str) -> tuple[str, str] | None:
        """(version id, ETag) of the file that everybody sees; None without one."""
        return self._versions.current(self._bucket, self._key(path))

    def write_over(self, path: str, data: bytes, etag: str) -> None:
        """Put other content over the file, locked when the log has a retention."""
        days = self._retention_days
        until = datetime.now(UTC) + timedelta(days=days) if days else None
        self._versions.write_over(self._bucket, self._key(path), data, etag, until)

    def _key(self, path: str) -> str:
        return check_key(self._prefix + path, self._prefix)


def worth_trying(versions: list[KeptVersion], limit: int) -> list[KeptVersion]:
    """Of the versions of one file those that may hold what was written first: oldest and newest."""
    fit = [each for each in versions if not each.is_marker and each.size <= limit]
    half = MOST_TRIED // 2
    return fit if len(fit) <= MOST_TRIED else [*fit[-half:], *fit[:half]]
