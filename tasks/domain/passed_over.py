"""Backups that would have been nearer to the target than the chosen one, and why not; pure.

Nothing newer is passed over in silence: whoever approves an older backup sees what is given up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.domain.backup_search import age
from tasks.domain.backups import Backup, Kind
from tasks.domain.recovery_target import Target

NAMED = 20
"""How many are named one by one."""

Unfit = tuple[Backup, str]
"""A backup and why it is not taken."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A backup that would have been nearer to the target, and why it is not taken."""

    key: str
    why: str


def passed_over(
    target: Target,
    chosen: Backup,
    as_of: datetime | None,
    usable: Iterable[Backup],
    unfit: Iterable[Unfit],
    looked: Sequence[Unfit],
) -> tuple[PassedOver, ...]:
    """Those that were looked into, then others that are nearer by their own word; bounded.

    `as_of`: the moment that the chosen one brings other tables back to, None when nobody knows.
    """
    seen = [chosen, *(backup for backup, _ in looked)]
    newest = sorted(usable, key=age, reverse=True)
    others = [
        *((each, _why_not(chosen, each)) for each in newest if each not in seen),
        *sorted(unfit, key=lambda each: age(each[0]), reverse=True),
    ]
    named = [*looked, *(each for each in others if _is_nearer(target, as_of, each[0]))]
    passed = [PassedOver(backup.key, why) for backup, why in named[:NAMED]]
    if len(named) > NAMED:
        passed.append(PassedOver(f"{len(named) - NAMED} more", "newer too: list the backups"))
    return tuple(passed)


def _is_nearer(target: Target, as_of: datetime | None, backup: Backup) -> bool:
    """Whether it says of itself that it is nearer, or says nothing."""
    at = backup.covers_until or backup.taken_at
    if target.time is not None and at is not None:
        if backup.taken_at is not None and backup.taken_at > target.time:
            return False
        at = min(at, target.time)
    if target.size is not None and backup.log_size > target.size:
        return False
    return at is None or as_of is None or at > as_of


def _why_not(chosen: Backup, backup: Backup) -> str:
    """Why a usable one that nobody looked into is not taken."""
    if backup.kind is Kind.BASE:
        return "its WAL replays the damage too: choose a moment before that to have it"
    if backup.trusted and backup.kind is Kind.DUMP and backup.log_size < chosen.log_size:
        return f"shorter than an older one: {backup.log_size} records after {chosen.log_size}"
    if chosen.trusted and not backup.trusted:
        return "nobody signed it, and a signed one is there"
    return "not looked into: the search had come to others first"
