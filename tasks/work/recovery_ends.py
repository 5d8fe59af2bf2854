"""Why a point-in-time recovery ended before its target, told from the server's words and the WAL.

PostgreSQL takes whatever it cannot read for the end of the log. So an end is believed only where
the archive ends too; a hole, a damaged segment and a target in the future are different news.
"""

import os
import re
from datetime import UTC, datetime

from tasks.clients.postgres_instance import Instance
from tasks.domain.errors import NotProven, Refused, RunbookError
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.wal import Segment, forks, parse_lsn
from tasks.domain.wal_ends import may_end_at
from tasks.work.base_loading import FoundBase, Source
from tasks.work.wal_feed import SPARE_BYTES, WalFeed, unwrapped
from tasks.work.wal_times import last_commit

_COMMITTED = re.compile(r"last completed transaction was at log time ([0-9-]+ [0-9:.]+)(?:\+00| U)")
_REDO_DONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")
_TOO_EARLY = "before consistent recovery point"
_NOT_REACHED = "recovery ended before configured recovery target was reached"
_NAMED_GAPS = 5
_LOG_BYTES = 1024 * 1024  # of its end: whoever made the cluster may make it say a lot


class WalMissing(NotProven):
    """The archive has a hole before the target."""


class NotReached(Refused):
    """The archive ends before the target."""


def why_it_ended(
    instance: Instance, source: Source, found: FoundBase, target: str, feed: WalFeed
) -> RunbookError:
    """What a recovery died of that ended before it took statements."""
    log = _end_of_log(instance)
    if instance.exceeded():
        return Refused(f"recovery was stopped: {instance.exceeded()}")
    if feed.hole is not None:
        return missing(instance, source, found)
    if feed.failure is not None:
        return feed.failure
    if _NOT_REACHED in log:
        return _not_reached(source, found, target, log)
    if _TOO_EARLY in log:
        return Refused(
            f"{target} is before base {found.backup.key} was complete: choose a later time or an "
            "older base"
        )
    return NotProven(
        f"recovery of base {found.backup.key} failed: {instance.last_words()[-1500:]}: choose "
        "another base; production is untouched"
    )


def _end_of_log(instance: Instance) -> str:
    with (instance.directory / "log").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
        return log.read(_LOG_BYTES).decode("utf-8", "replace")


def _not_reached(source: Source, found: FoundBase, target: str, log: str) -> RunbookError:
    """The server read all that it could read, which need not be all that there is."""
    if done := _REDO_DONE.findall(log):
        try:
            require_whole(source, found, done[-1], begins=True)
        except NotProven as damaged:
            return damaged
    times = _COMMITTED.findall(log)
    moment = datetime.fromisoformat(times[-1]).replace(tzinfo=UTC) if times else None
    return NotReached(
        f"expected {target} in the archive, or a commit after it, which would show that everything "
        f"before it is there; found {_last(moment or found.backup.taken_at)}: choose `latest`, a "
        "time before that, or wait until more WAL is archived"
    )


def missing(instance: Instance, source: Source, found: FoundBase) -> WalMissing:
    """A hole in the archive: which segments, and what can be reached without them."""
    gaps = [gap.describe(found.archive.size) for gap in found.chain.gaps]
    named = ", ".join(gaps[:_NAMED_GAPS]) + (" and more" if len(gaps) > _NAMED_GAPS else "")
    moment = last_commit(
        instance, source.store, source.bucket, found.archive, found.chain.reachable
    )
    return WalMissing(
        f"WAL missing from s3://{source.bucket}/{source.wal_prefix}: {named}: before it is "
        f"{_last(moment or found.backup.taken_at)}: choose a time before that, or a base taken "
        "after the hole; production is untouched"
    )


def require_whole(source: Source, found: FoundBase, lsn: str, *, begins: bool = False) -> None:
    """Raises NotProven when replay ended before the log did: a damaged record looks like the end.

    `lsn`: of the end of the last record, with `begins` of its beginning, which may be a segment
    earlier and says nothing about what follows it in the last one.
    """
    if not found.chain.reachable:
        return
    size, last = found.archive.size, found.chain.reachable[-1]
    position = parse_lsn(lsn)
    number = (position - 1) // size
    if number + begins < last.number or (
        not begins and number == last.number and _goes_on(source, found, last, position)
    ):
        ended = found.archive.timeline_for(found.contents).segment(number, size)
        raise NotProven(
            f"WAL segment {ended.name(size)} or the next is damaged: replay ended at {lsn}, though "
            f"the archive goes on in {last.name(size)}: choose a time before it, or a base after "
            "it; production is untouched"
        )


def _goes_on(source: Source, found: FoundBase, last: Segment, position: int) -> bool:
    """Whether more of the log is in the segment than was replayed; the base's own is whole."""
    size = found.archive.size
    stored = found.archive.stored.get(last.name(size))
    if stored is None:
        return False
    read = source.store.reader(source.bucket, size + SPARE_BYTES)
    content = unwrapped(read(stored.key), last.name(size), size)
    begin = last.number * size
    return not may_end_at(content, position - begin, begin)


def require_one_end(found: FoundBase) -> None:
    """Raises NotProven when a timeline went on behind the point where a later one left it.

    The latest state is then one of two: following the newer one would silently drop what was
    committed on the other.
    """
    archive = found.archive
    timeline = archive.timeline_for(found.contents)
    others = forks(timeline, archive.segments, found.contents.timeline, archive.size)
    if others:
        named = ", ".join(each.name(archive.size) for each in others[:_NAMED_GAPS])
        raise NotProven(
            f"expected one end of the log, found two: timeline {timeline.number:08X} "
            f"({timeline.number:08X}.history) left its parent at "
            f"{timeline.first_segment(archive.size).name(archive.size)}, and the parent goes on to "
            f"{named}: choose a time, or take out of the archive what does not belong to it; "
            "production is untouched"
        )


def _last(moment: datetime | None) -> str:
    if moment is None:
        return "no commit"
    return f"the last commit of {Target(TargetKind.TIME, time=moment)}"
