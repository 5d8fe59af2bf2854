"""Restore drills: backups brought back in throw-away instances, beside nothing."""

import logging
import secrets

from prefect import task

from tasks.domain.backups import Backup
from tasks.domain.drill_trend import MOST_DRILLS
from tasks.domain.drills import (
    Choice,
    DrillResult,
    Phase,
    choose_newest,
    choose_older,
    no_backup,
    not_drilled,
)
from tasks.domain.errors import RunbookError
from tasks.progress import shown_progress
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import drill_alarm, drill_records, drills
from tasks.work.drill_ground import ground_of

_logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 3600.0  # for a drill that a person has started on this host
_WHAT = {
    Phase.FETCH: "bytes of the backup fetched",
    Phase.LOAD: "bytes of the backup loaded",
    Phase.CHECK: "of the structure checked",
    Phase.PROVE: "restored records hashed",
}


@task(name="Choose a backup to drill", tags={"runbook:recovery.drill.choose"}, **READ)
def choose_backup(backups: list[Backup], choice: Choice) -> tuple[Backup | None, str]:
    """The newest, or an older one that nobody could foresee, with the seed it was drawn with."""
    if choice is Choice.NEWEST:
        return choose_newest(backups), ""
    seed = secrets.token_bytes(16)
    return choose_older(backups, seed), seed.hex()


@task(name="Drill the restore", tags={"runbook:recovery.drill"}, **CHANGE)
def drill_backup(backup: Backup | None, choice: Choice, seed: str) -> DrillResult:
    """Restore it in a throw-away instance up to the proof; what came of it is kept.

    Never tried again by Prefect: a drill that passes the second time has failed once.
    """
    shown = {phase: shown_progress(f"drill-{phase}", _WHAT[phase]) for phase in Phase}
    if backup is None:
        result = no_backup()
    else:
        result = drills.drill(
            backup,
            ground_of(settings()),
            progress=lambda phase, done, due: shown[phase](done, due),
            wait_seconds=_PATIENCE_SECONDS,
        )
    result = result.chosen(choice, seed)
    drill_records.record(result)
    _logger.info("%s", result.summary())
    return result


@task(name="Record that no drill was made", **CHANGE)
def record_undrilled(choice: Choice, reason: str) -> DrillResult:
    """A drill that could not even begin, or whose end was not kept: it could not tell.

    Where our own database takes no record of it, people may still be told.
    """
    result = not_drilled(reason).chosen(choice)
    try:
        drill_records.record(result)
    except RunbookError:
        _logger.exception("that no drill was made is not on record")
    return result


@task(name="Tell of the drill", tags={"runbook:recovery.drill.tell"}, **READ)
def tell_of_drill(result: DrillResult) -> tuple[str, bool]:
    """Open an incident about a drill that did not pass, or join the open one; (id, is it new)."""
    return drill_alarm.tell(result)


@task(name="Read earlier drills", **READ)
def read_drills() -> list[DrillResult]:
    """Those that a plot shows, oldest first."""
    return drill_records.history(MOST_DRILLS)[::-1]
