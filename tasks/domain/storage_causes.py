"""Causes about the room of a database: how full, when full, and what would make more of it."""

from collections.abc import Iterable

from tasks.domain.causes import Cause, Confidence, Remedial
from tasks.domain.database_limits import GIB, Limits
from tasks.domain.database_readings import (
    BACKUP_APPLICATIONS,
    DatabaseReadings,
    Disk,
    Unread,
    known,
)
from tasks.domain.instance_restart import restart_remedial
from tasks.domain.storage import RESIZE_PENDING
from tasks.domain.storage_plan import Storage, size, storage_remedial, why_not

RESTART_DATABASE = "db.resolution.restart"
"""The runbook's line; the step that ends the database's pod."""


_COMPONENT = "database"
_HOUR = 3600.0


def is_filling(disk: Disk, limits: Limits) -> bool:
    """Whether it is nearly full, or will be soon by a growth that was watched for long enough."""
    if disk.capacity is None or not disk.samples:
        return False
    if disk.used >= disk.capacity * limits.full_share:
        return True
    left = disk.seconds_to_full
    is_soon = left is not None and left <= limits.full_within_seconds
    return is_soon and disk.watched_seconds >= limits.watched_seconds


def storage_causes(seen: DatabaseReadings, target: str, limits: Limits) -> Iterable[Cause]:
    """That the disk fills, with the remedy that its claim allows."""
    disk = known(seen.disk)
    if disk is None or not disk.samples:
        return
    storage, left, growth = known(seen.storage), disk.seconds_to_full, disk.growth or 0.0
    evidence: dict[str, object] = {
        "used": disk.used,
        "capacity": disk.capacity,
        "bytes_per_second": round(growth),
        "seconds_to_full": None if left is None else round(left),
        "hours_to_full": None if left is None else round(left / _HOUR, 1),
        "watched_seconds": round(disk.watched_seconds),
    }
    said = _said(disk, growth, left)
    if is_filling(disk, limits):
        if storage is not None:
            evidence |= _claim(storage)
        remedy = _remedy(seen, storage, target)
        if remedy is None:
            said = f"{said}; {hindrance_of(seen)}"
        elif storage is not None and storage.claim.waits_for_pod:
            said = f"{said}; {_pending(storage)}"
        yield Cause("db.disk-filling", _COMPONENT, Confidence.PROVEN, said, evidence, remedy)
    elif _may_fill(disk, growth, left, limits):
        yield Cause("db.disk-filling", _COMPONENT, Confidence.POSSIBLE, said, evidence)


def hindrance_of(seen: DatabaseReadings) -> str:
    """Why we do not make room ourselves."""
    storage, instance = seen.storage, seen.instance
    if storage is None:
        return "which claim holds it is not known: set RUNBOOK_DATABASE__POD"
    if isinstance(storage, Unread):
        return storage.reason
    if storage.claim.waits_for_pod:
        busy = work_that_must_end(seen)
        why = busy or (instance.reason if isinstance(instance, Unread) else "")
        why = why or (instance.refusal if instance and not isinstance(instance, Unread) else "")
        why = why or "it was not looked at"
        return f"{_pending(storage)}, which must not be restarted now: {why}"
    return why_not(storage)


def _pending(storage: Storage) -> str:
    return f"the file system of {storage.claim.name} waits for its pod ({RESIZE_PENDING})"


def work_that_must_end(seen: DatabaseReadings) -> str:
    """A backup or a restore that a restart would break; empty: none is seen."""
    for each in known(seen.sessions) or ():
        if each.protected == "a backup" or each.application.startswith(
            (*BACKUP_APPLICATIONS, "pg_restore")
        ):
            return f"{each.application or 'a backup'} is running (pid {each.pid})"
    return ""


def _remedy(seen: DatabaseReadings, storage: Storage | None, target: str) -> Remedial | None:
    if storage is None:
        return None
    if not storage.claim.waits_for_pod:
        return storage_remedial(storage, target)
    instance = known(seen.instance)
    if instance is None or work_that_must_end(seen):
        return None
    return restart_remedial(RESTART_DATABASE, instance, target, what_a_restart_destroys(seen))


def what_a_restart_destroys(seen: DatabaseReadings) -> str:
    """In words: what is open is lost, what is committed is not."""
    sessions, instance = known(seen.sessions), known(seen.instance)
    claim = f" on claim {instance.claim}" if instance and instance.claim else ""
    kept = f"what was committed stays{claim}, with its WAL"
    if sessions is None:
        return f"every connection and every open transaction; how many nobody can say now; {kept}"
    clients = [each for each in sessions if each.is_client]
    opened = sum(each.xact_start is not None for each in clients)
    return f"{len(clients)} connections and {opened} open transactions; {kept}"


def _may_fill(disk: Disk, growth: float, left: float | None, limits: Limits) -> bool:
    if disk.capacity is None:
        return growth >= limits.growth_per_second
    return left is not None and left <= limits.full_soon_seconds


def _claim(storage: Storage) -> dict[str, object]:
    claim = storage.claim
    return {
        "claim": claim.name,
        "storage_class": claim.storage_class,
        "claim_capacity": claim.capacity,
        "claim_requested": claim.requested,
        "conditions": [f"{each.type}={each.status}" for each in claim.conditions[:5]],
    }


def _said(disk: Disk, growth: float, left: float | None) -> str:
    used = f"{size(disk.used)} in use"
    if disk.capacity:
        used += f" of {size(disk.capacity)} ({disk.used / disk.capacity:.0%})"
    rate = f"growing by {growth * _HOUR / GIB:.2f} GiB an hour"
    end = f", full in {left / _HOUR:.1f} h at this rate" if left is not None else ""
    return f"{used}, {rate}{end}"
