"""When the last transaction in archived WAL was committed, told by pg_waldump."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from tasks.clients.errors import ClientError
from tasks.clients.object_store import ObjectStore
from tasks.clients.postgres_instance import Instance
from tasks.clients.server_user import give_to_server, make_server_directory
from tasks.domain.errors import RunbookError
from tasks.domain.wal import Segment
from tasks.work.base_backups import WalArchive
from tasks.work.wal_feed import unwrapped

_SEGMENTS = 8  # without a commit in so many, nobody is helped by an exact moment
_COMMIT = re.compile(r"desc: COMMIT (?:PREPARED )?([0-9-]{10} [0-9:.]{8,15}) UTC")
_SPARE_BYTES = 1024 * 1024


def last_commit(
    instance: Instance,
    store: ObjectStore,
    bucket: str,
    archive: WalArchive,
    segments: Sequence[Segment],
) -> datetime | None:
    """The time of the last commit in `segments`, looked for from their end; None: none found.

    Runs pg_waldump of the instance's installation, as its user; the instance need not run.
    """
    read = store.reader(bucket, archive.size + _SPARE_BYTES)
    place = instance.directory / "look"
    make_server_directory(place)
    for segment in [
        each for each in reversed(segments) if each.name(archive.size) in archive.stored
    ][:_SEGMENTS]:
        name = segment.name(archive.size)
        try:
            (place / name).write_bytes(
                unwrapped(read(archive.stored[name].key), name, archive.size)
            )
        except RunbookError:
            return None
        give_to_server(place / name)
        found = _COMMIT.findall(_dumped(instance, str(place / name)))
        (place / name).unlink()
        if found:
            return datetime.fromisoformat(found[-1]).replace(tzinfo=UTC)
    return None


def _dumped(instance: Instance, file: str) -> str:
    try:
        return instance.run("pg_waldump", "--rmgr=Transaction", file, check=False)
    except ClientError:
        return ""
