"""A restore drill: a backup brought back in a throw-away instance, up to the proof.

The same code as of a restore beside production, but nothing beside production, and no connection to
it: roles are made anew, records come from the backup and from sealed segments alone. What has to be
fetched and loaded is on this host's disk until the end, in private directories that the next drill
wipes when this one is killed.
"""

import time
from contextlib import ExitStack
from datetime import UTC, datetime

from tasks.clients.dump_tools import find_program
from tasks.clients.instance_limits import Limits
from tasks.clients.postgres_instance import throwaway
from tasks.domain.backups import Backup, Kind
from tasks.domain.drills import DrillResult, Phase
from tasks.domain.errors import Refused, RunbookError
from tasks.work.drill_course import Course, Tell
from tasks.work.drill_steps import (
    NAME,
    Ground,
    Signed,
    as_archive,
    check,
    fetched_dump,
    load,
    prove,
)
from tasks.work.instance_place import instance_place
from tasks.work.log_heads import Head, latest_head
from tasks.work.scratch import alone, private_scratch
from tasks.work.signed_tree import signed_leaves

_PROGRAMS = ("initdb", "postgres", "pg_restore")
_GIGABYTE = 1024**3
_GROWTH = 8  # a dump is compressed, a database has indexes
_ALLOWED = 20


def drill(
    backup: Backup, ground: Ground, *, progress: Tell, wait_seconds: float = 0.0
) -> DrillResult:
    """Bring the backup back and prove it; what came of it. Raises no error of ours.

    One at a time on a host: another waits for `wait_seconds`, then it could not tell. The result is
    not kept: see `drill_records`.
    """
    course = Course(backup, progress)
    try:
        with alone(NAME, wait_seconds=wait_seconds):
            course.at = datetime.now(UTC)  # nobody is in its way any more
            _carry_out(course, backup, ground)
    except (RunbookError, OSError) as error:
        return course.result(course.ending_of(error), str(error))
    return course.ended()


def _carry_out(course: Course, backup: Backup, ground: Ground) -> None:
    if backup.kind is Kind.REPOSITORY:
        raise Refused(f"{backup.key} is a {backup.kind}, which is listed and not restored by us")
    if backup.away:
        raise Refused(f"{backup.key}: {backup.unusable}: make it answer, then drill again")
    for program in _PROGRAMS:
        find_program(program, ground.binaries)  # what is not installed says nothing about a backup
    head = latest_head(ground.log, ground.trust)
    if head.refused:
        raise Refused(
            f"expected the newest checkpoint to verify, found {head.refused[0].detail}: find out "
            "who wrote it; until then nothing can be proven by it"
        )
    ground.anchored(head)
    course.signed = head.checkpoint.size
    if backup.log_size > course.signed:
        raise Refused(
            f"{backup.key} has {backup.log_size} records, only {course.signed} are signed: seal "
            "the log (`runbook seal`), then drill again"
        )
    acknowledged = ground.acknowledged()
    leaves = _leaves(course, ground, head)
    with (
        private_scratch(NAME) as directory,
        instance_place(NAME, disk_bytes=_room(backup)) as place,
        ExitStack() as stack,
    ):
        with course.timed(Phase.FETCH) as progress:
            fetched = fetched_dump(backup, ground, directory, progress)
        with course.timed(Phase.LOAD) as progress:
            archive = as_archive(course, fetched, directory, ground, progress)
            limits = ground.limits or Limits(disk_bytes=_allowed(backup))
            instance = stack.enter_context(
                throwaway(place, binaries=ground.binaries, limits=limits)
            )
            load(course, instance, archive.path, ground, progress)
        with course.timed(Phase.CHECK):
            check(course, instance, ground, archive.rows)
        with course.timed(Phase.PROVE) as progress:
            prove(course, instance, ground, Signed(head, leaves), acknowledged, progress)


def _leaves(course: Course, ground: Ground, head: Head) -> bytes:
    """What is signed: part of proving, but what is wrong with it is not the backup's fault."""
    began = time.perf_counter()
    leaves = signed_leaves(ground.log, head.checkpoint)
    course.add(Phase.PROVE, time.perf_counter() - began)
    return leaves


def _room(backup: Backup) -> int:
    """Free bytes without which a drill does not begin."""
    return _GIGABYTE // 2 + _GROWTH * backup.size


def _allowed(backup: Backup) -> int:
    """Bytes at which an instance is stopped: a small dump can make endless data."""
    return 8 * _GIGABYTE + _ALLOWED * backup.size
