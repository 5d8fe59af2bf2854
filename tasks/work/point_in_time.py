"""Point-in-time recovery: a base backup and archived WAL, replayed in a private instance.

    fetch and unpack the base  ->  check it against its signed manifest  ->  replay WAL to the
    target, fetched ahead of it  ->  an ordinary, writable PostgreSQL on a socket of ours

Nothing of the backup's configuration is honoured: it could load libraries, archive into the
production's archive, or open ports. Recovery can die after the server said that it started, end
early at a damaged segment, or wait for a commit that never came; each is told apart here.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.clients.errors import Transient
from tasks.clients.instance_limits import Limits
from tasks.clients.postgres import connect
from tasks.clients.postgres_instance import Instance, unstarted
from tasks.clients.server_user import give_to_server
from tasks.domain.backups import Backup, Kind
from tasks.domain.errors import BadInput, NotProven, Refused
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.wal import format_lsn, parse_lsn
from tasks.work.base_loading import (
    FoundBase,
    Source,
    find_base,
    major_version,
    signal_file,
    unpack_base,
    verify_base,
)
from tasks.work.recovery_ends import (
    NotReached,
    WalMissing,
    missing,
    require_one_end,
    require_whole,
    why_it_ended,
)
from tasks.work.wal_feed import WalFeed

__all__ = ["Progress", "Recovered", "Source", "disk_needed", "recovered"]

Progress = Callable[[str, int, int], None]
"""What is being done (`base` in bytes, `WAL` in segments), how much is done, how much is due."""

_REPLAY_SECONDS = 24 * 3600.0
_ROOM_BYTES = 1024**3  # for the log of a small cluster, which does not get smaller than that
_NAME = re.compile(r"[ -~]{1,63}")
_RECOVERY = {
    "hot_standby": "off",  # else it refuses to start with smaller bounds than production's
    "archive_mode": "off",
    "shared_preload_libraries": "",
    "primary_conninfo": "",
    "recovery_target_action": "promote",
    "timezone": "UTC",
    "restart_after_crash": "off",
}
_EVENT_TRIGGERS_SWITCHED = 17  # the first version in which they can be switched off


@dataclass(frozen=True, slots=True)
class Recovered:
    """A running instance as of the target.

    `reached`: time of the last commit in it, None when none was replayed: then it is as of the
    base's end. `lsn`: how far the log was replayed. `seconds`: from the first byte fetched until it
    took statements. `wal_segments`: how many it read from the archive. `at_end`: the WAL ended
    before the target did.
    """

    instance: Instance
    reached: datetime | None
    lsn: str
    seconds: float
    wal_segments: int
    at_end: bool = False


def disk_needed(base: Backup, source: Source | None = None) -> int:
    """Bytes on disk that `recovered` takes, for `instance_place`. Reads manifest and listings."""
    return find_base(base, source or Source.configured()).disk_bytes


@contextmanager
def recovered(
    base: Backup,
    target: Target,
    place: Path,
    *,
    progress: Progress | None = None,
    source: Source | None = None,
    binaries: Path | None = None,
    inclusive: bool = True,
    restore_point: str = "",
    to_hole: bool = False,
    limits: Limits | None = None,
) -> Iterator[Recovered]:
    """The base brought to the target in a private instance in `place`, wiped at the end.

    `target`: LATEST (everything that is archived) or a TIME; with `restore_point` the moment that
    pg_create_restore_point named. `inclusive`: commits of exactly that time belong to it.
    `to_hole`: LATEST is as far as the WAL goes without a hole, and a TIME that no commit follows
    is its end; without it both are refused.

    Raises NotProven when base or WAL is damaged or missing, which names it and the latest moment
    that can be reached, and for the end of a log that has two; Refused for a target before the
    base's end (which it says), for one that the archive does not reach yet, and for a lack of room;
    BadInput for another kind of target.
    """
    began = time.monotonic()
    source = source or Source.configured()
    wanted = _wanted(base, target, restore_point, inclusive=inclusive)
    found = find_base(base, source)
    found.require_room(place)
    limits = limits or Limits(disk_bytes=2 * found.disk_bytes + _ROOM_BYTES)
    to_end = not wanted
    with unstarted(place, binaries=binaries, settings=_RECOVERY, limits=limits) as instance:
        if to_end:
            require_one_end(found)
        if to_end and found.chain.gaps and not to_hole:
            raise missing(instance, source, found)
        with closing(_feed(instance, source, found)) as feed:
            _unpack(instance, source, found, progress)
            verify_base(instance, found)
            _prepare(instance, wanted, feed, found)
            try:
                _replay(instance, found, feed, progress)
            except Transient as error:
                goal = restore_point or str(target)
                ended = why_it_ended(instance, source, found, goal, feed)
                if not (to_hole and isinstance(ended, NotReached | WalMissing)):
                    raise ended from error
                to_end = True
                require_one_end(found)
                _drop_target(instance, wanted)
                _replay(instance, found, feed, progress)
        reached, lsn = _reached(instance)
        if to_end:
            require_whole(source, found, lsn)
        _require_not_past(target, reached)
        shutil.rmtree(instance.directory / "wal")
        seconds = time.monotonic() - began
        yield Recovered(
            instance, reached, lsn, seconds, feed.replayed, at_end=to_end and bool(wanted)
        )


def _wanted(base: Backup, target: Target, restore_point: str, *, inclusive: bool) -> dict[str, str]:
    """PostgreSQL's settings for the target."""
    if base.kind is not Kind.BASE or base.unusable or not base.trusted:
        reason = base.unusable or "it is no base backup with a signed manifest"
        raise NotProven(f"{base.key}: {reason}: choose another one for a point in time")
    if restore_point:
        if not _NAME.fullmatch(restore_point):
            raise BadInput(f"expected a restore point's name, found {restore_point[:80]!r}")
        return {"recovery_target_name": restore_point}
    if target.kind is TargetKind.LATEST:
        return {}
    if target.time is None:
        raise BadInput(
            f"expected the latest state or a time for a base backup, found {target}: WAL knows "
            "times; name the time of that record"
        )
    if base.taken_at is None:
        raise NotProven(f"{base.key}: expected the time when it was complete, found none")
    if target.time < base.taken_at:  # the server would stop there and say nothing
        raise Refused(
            f"expected a time from {_said(base.taken_at)} on, when base {base.key} was complete, "
            f"found {_said(target.time)}: choose an older base"
        )
    return {
        "recovery_target_time": target.time.astimezone(UTC).isoformat(),
        "recovery_target_inclusive": "on" if inclusive else "off",
    }


