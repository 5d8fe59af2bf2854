"""The plan of a database recovery, in words that a person can say yes to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tasks.domain.backups import Backup
from tasks.domain.holds import database_target
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.restore import DatabaseNames, RestoreNumbers

RESTORE = "recovery.db.restore"
CARRY_OVER = "recovery.db.carry-over"
SWAP = "recovery.db.swap"


def plan_database_recovery(
    incident: str,
    backup: Backup,
    names: DatabaseNames,
    numbers: RestoreNumbers,
    observed: Mapping[str, Any],
    expires_at: datetime,
) -> Plan:
    """The steps of `recovery.db.*`. Nothing is destroyed: production is renamed and kept.

    What is made beside production is named as a part of it: a hold on either stops the plan.
    """
    production = database_target(names.production)
    beside = f"{production}/restore"
    return Plan(
        incident=incident,
        procedure="database_recovery",
        summary=(
            f"Restore {names.production} beside production: {numbers.from_backup} records from "
            f"{backup.key}, {numbers.from_segments} from sealed segments, the unsigned tail from "
            "the damaged table where its chain proves it; then swap by rename"
        ),
        steps=(
            PlanStep(
                RESTORE,
                f"restore {backup.key} (SHA-256 {backup.sha256[:12]}) into the new database "
                f"{names.scratch}, complete it from the sealed segments and prove the signed root",
                beside,
                "nothing",
            ),
            PlanStep(
                CARRY_OVER,
                f"copy newer records that the chain proves into {names.scratch}, with a tombstone "
                "and a signed list for each that is lost",
                beside,
                "nothing",
            ),
            PlanStep(
                SWAP,
                f"hold writers still, carry the last records over, rename {names.production} to "
                f"{names.quarantine} and {names.scratch} to {names.production} in one transaction",
                production,
                "nothing; sessions on the database end, and writers wait about a second",
            ),
        ),
        observed=observed,
        will_be_lost=numbers.will_be_lost,
        expires_at=expires_at,
        approvers_needed=numbers.approvers_needed,
    )


def dry_run(backups: int, unusable: int, numbers: RestoreNumbers, head_size: int) -> list[str]:
    """What looking without touching has shown, line by line."""
    missing = numbers.lost_at_most
    lines = [
        f"{backups} backups found, {unusable} of them unusable",
        f"signed head: {head_size} records; it contradicts no anchor that was kept",
        f"would restore {numbers.from_backup} records from the backup",
        f"would add {numbers.from_segments} records from sealed segments",
        f"would carry over up to {numbers.unsigned_tail} unsigned records, {missing} missing now",
        f"size afterwards: {numbers.size_after} records; no seq is used twice",
    ]
    if not numbers.acknowledged_known:
        lines.append(
            "unknown: the writers could not be asked what they were told; the numbers of unsigned "
            "records are the damaged table's own"
        )
    return lines
