"""What a restore does to tables other than the audit log, and what of them is lost; in words.

The log comes back complete to its signed head. Other tables come back as of the backup, and only a
living database can bring what came after it: that is lost when it is gone, and left out when a
person chose an earlier state.
"""

from tasks.domain.backups import Kind
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.restore import RestoreNumbers
from tasks.domain.restore_choice import Choice, moment


def keeps_to_target(target: Target) -> bool:
    """Whether a person chose the moment that other tables are as of: then they stay as of it."""
    return target.kind in {TargetKind.TIME, TargetKind.SIZE}


def will_be_lost(choice: Choice, numbers: RestoreNumbers) -> str:
    """The plan's sentence: records of the log, then rows of other tables."""
    return f"{numbers.will_be_lost}; {rows_lost(choice, database_exists=numbers.database_exists)}"


def rows_lost(choice: Choice, *, database_exists: bool) -> str:
    """What is lost of other tables. `database_exists`: the living one, whose rows are newer."""
    after = f"other tables after {_when(choice)}"
    if not database_exists:
        return f"every change of {after} is lost and on no list: the living database is gone"
    if not keeps_to_target(choice.target):
        return (
            f"changes of {after} come from the living database by rule; what no rule carries over "
            "is lost, and on the signed list"
        )
    if _is_at_target(choice):
        return f"every change of {after} is left out, as was chosen, and on the signed list"
    return (
        f"every change of {after} is left out and on the signed list, those up to {choice.target} "
        "as well: no backup brings them back"
    )


def reconciling(choice: Choice, *, database_exists: bool) -> str:
    """What happens to newer rows of other tables, for the plan's step."""
    if not database_exists:
        return f"leave other tables as of {_when(choice)}: the living database is gone"
    if not keeps_to_target(choice.target):
        return "carry newer rows of other tables over by rule, with a signed list of the others"
    at = "the target" if _is_at_target(choice) else f"{_when(choice)}, short of the target"
    return f"leave other tables as of {at}, with a signed list of their newer rows"


def replaying(choice: Choice) -> str:
    """What replaying WAL brings along; empty for a dump, which was looked into."""
    if choice.backup.kind is not Kind.BASE:
        return ""
    end = moment(choice.replay_to) if choice.replay_to else "its end"
    return (
        f"replaying WAL repeats whatever was done up to {end}, damage included: what is not as "
        "signed in the audit log is mended, damage to other tables stays"
    )


def _when(choice: Choice) -> str:
    if choice.backup.kind is Kind.BASE:
        return moment(choice.replay_to) if choice.replay_to else "the end of the WAL"
    if choice.as_of is None:
        return "the dump, whose time nobody knows,"
    return f"the dump of {moment(choice.as_of)}"


def _is_at_target(choice: Choice) -> bool:
    return choice.target.time is not None and choice.target.time == choice.as_of
