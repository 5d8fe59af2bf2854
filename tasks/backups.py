"""Backups, and the database that comes back from one. Changes go through the door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import recovery_plan
from tasks.domain.backups import Backup
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.facts import FactKind
from tasks.domain.ledger import NoteSigner, NoteVerifier, Status
from tasks.domain.plan import Plan
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import backups as catalogue
from tasks.work import (
    carry_over,
    door,
    evidence,
    journal,
    planning,
    recovery,
    restore,
    swap,
)
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tasks.work.scratch import private_scratch
from tasks.work.table_verification import verify_table


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with its dry run, or the reason why there is none."""

    plan: Plan | None
    dry_run: list[str]
    reason: str = ""


def _signer() -> NoteSigner:
    return NoteSigner.parse(settings().responder.read_signing_key().get_secret_value())


def _store() -> ObjectStore:
    return ObjectStore(settings().store)


def _site(incident: str) -> recovery.Site:
    store = settings().store
    log = ObjectLog(_store(), store.backups_bucket, store.audit_prefix)
    return recovery.site_of(incident, log, settings())


@task(name="List available backups", tags={"runbook:recovery.db.list"}, **READ)
def list_backups() -> list[Backup]:
    """Every backup in the object store; unusable ones with the reason."""
    store, ledger = settings().store, settings().ledger
    keys = [NoteVerifier.parse(key) for key in (ledger.backup_key or ledger.log_key,)]
    return catalogue.list_backups(_store(), store.backups_bucket, store.database_prefix, keys)


@task(name="Plan the recovery", **READ)
def plan_recovery(incident: str, backups: list[Backup]) -> Proposal:
    """Choose a backup, count what comes from where, and say what would be lost."""
    site = _site(incident)
    try:
        found = planning.look(site, backups, settings().api)
    except NotProven as error:
        return Proposal(None, [], str(error))
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = recovery_plan.plan_database_recovery(
        incident, found.backup, site.names, found.numbers, found.observed, expires_at
    )
    unusable = sum(bool(backup.unusable) for backup in backups)
    lines = recovery_plan.dry_run(len(backups), unusable, found.numbers, found.head.checkpoint.size)
    return Proposal(plan, lines)


@contextmanager
def recovery_door(incident: str, target: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock and staleness are checked before anything is changed.

    So is what will be needed after the swap: a loss list that cannot be signed is found out here.
    """
    store = _store()
    _signer()

    def observe() -> dict[str, Any]:
        site = _site(incident)
        plan = journal.read(incident).plan
        head = latest_head(site.log, site.trust)
        return planning.observed_state(site, head, _planned_backup(plan))

    with door.opened(
        incident,
        target,
        observe=observe,
        evidence_holds=lambda hold: evidence.stands(store, hold),
    ) as passage:
        yield passage


def _planned_backup(plan: Plan | None) -> Backup:
    """The backup that the approved plan names, found again in the catalogue."""
    wanted = plan.observed["backup"] if plan else ""
    for backup in list_backups.fn():
        if backup.key == wanted and not backup.unusable:
            return backup
    raise PlanStale(
        f"expected the planned backup {wanted!r} to be usable still, found it gone or altered: "
        "make a new plan"
    )


@task(name="Restore beside production", tags={"runbook:recovery.db.restore"}, **CHANGE)
def restore_beside_production(passage: door.Passage) -> dict[str, Any]:
    """The planned backup into a new database, completed from the segments, proven."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        site = _site(passage.incident)
        backup = _planned_backup(journal.read(passage.incident).plan)
        head = latest_head(site.log, site.trust)
        with private_scratch(passage.incident) as directory:
            archive = catalogue.fetch_backup(
                _store(), settings().store.backups_bucket, backup, directory
            )
            restored = restore.restore_beside(site, backup, archive, head, fence)
        text = (
            f"{restored.signed} signed records restored beside production: "
            f"{backup.log_size} from the backup, {restored.added} from sealed segments; "
            "they reproduce the signed root"
        )
        return text, restored.as_json()

    return passage.carry_out(recovery_plan.RESTORE, act)


@task(name="Carry newer records over", tags={"runbook:recovery.db.carry-over"}, **CHANGE)
def carry_over_newer_records(passage: door.Passage) -> dict[str, Any]:
    """The unsigned tail, while production still writes."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        carried = carry_over.carry_bulk(
            _site(passage.incident), lambda: planning.ask_writers(settings().api), fence
        )
        text = f"{carried.kept} newer records carried over by their chain, {carried.lost} lost"
        return text, carried.as_json()

    return passage.carry_out(recovery_plan.CARRY_OVER, act)


@task(name="Swap databases", tags={"runbook:audit.resolution.restore"}, **CHANGE)
def swap_databases(passage: door.Passage) -> dict[str, Any]:
    """Writers stand still, the last rows go over, both names change in one transaction."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        swapped = swap.swap(
            _site(passage.incident), lambda: planning.ask_writers(settings().api), fence
        )
        outage = swapped.outage_seconds
        text = (
            f"{swapped.database} is the restored log with {swapped.records} records; the damaged "
            f"one is kept as {swapped.quarantine}; writers waited "
            f"{'an unknown time' if outage is None else f'{outage:.2f} s'}"
        )
        return text, swapped.as_json()

    return passage.carry_out(recovery_plan.SWAP, act)


@task(name="Verify the restored log", tags={"runbook:recovery.db.verify"}, **READ)
def verify_restored_log(incident: str) -> dict[str, Any]:
    """Production once more against the signed checkpoint, and the signed list of what is lost.

    Raises NotProven when the log in service is not the signed one.
    """
    site = _site(incident)
    store = settings().store
    verdict = verify_table(settings().database.reader_dsn.get_secret_value(), site.log, site.trust)
    if verdict.status is not Status.VERIFIED:
        found = [finding.as_json() for finding in verdict.findings[:5]]
        text = f"expected the log in service to be the signed one, found {verdict.status}: {found}"
        _record_proof(incident, text, {}, holds=False)
        raise NotProven(f"{text}; a person must look")
    sealed = carry_over.seal_losses(
        site,
        _store(),
        store.evidence_bucket,
        _signer(),
        store.retention_days,
    )
    result = {
        "root": verdict.root,
        "size": verdict.signed,
        "records": verdict.records,
        "seconds": round(verdict.seconds, 3),
        "records_lost": sealed.losses.records,
        "lost": [[each.first, each.first + each.count - 1] for each in sealed.losses.lost],
        "loss_list": sealed.key,
        "loss_list_sha256": sealed.sha256,
    }
    text = (
        f"the log in service reproduces the signed root of {verdict.signed} records; "
        f"{sealed.losses.records} lost, on a signed list"
    )
    _record_proof(incident, text, result, holds=True)
    return result


def _record_proof(incident: str, summary: str, result: dict[str, Any], *, holds: bool) -> None:
    journal.append(
        incident,
        FactKind.VERIFIED,
        {
            "what": "the log in service",
            "holds": holds,
            "summary": summary[:2000],
            "result": result,
        },
    )