def _feed(instance: Instance, source: Source, found: FoundBase) -> WalFeed:
    """Begins to fetch at once: the base takes its time to unpack."""
    own = found.contents.own_segments(found.archive.size) if found.files.wal else []
    return WalFeed(
        source.store,
        source.bucket,
        found.archive,
        found.chain,
        instance.directory / "wal",
        in_base=[each.name(found.archive.size) for each in own],
        system=found.contents.system,
    )


def _unpack(
    instance: Instance, source: Source, found: FoundBase, progress: Progress | None
) -> None:
    due = found.contents.data_bytes

    def tell(done: int) -> None:
        if progress is not None:
            progress("base", min(done, due), due)

    unpack_base(instance, source, found, tell)


def _prepare(instance: Instance, wanted: dict[str, str], feed: WalFeed, found: FoundBase) -> None:
    """Our configuration instead of the backup's, and the order to recover."""
    major = major_version(instance)
    configuration = instance.directory / "postgresql.conf"
    configuration.touch(mode=0o600)
    give_to_server(configuration)
    order = instance.data / signal_file("recovery")
    order.touch(mode=0o600)
    give_to_server(order)
    instance.settings.update(
        wanted,
        config_file=str(configuration),
        restore_command=feed.command,
        recovery_target_timeline=str(found.archive.timeline_for(found.contents).number),
    )
    if major >= _EVENT_TRIGGERS_SWITCHED:
        instance.settings["event_triggers"] = "off"


def _drop_target(instance: Instance, wanted: dict[str, str]) -> None:
    """Replay on to the end: no commit that there is lies behind the target, as was just seen."""
    instance.stop()
    os.truncate(instance.directory / "log", 0)  # why it ended is told from it
    for name in wanted:
        del instance.settings[name]


def _require_not_past(target: Target, reached: datetime | None) -> None:
    if target.time is not None and reached is not None and reached > target.time:
        raise NotProven(
            f"expected recovery to stop at {_said(target.time)}, found a commit of "
            f"{_said(reached)}: choose another time; production is untouched"
        )


def _replay(instance: Instance, found: FoundBase, feed: WalFeed, progress: Progress | None) -> None:
    def tell() -> None:
        if progress is not None:
            progress("WAL", feed.replayed, len(found.chain.reachable))

    instance.start(instance.settings, seconds=_REPLAY_SECONDS, while_waiting=tell)
    tell()


def _reached(instance: Instance) -> tuple[datetime | None, str]:
    query = "SELECT pg_last_xact_replay_timestamp(), pg_last_wal_replay_lsn()::text"
    with connect(instance.dsn("template1"), timeout_seconds=10) as connection:
        row = connection.execute(query).fetchone()
    if row is None or row[1] is None:
        raise NotProven("expected a recovered instance to say how far, found nothing")
    moment: datetime | None = row[0]
    return moment and moment.astimezone(UTC), format_lsn(parse_lsn(row[1]))


def _said(moment: datetime) -> str:
    return str(Target(TargetKind.TIME, time=moment))
