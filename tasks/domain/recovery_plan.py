"""The plan of a database recovery, in words that a person can say yes to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tasks.domain.backups import Kind
from tasks.domain.facts import FactKind
from tasks.domain.holds import database_target
from tasks.domain.incident import Incident
from tasks.domain.ledger import Status
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.restore import DatabaseNames, RestoreNumbers
from tasks.domain.restore_choice import Choice, moment
from tasks.domain.restore_estimate import Estimate, needs_instance
from tasks.domain.restore_loss import reconciling, replaying, will_be_lost

PROCEDURE = "database_recovery"
RESTORE = "recovery.db.restore"
CARRY_OVER = "recovery.db.carry-over"
RECONCILE = "recovery.db.reconcile"
SWAP = "recovery.db.swap"

LIST_KEYS = (
    *("other_tables", "reconciliation_list"),
    *("reconciliation_list_sha256", "reconciliation_entries"),
)
"""What a proof says of the signed list about other tables."""


NOT_BROUGHT = (
    "not brought over: what was made or altered since the backup of tables, code and large objects",
    "materialized views are as of the backup until somebody refreshes them",
    "logical replication slots stay with the quarantined database and keep WAL: drop them in time",
    "the quarantined database keeps its owner, who can open or drop it",
    "the signed list is locked and names keys of rows: names of people may stand in them",
)
"""Of a living database: what a swap leaves behind or aside, for whoever approves it."""


def is_damage(diagnosis: Mapping[str, Any] | None) -> bool:
    """Whether verification has proven that records of the table are altered or missing."""
    found = diagnosis or {}
    is_proven = found.get("verdict") == Status.TAMPERED
    return is_proven and bool(found.get("altered") or found.get("missing"))


def wanted_target(incident: Incident) -> Target:
    """What a person has chosen; else before the damage when it is proven, else the newest."""
    if incident.target is not None:
        return incident.target
    kind = TargetKind.BEFORE_DAMAGE if is_damage(incident.diagnosis) else TargetKind.LATEST
    return Target(kind)


def recorded_list(incident: Incident) -> dict[str, Any]:
    """What the newest proof has recorded about other tables; empty when nothing was reconciled."""
    for fact in reversed(incident.facts):
        result = fact.data.get("result") if fact.kind is FactKind.VERIFIED else None
        if isinstance(result, Mapping) and "reconciliation_list" in result:
            return {name: result[name] for name in LIST_KEYS if name in result}
    return {}


def is_under_way(incident: Incident) -> bool:
    """Whether the standing plan has begun and has not come to its end."""
    plan = incident.plan
    return bool(incident.begun) and plan is not None and not _is_done(incident, plan)


def was_restored(incident: Incident) -> bool:
    """Whether a restored database came into service by the standing plan."""
    return SWAP in incident.steps


def has_other_target(incident: Incident) -> bool:
    """Whether the plan stands for something else than the wanted target, and is not under way."""
    plan = incident.plan
    if plan is None or is_under_way(incident) or was_restored(incident):
        return False
    return plan.procedure != PROCEDURE or plan.observed.get("target") != str(
        wanted_target(incident)
    )


def _is_done(incident: Incident, plan: Plan) -> bool:
    return all(step.step in incident.steps for step in plan.steps)


def plan_database_recovery(
    incident: str,
    choice: Choice,
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
        procedure=PROCEDURE,
        summary=(
            f"Restore {names.production} ({choice.target}) beside production: "
            f"{_sources(choice, numbers)}, the unsigned tail from the damaged table where its "
            f"chain proves it; then swap by rename. {_sentence(choice.tables)}"
            f"{_warning(choice)}"
        ),
        steps=(
            PlanStep(
                RESTORE,
                f"{_restore(choice)} into the new database {names.scratch}, complete it from the "
                "sealed segments and prove the signed root",
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
                RECONCILE,
                f"{_reconcile(choice, numbers)}; keep the greatest privacy spend and compare it "
                "with the releases in the log; make signed erasures since the backup again in "
                f"{names.scratch}",
                beside,
                "nothing",
            ),
            PlanStep(
                SWAP,
                f"hold writers still, carry the last records over, rename {names.production} to "
                f"{names.quarantine} and {names.scratch} to {names.production} in one transaction",
                production,
                "nothing; sessions on the database end, and writers wait about a second: where it "
                "would be longer than the limit that is set, the swap is undone",
            ),
        ),
        observed=observed,
        will_be_lost=will_be_lost(choice, numbers),
        expires_at=expires_at,
        approvers_needed=numbers.approvers_needed,
    )


def _reconcile(choice: Choice, numbers: RestoreNumbers) -> str:
    return reconciling(choice, database_exists=numbers.database_exists)


def _sources(choice: Choice, numbers: RestoreNumbers) -> str:
    """How many signed records come from where; how many a base backup and WAL bring is unknown."""
    key = choice.backup.key
    if choice.backup.kind is not Kind.BASE:
        return (
            f"{numbers.from_backup} records from {key}, {numbers.from_segments} from sealed "
            "segments"
        )
    return (
        f"of {numbers.from_backup + numbers.from_segments} signed records those that {key} and its "
        "WAL bring as signed, the others from sealed segments"
    )


def _warning(choice: Choice) -> str:
    said = replaying(choice)
    return f". {_sentence(said)}" if said else ""


def _restore(choice: Choice) -> str:
    """What happens to the backup, for the plan's first step."""
    backup = choice.backup
    digest = f"SHA-256 {backup.sha256[:12]}" if backup.sha256 else "no digest"
    text = f"restore {backup.key} ({digest})"
    if choice.replay_to is not None:
        text += f" and its WAL to {moment(choice.replay_to)} in a throw-away instance, then"
    elif needs_instance(backup):
        text += " through a throw-away instance, where it is screened, then"
    return f"{text}, mended," if choice.mended else text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def dry_run(
    backups: int,
    unusable: int,
    choice: Choice,
    numbers: RestoreNumbers,
    head_size: int,
    needed: Estimate,
) -> list[str]:
    """What looking without touching has shown, line by line."""
    missing = numbers.lost_at_most
    inside = f"inside it is {choice.contents}" if choice.contents else "nobody could look inside"
    lines = [
        f"{backups} backups found, {unusable} of them unusable",
        f"target: {choice.target}; chosen: {choice.backup.key}, {inside}",
        *(f"passed over: {each.key}: {each.why}" for each in choice.passed_over),
        *([choice.bracket] if choice.bracket else []),
        *([choice.note] if choice.note else []),
        choice.tables,
        *([said] if (said := replaying(choice)) else []),
        f"would {_reconcile(choice, numbers)}",
        f"signed head: {head_size} records; it contradicts no anchor that was kept",
        f"would restore {_sources(choice, numbers)}",
        f"would carry over up to {numbers.unsigned_tail} unsigned records, {missing} missing now",
        f"size afterwards: {numbers.size_after} records; no seq is used twice",
        f"it takes {needed}",
        *(NOT_BROUGHT if numbers.database_exists else ()),
    ]
    if numbers.doubt:
        lines.append(f"unknown: the writers' answer is no head of theirs: {numbers.doubt}")
    if not numbers.acknowledged_known:
        lines.append(
            "unknown: the writers could not be asked what they were told; the numbers of unsigned "
            "records are the damaged table's own"
        )
    return lines
