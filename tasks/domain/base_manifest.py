"""PostgreSQL's `backup_manifest`: what a base backup consists of and which WAL it needs.

JSON of `PostgreSQL-Backup-Manifest-Version` 1 or 2. Read only after its digest was proven by a
signed note; `pg_verifybackup` checks the files against it.
"""

import json
from dataclasses import dataclass
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.wal import Segment, parse_lsn

_VERSIONS = {1, 2}
_MANY_FILES = 5_000_000
_LONG_BACKUP = 1 << 50  # bytes of WAL while it was taken


@dataclass(frozen=True, slots=True)
class BaseContents:
    """`start` and `end` are WAL positions on `timeline`; `data_bytes` of all files together.

    `tablespaces`: files outside of the data directory; `weak`: files without a SHA digest;
    `system`: the cluster's identifier, 0 where the manifest is older than PostgreSQL 17.
    """

    timeline: int
    start: int
    end: int
    data_bytes: int
    files: int
    tablespaces: bool
    weak: int
    system: int = 0

    def own_segments(self, size: int) -> list[Segment]:
        """The segments that its own WAL lies in, which pg_basebackup puts beside it."""
        numbers = range(self.start // size, (self.end - 1) // size + 1)
        return [Segment(self.timeline, number) for number in numbers]


def read_base_manifest(text: bytes) -> BaseContents:
    """What the manifest lists. Raises BadInput when it is none."""
    try:
        manifest = json.loads(text)
        version = manifest["PostgreSQL-Backup-Manifest-Version"]
        files = manifest["Files"]
        ranges = manifest["WAL-Ranges"]
        if version not in _VERSIONS or not 0 < len(files) <= _MANY_FILES or len(ranges) != 1:
            raise BadInput(
                f"expected a backup_manifest of version 1 or 2 with one WAL range, found version "
                f"{str(version)[:20]}, {len(files)} files and {len(ranges)} ranges"
            )
        start, end = parse_lsn(ranges[0]["Start-LSN"]), parse_lsn(ranges[0]["End-LSN"])
        if not start < end <= start + _LONG_BACKUP:
            raise BadInput("expected a WAL range that begins before it ends, found another")
        return BaseContents(
            timeline=int(ranges[0]["Timeline"]),
            start=start,
            end=end,
            data_bytes=sum(int(each["Size"]) for each in files),
            files=len(files),
            tablespaces=any(_path(each).startswith("pg_tblspc/") for each in files),
            system=int(manifest.get("System-Identifier", 0)),
            weak=sum(not str(each.get("Checksum-Algorithm")).startswith("SHA") for each in files),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadInput(f"expected a backup_manifest of PostgreSQL, found {error!r:.200}") from error


def _path(entry: dict[str, Any]) -> str:
    if "Encoded-Path" in entry:
        return bytes.fromhex(entry["Encoded-Path"]).decode("utf-8", "replace")
    return str(entry["Path"])
