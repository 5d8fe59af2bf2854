"""The steps of a drill within its instance: load, check, prove."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import dump_tools, postgres
from tasks.clients.instance_limits import Limits
from tasks.clients.postgres_instance import SUPERUSER, Instance
from tasks.domain.backups import Backup, Kind
from tasks.domain.drills import Against, Rpo
from tasks.domain.dump_roles import roles_named
from tasks.domain.errors import NotProven
from tasks.domain.ledger import RecordError, Trust, parse_line
from tasks.domain.pace import Pace
from tasks.work import mending, soundness
from tasks.work.drill_course import Course
from tasks.work.loading import Rules, archive_for
from tasks.work.log_heads import Head
from tasks.work.log_store import LogStore
from tasks.work.restore_source import prepare
from tasks.work.scratch_database import JOBS, RESTORE_SECONDS

NAME = "drill"
"""Of the database, and of what a drill holds on this host."""

_CONNECT_SECONDS = 10.0
_DEFINITIONS_BYTES = 16 * 1024 * 1024
_EXTENT = "SELECT count(*), coalesce(max(seq), -1) FROM public.audit_records"
_RECORD = "SELECT record FROM public.audit_records WHERE seq = %s"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a drill stands on. Nothing of it is production.

    `fetch` brings a backup into a directory, proven by its digest where that is signed. `anchored`
    raises AnchorBroken for a head that does not continue the anchor. `acknowledged` says when the
    newest record was written that the writers were told of, None when nobody can say. `rules` are
    those by which dumps are loaded that nobody vouches for; they name no production.
    """

    log: LogStore
    trust: Trust
    anchored: Callable[[Head], None]
    fetch: Callable[[Backup, Path, Callable[[int, int], None]], Path]
    acknowledged: Callable[[], datetime | None]
    owner: str
    rules: Rules
    binaries: Path | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """What pg_restore is given, and how many rows tables must have then, as far as it is known."""

    path: Path
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signed:
    """The head that the drill is judged by, and its leaf hashes (32 bytes each)."""

    head: Head
    leaves: bytes


def fetched_dump(
    backup: Backup, ground: Ground, directory: Path, progress: Callable[[int, int], None]
) -> Path | None:
    """The backup in `directory`; None for a base backup, which is fetched while it is recovered."""
    if backup.unusable:
        raise NotProven(f"the backup is unusable: {backup.unusable}")
    return None if backup.kind is Kind.BASE else ground.fetch(backup, directory, progress)


def as_archive(
    course: Course,
    fetched: Path | None,
    directory: Path,
    ground: Ground,
    progress: Callable[[int, int], None],
) -> Archive:
    """The backup as an archive: a dump that nobody vouches for is screened on the way.

    A base backup is recovered to the end of its WAL, in an instance of its own, and dumped there.
    """
    size = course.backup.size

    def tell(pace: Pace) -> None:
        progress(round(pace.share * size), size)

    if fetched is None:
        made = prepare(course.backup, None, directory, ground.rules, ground.binaries, tell)
        course.notes += made.notes
        return Archive(made.archive)
    loaded = archive_for(
        course.backup,
        fetched,
        directory,
        binaries=ground.binaries,
        rules=ground.rules,
        progress=tell,
    )
    course.notes += loaded.notes
    return Archive(loaded.path, loaded.rows)


def load(
    course: Course,
    instance: Instance,
    archive: Path,
    ground: Ground,
    progress: Callable[[int, int], None],
) -> None:
    """Into a database of its own, by a role that is no superuser, with the roles that it names."""
    definitions = archive.with_name("definitions.sql")
    size = course.backup.size
    dump_tools.write_definitions(archive, definitions, binaries=instance.binaries)
    with definitions.open("rb") as file:
        named = roles_named(file.read(_DEFINITIONS_BYTES).decode("utf-8", errors="replace"))
    for role in sorted({ground.owner, *ground.rules.needed, *named} - {SUPERUSER}):
        instance.create_role(role)
    instance.create_database(NAME, ground.owner)
    left = dump_tools.restore_archive(
        archive,
        instance.dsn(NAME, ground.owner),
        role=ground.owner,
        jobs=JOBS,
        timeout_seconds=RESTORE_SECONDS,
        binaries=instance.binaries,
        told=lambda share: progress(round(share * size), size),
    )
    course.notes += tuple(f"left out: {each}" for each in left)


def check(course: Course, instance: Instance, ground: Ground, rows: Mapping[str, int]) -> None:
    """Whether the system could work with it: pages, indexes, numbers of rows, grants."""
    sound = soundness.check(instance.dsn(NAME), instance.binaries, rows=rows, install=True)
    course.notes += sound.require()
    with _connected(instance, ground) as restored:
        mending.require_table(restored, course.backup.identity)
        mending.require_grants(restored, ground.rules.needed)


def prove(
    course: Course,
    instance: Instance,
    ground: Ground,
    signed: Signed,
    acknowledged: datetime | None,
    progress: Callable[[int, int], None],
) -> None:
    """Mended from segments as a restore would be; then every record, and the signed root."""
    last = signed.head.checkpoint.size - 1
    with _connected(instance, ground) as restored:
        row = restored.execute(_EXTENT).fetchone()
        course.records, end = row if row is not None else (0, -1)
        mending.drop_spare(restored)
        mending.set_aside_newer(restored, last + 1)
        restored.execute("ANALYZE public.audit_records")
        course.mended, verdict = mending.made_exact(
            restored,
            instance.dsn(NAME, ground.owner),
            ground.log,
            ground.trust,
            signed.head,
            leaves=signed.leaves,
            progress=progress,
        )
        newest = _written_at(restored, last)
        alone_at = _written_at(restored, min(end, last))
    course.root = verdict.root
    against = Against.START if acknowledged is None else Against.ACKNOWLEDGED
    until = acknowledged or course.at
    course.rpo = Rpo(_age(newest, until), _age(alone_at, until), against)


@contextmanager
def _connected(instance: Instance, ground: Ground) -> Iterator[Connection[TupleRow]]:
    with postgres.connect(
        instance.dsn(NAME, ground.owner), timeout_seconds=_CONNECT_SECONDS
    ) as connection:
        yield connection


def _written_at(restored: Connection[TupleRow], seq: int) -> datetime | None:
    """The time that a proven record carries; None where it carries none that we understand."""
    row = restored.execute(_RECORD, (seq,)).fetchone()
    return record_time(bytes(row[0])) if row is not None else None


def record_time(line: bytes) -> datetime | None:
    """When a record says it was written; None when it does not say so, with its zone."""
    with suppress(RecordError, LookupError, ValueError, TypeError):
        at = datetime.fromisoformat(parse_line(line)["timestamp"])
        return at if at.tzinfo is not None else None
    return None


def _age(at: datetime | None, until: datetime) -> float | None:
    return None if at is None else max(0.0, (until - at).total_seconds())
