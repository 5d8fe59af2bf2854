"""The scratch database beside production: made, loaded by pg_restore, found again, or made anew.

Our mark in its comment says how far it is, and what for. One that is half loaded, or of another
backup or rules, is dropped; one without our mark is somebody else's and left alone. So is one that
was filled from a living database which is no longer there: nobody else may have its rows. Loading
may take an hour: after it the fence is asked again, because whoever took over meanwhile has made
the database anew under the same name.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import database_likeness, dump_tools, postgres, postgres_admin
from tasks.clients.errors import Conflict
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.backups import Backup
from tasks.domain.pace import Told, pace
from tasks.work import soundness
from tasks.work.recovery import Fence, Mark, Site, Stage

JOBS = 2
RESTORE_SECONDS = 3600.0

_USER_RELATIONS = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""


@dataclass(frozen=True, slots=True)
class Dump:
    """What is loaded, how many rows it must bring, and who hears how far it is."""

    backup: Backup
    archive: Path
    rows: Mapping[str, int]
    told: Told | None

    def teller(self) -> Callable[[float], None] | None:
        """Turns shares into a pace."""
        told, began = self.told, time.monotonic()
        if told is None:
            return None
        what = f"restoring {self.backup.key[-80:]} beside production"
        return lambda share: told(pace(what, share, 1.0, time.monotonic() - began))


def loaded(
    site: Site,
    admin: Connection[TupleRow],
    dump: Dump,
    signed: int,
    fence: Fence,
) -> tuple[Mark, list[str], list[str]]:
    """The scratch database's mark after making sure that the dump is in it, whole and sound.

    With it the settings that could not be copied, and notes.
    """
    names, backup = site.names, dump.backup
    states = postgres_admin.databases(admin, [names.scratch, names.production])
    state, living = states.get(names.scratch), states.get(names.production)
    oid = living.oid if living is not None else None
    if state is not None:
        known = site.is_ours(state)
        if known is not None and known.stage is Stage.RESTORED:
            if _is_for(site, known, backup, living):
                fence()
                reopen(admin, state)
                return replace(known, production=oid), [], []
            _refuse_only_copy(site, known, living)
        if known is None and (state.comment or not _is_empty(site)):
            raise Conflict(
                f"expected no database {names.scratch}, or the scratch of {site.incident}, found "
                "one without our mark: rename or drop it by hand, then try again"
            )
        fence()
        _drop(admin, names.scratch)
    mark = Mark(
        site.incident,
        Stage.RESTORING,
        backup.sha256,
        signed,
        production=oid,
        rules=site.rules_digest,
    )
    fence()
    postgres_admin.create_database(
        admin, names.scratch, site.owner, names.production if living is not None else None
    )
    postgres_admin.comment_on(admin, names.scratch, mark.text())
    postgres_admin.withhold_grants(admin, names.scratch)  # nobody else writes there until the swap
    left: list[str] = []
    if living is not None:  # the swap copies them: until then they would hinder us
        _, left = database_likeness.settings_like(admin, names.production, names.scratch)
        left += database_likeness.other_tablespace(admin, names.production, names.scratch)
    foreign = dump_tools.restore_archive(
        dump.archive,
        site.dsn_of(names.scratch),
        role=site.owner,
        jobs=JOBS,
        timeout_seconds=RESTORE_SECONDS,
        binaries=site.binaries,
        told=dump.teller(),
    )
    fence()
    notes = [f"{each} is left out: only a superuser may create it" for each in foreign]
    sound = soundness.check(site.dsn_of(names.scratch), site.binaries, rows=dump.rows)
    return mark, left, [*notes, *sound.require()]


def _is_for(site: Site, mark: Mark, backup: Backup, living: DatabaseState | None) -> bool:
    """Whether a restored scratch is what is wanted; then what was carried into it stays as well.

    What was carried from a living database that is gone is nowhere else, and is kept too.
    """
    is_same = (mark.backup, mark.rules) == (backup.sha256, site.rules_digest)
    return is_same and (living is None or living.oid == mark.production)


def _refuse_only_copy(site: Site, mark: Mark, living: DatabaseState | None) -> None:
    """To make it anew would take the only copy of acknowledged records and rows with it."""
    if mark.production is not None and (living is None or living.oid != mark.production):
        raise Conflict(
            f"expected database {mark.production} to be {site.names.production} still, from which "
            f"{site.names.scratch} was filled, found {living.oid if living else 'none'}: "
            f"{site.names.scratch} may hold the only copy of its newest records; rename it to keep "
            "it, or drop it, by hand, then try again"
        )


def reopen(admin: Connection[TupleRow], scratch: DatabaseState) -> None:
    """Let sessions in again, where a swap that did not end well had closed it."""
    if not scratch.allows_connections:
        postgres_admin.set_door(admin, scratch, allowed=True, comment=scratch.comment)


def _is_empty(site: Site) -> bool:
    """Whether the scratch holds nothing: ours, killed between CREATE DATABASE and the mark."""
    with postgres.connect(
        site.dsn_of(site.names.scratch), timeout_seconds=site.timeout_seconds
    ) as scratch:
        row = scratch.execute(_USER_RELATIONS).fetchone()
        return row is not None and row[0] == 0


def _drop(admin: Connection[TupleRow], name: str) -> None:
    """Drop our own scratch; the pg_restore of a killed attempt may still be connected to it."""
    postgres_admin.allow_connections(admin, name, allowed=False)
    postgres_admin.end_sessions(admin, name, timeout_seconds=10)
    postgres_admin.drop_database(admin, name)
