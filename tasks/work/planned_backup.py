"""The backup that an approved plan names, found again, and its bytes, known again.

A name is not a backup: a mirror has the same names, and whoever may write to a place can put other
bytes under one. So place, identity and, where nobody signed a digest, the digest of the bytes that
were looked into are part of what was approved.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from tasks.clients.errors import Transient
from tasks.domain.backups import Backup
from tasks.domain.errors import PlanStale
from tasks.domain.journaled import moment
from tasks.domain.plan import Plan
from tasks.work.content_digest import content_digest


def place_of(backup: Backup) -> str:
    """Where it lies, as a plan says it."""
    return f"{backup.place}: {backup.root}"


def planned_backup(plan: Plan | None, listed: Iterable[Backup]) -> Backup:
    """The plan's backup in the catalogue.

    Raises PlanStale when it is gone or another one, Transient while its place does not answer:
    that says nothing about the backup, and an approved plan outlives it.
    """
    wanted = plan.observed if plan else {}
    key, place = str(wanted.get("backup", "")), wanted.get("backup_place")
    here = [each for each in listed if place_of(each) == place]
    for backup in here:
        if (
            backup.key == key
            and not backup.unusable
            and backup.identity == wanted.get("backup_identity")
        ):
            return backup
    away = next((each for each in here if each.away and key.startswith(each.key)), None)
    if away is not None:
        raise Transient(
            f"expected the planned backup {key!r} in {place}, found that its place cannot tell: "
            f"{away.unusable}; the plan stands, try again"
        )
    raise PlanStale(
        f"expected the planned backup {key!r} to be usable still, found it gone or altered: "
        "make a new plan"
    )


def replay_to(plan: Plan | None) -> datetime | None:
    """The moment to which the plan replays WAL; None for a dump."""
    return moment(plan.observed.get("replay_to") if plan else None)


def planned_content(plan: Plan | None) -> str:
    """SHA-256 (hex) of the bytes that were looked into; empty where a signed digest stands."""
    return str(plan.observed.get("backup_content", "")) if plan else ""


def require_content(backup: Backup, fetched: Path, expected: str) -> None:
    """Raises PlanStale for other bytes than were looked into and approved.

    Those of a trusted backup were compared with the signed digest when they were fetched.
    """
    if backup.trusted:
        return
    found = content_digest(fetched)
    if found != expected:
        raise PlanStale(
            f"expected {backup.key} with the bytes that were looked into (SHA-256 "
            f"{expected[:12] or 'none'}), found others ({found[:12]}): it was replaced since; make "
            "a new plan"
        )
