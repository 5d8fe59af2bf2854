"""Runbook: Recovery Procedures / Data Recovery, tried before it is needed; nightly and weekly.

A backup that was never restored is a hope. So each night the newest, and each week an older one
that nobody could foresee, is brought back in a throw-away instance and proven there.
"""

from prefect import flow

from tasks.artifacts import show_drill
from tasks.backups import list_backups
from tasks.domain.drills import Choice, Ending
from tasks.domain.errors import RunbookError
from tasks.drills import (
    choose_backup,
    drill_backup,
    read_drills,
    record_undrilled,
    tell_of_drill,
)


@flow(name="restore-drill", flow_run_name="drill the {choice} backup", persist_result=False)
def restore_drill(choice: Choice = Choice.NEWEST) -> str:
    """List, choose, restore beside nothing, prove; keep the result. Production is not touched.

    A drill that failed opens an incident, and so does one that could not tell or could not be made:
    a proof that silently did not happen is no proof.
    """
    try:
        backup, seed = choose_backup(list_backups(), choice)
        result = drill_backup(backup, choice, seed)
    except RunbookError as error:
        result = record_undrilled(choice, str(error))
    except Exception as error:  # an error in our own program: the run fails, and people are told
        tell_of_drill(record_undrilled(choice, type(error).__name__))
        raise
    told = ""
    if result.ending is not Ending.PASSED:
        incident, is_new = tell_of_drill(result)
        told = f": {incident} {'was opened' if is_new else 'is open already'}"
    show_drill(result, read_drills())
    return f"{result.summary()}{told}"
