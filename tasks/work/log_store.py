"""Where a log lies: a directory or an object store, seen as files that are written once.

Nothing read from here is believed: `log_heads` opens notes with the log's keys, `signed_tree`
recomputes the root over the tiles, `log_segments` compares lines with their signed leaves.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.clients.errors import Malformed
from tasks.clients.object_store import ObjectStore, check_key
from tasks.domain.ledger.segments import MAX_STORED_BYTES
from tasks.work.log_directory import DirectoryLog
from tasks.work.log_files import LogStore
from tasks.work.log_places import BucketPlace

__all__ = ["DirectoryLog", "LogStore", "ObjectLog"]


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

    def place(self) -> BucketPlace:
        """Where other machines find it, with keys of their own."""
        store = self._store
        return BucketPlace(store.endpoint_url, store.region, self._bucket, self._prefix)

    def read(self, path: str, limit: int = MAX_STORED_BYTES) -> bytes:
        """The object's bytes."""
        return self._store.get(self._bucket, self._key(path), limit)

    def read_many(self, paths: Iterable[str], limit: int = MAX_STORED_BYTES) -> Iterator[bytes]:
        """The bytes of many small objects in order, fetched in parallel."""
        return self._store.get_many(self._bucket, (self._key(path) for path in paths), limit)

    def pieces(self, path: str, limit: int = MAX_STORED_BYTES) -> Iterator[bytes]:
        """The object's bytes, a few pieces read ahead."""
        return self._store.get_pieces(self._bucket, self._key(path), limit)

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
