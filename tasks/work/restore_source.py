"""What pg_restore is given for the chosen backup: its own archive, or one that we make of it.

A dump goes through `loading`, which takes a signed archive as it is. A base backup is recovered to
the moment in a throw-away instance, and dumped from there: production's server gets an archive in
any case, and is never started from files that came from elsewhere. WAL is not signed, and may make
anything of a signed base, its catalog included: so what was dumped there is a stranger's dump, and
is loaded and screened in an instance of its own like any other that nobody vouches for.
"""

import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tasks.clients import postgres
from tasks.clients.instance_limits import RESERVE_BYTES
from tasks.clients.postgres_instance import Instance
from tasks.clients.server_user import server_uid
from tasks.domain.backups import Backup, Format, Kind
from tasks.domain.errors import NotProven
from tasks.domain.pace import Told, pace
from tasks.domain.recovery_target import Target, TargetKind
from tasks.work import loading
from tasks.work.fetching import fetch
from tasks.work.instance_place import instance_place
from tasks.work.planned_backup import require_content
from tasks.work.point_in_time import disk_needed, recovered
from tasks.work.recovery import TABLE, has_readable_table
from tasks.work.redumping import redump

_SAME_USER = (
    "the recovered server ran as the same user as this program: had its unsigned WAL been hostile, "
    "it could have read what that user may read; run the recovery as root, which gives the server "
    "another user, where the WAL archive may be in others' hands"
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An archive for pg_restore. `backup` bears the digest by which a restore knows it again.

    `notes`: what was left out of it, and to which moment it was recovered. `rows`: those that each
    table must have, where they were counted.
    """

    backup: Backup
    archive: Path
    notes: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)


def prepare(
    backup: Backup,
    replay_to: datetime | None,
    directory: Path,
    rules: loading.Rules,
    binaries: Path | None,
    told: Told,
    content: str = "",
) -> Prepared:
    """Fetch the backup into the private `directory` and make it loadable.

    `replay_to`: for a base backup, None is the end of its WAL. `content`: the SHA-256 (hex) that an
    unsigned dump's bytes had when the plan was made. Raises PlanStale when they have another now,
    and as `fetch`, `archive_for` and `recovered` do; production is untouched.
    """
    if backup.kind is Kind.BASE:
        return _replayed(backup, replay_to, directory, rules, binaries, told)
    fetched = fetch(backup, directory, in_bytes(f"fetching {backup.key[-80:]}", told))
    require_content(backup, fetched, content)
    loaded = loading.archive_for(
        backup, fetched, directory, binaries=binaries, rules=rules, progress=told
    )
    return Prepared(replace(backup, sha256=loaded.digest), loaded.path, loaded.notes, loaded.rows)


def in_bytes(what: str, told: Told) -> Callable[[int, int], None]:
    """Progress by what is done and what is due, told as a pace."""
    began = time.monotonic()

    def progress(done: int, due: int) -> None:
        told(pace(what, done, due, time.monotonic() - began))

    return progress


def _replayed(
    base: Backup,
    moment: datetime | None,
    directory: Path,
    rules: loading.Rules,
    binaries: Path | None,
    told: Told,
) -> Prepared:
    target = Target() if moment is None else Target(TargetKind.TIME, time=moment)
    # Where the WAL breaks off is no moment that replaying could stop at: nothing comes after it.
    # When that was, is the store's word; so the moment is tried first all the same.
    to_hole = moment is not None and moment >= (base.covers_until or moment)
    phases = {what: in_bytes(f"recovering: {what}", told) for what in ("base", "WAL")}

    def progress(what: str, done: int, due: int) -> None:
        phases.get(what, phases["WAL"])(done, due)

    needed = disk_needed(base) + RESERVE_BYTES
    with (
        instance_place("replay", disk_bytes=needed) as place,
        recovered(
            base,
            target,
            place,
            progress=progress,
            binaries=binaries,
            to_hole=to_hole,
        ) as found,
    ):
        _require_log(found.instance, rules.database, base, target)
        archive = redump(
            found.instance, found.instance.dsn(rules.database), place, directory / "replayed"
        )
    _require_plain_files(archive, base)
    stranger = replace(
        base, sha256="", kind=Kind.DUMP, format=Format.DIRECTORY, layers=(), trusted=False
    )
    try:
        loaded = loading.archive_for(
            stranger, archive, directory, binaries=binaries, rules=rules, progress=told
        )
    finally:
        shutil.rmtree(archive, ignore_errors=True)
    reached = found.reached.isoformat() if found.reached else "the end of the base backup"
    hole = (
        f", up to WAL segment {base.wal_hole}, which is missing"
        if found.at_end and base.wal_hole
        else ""
    )
    note = (
        f"{base.key} was recovered to {target}{hole}: last commit {reached}, "
        f"{found.wal_segments} WAL segments, {found.seconds:.1f} s"
    )
    alone = () if server_uid() is not None else (_SAME_USER,)
    return Prepared(
        replace(base, sha256=f"{base.sha256}@{target}"),
        loaded.path,
        (note, *alone, *loaded.notes),
        loaded.rows,
    )


def _require_plain_files(archive: Path, base: Backup) -> None:
    """The recovered server could write there: it may have put a link or a pipe in the way."""
    for each in archive.iterdir():
        found = each.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise NotProven(
                f"expected plain files in the dump of {base.key}, found {each.name[:80]!r}: what "
                "recovered from it is hostile; choose another backup; production is untouched"
            )


def _require_log(instance: Instance, database: str, base: Backup, target: Target) -> None:
    """What was dropped before the moment is not there at it: say so before anything is made."""
    with postgres.connect(instance.dsn(database), timeout_seconds=10) as connection:
        if not has_readable_table(connection):
            raise NotProven(
                f"expected table {TABLE} in {base.key} as of {target}, found none: it was dropped "
                "before; choose an earlier moment; production is untouched"
            )
