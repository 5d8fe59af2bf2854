"""Backups, and the database that comes back from one. Changes go through the door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect import task

from tasks.clients.errors import Transient
from tasks.clients.object_store import ObjectStore
from tasks.domain import recovery_plan
from tasks.domain.backup_worth import judge
from tasks.domain.backups import Backup
from tasks.domain.errors import BadInput, NotProven, PlanStale, Refused
from tasks.domain.observation import Observation
from tasks.domain.pace import Pace, Told
from tasks.domain.plan import Plan
from tasks.domain.reconciled import Reconciled
from tasks.domain.recovery_target import Target
from tasks.domain.restore_loss import keeps_to_target
from tasks.progress import shown_pace
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import (
    carry_over,
    catalogue,
    door,
    evidence,
    journal,
    planning,
    proof_in_service,
    proposing,
    reconciling_tables,
    recovery,
    restore,
    swap,
    work_progress,
)
from tasks.work.checks import Seen, observe
from tasks.work.loading import rules_of
from tasks.work.log_heads import latest_head
from tasks.work.planned_backup import planned_backup, planned_content, replay_to
from tasks.work.proposing import Proposal, recovery_site
from tasks.work.restore_source import prepare
from tasks.work.scratch import private_scratch

_OTHERS_SECONDS = 1800.0
"""How long a recovery waits for one of another incident on the same database."""


@task(name="List available backups", tags={"runbook:recovery.db.list"}, **READ)
def list_backups() -> list[Backup]:
    """Every backup in every place that is configured; unusable ones with the reason."""
    return catalogue.list_all()


@task(name="Check that the backups are sound", tags={"runbook:db.resolution.backups"}, **READ)
def check_backups(incident: str) -> Observation:
    """Whether a fresh, signed and proven backup is there; what is missing from that."""

    def probe() -> Seen:
        found = catalogue.list_all()
        health, text = judge(found, datetime.now(UTC))
        unusable = [f"{each.key}: {each.unusable}" for each in found if each.unusable]
        return Seen(health, text, {"backups": len(found), "unusable": unusable[:20]})

    return observe(incident, "db.resolution.backups", "backups", probe)


@task(name="Plan the recovery", tags={"runbook:recovery.db.plan"}, **READ)
def plan_recovery(incident: str, backups: list[Backup]) -> Proposal:
    """Choose a backup, count what comes from where, and say what would be lost."""
    target = recovery_plan.wanted_target(journal.read(incident))
    try:
        return proposing.propose(incident, target, backups)
    except (NotProven, BadInput, Refused) as error:
        return Proposal(None, reason=str(error))


def target_has_changed(incident: str) -> bool:
    """Whether a person wants another state than the standing plan, not begun yet, is for."""
    return recovery_plan.has_other_target(journal.read(incident))


@contextmanager
def recovery_door(incident: str, target: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock and staleness are checked before anything is changed.

    So is what will be needed after the swap: a loss list that cannot be signed is found out here.
    """
    store = ObjectStore(settings().store)
    proof_in_service.signer()

    def observe() -> dict[str, Any]:
        site = recovery_site(incident)
        state = journal.read(incident)
        head = latest_head(site.log, site.trust)
        target = recovery_plan.wanted_target(state)
        plan = state.plan
        return planning.observed_state(
            site, head, _listed_backup(plan), target, replay_to(plan), planned_content(plan)
        )

    with door.opened(
        incident,
        target,
        observe=observe,
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


def _listed_backup(plan: Plan | None) -> Backup:
    """The plan's backup, in a catalogue of this moment."""
    return planned_backup(plan, catalogue.list_all())


@task(name="Restore beside production", tags={"runbook:recovery.db.restore"}, **CHANGE)
def restore_beside_production(passage: door.Passage) -> dict[str, Any]:
    """The planned backup into a new database, completed from the segments, proven."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        plan = journal.read(passage.incident).plan
        site = _site_of_plan(passage.incident, plan)
        backup = _listed_backup(plan)
        head = latest_head(site.log, site.trust)
        told = shown_pace(f"restore-{passage.incident.lower()}", _post(passage.incident))
        rules = rules_of(settings())
        with private_scratch(passage.incident) as directory:
            made = prepare(
                backup,
                replay_to(plan),
                directory,
                rules,
                site.binaries,
                told,
                planned_content(plan),
            )
            restored = restore.restore_beside(
                site, made.backup, made.archive, head, fence, rows=made.rows, told=told
            )
        _require_planned(plan, restored)
        text = (
            f"{restored.signed} signed records restored beside production: "
            f"{restored.signed - restored.added} from the backup, {restored.added} from sealed "
            "segments; "
            "they reproduce the signed root"
        )
        return text, restored.as_json() | {"notes": [*made.notes, *restored.notes]}

    return passage.carry_out(recovery_plan.RESTORE, act)


def _require_planned(plan: Plan | None, restored: restore.Restored) -> None:
    """To fetch a backup takes long: meanwhile another database may have taken the name."""
    planned = plan.observed.get("production_oid") if plan else None
    if plan is not None and restored.replaces not in {planned, restore.SERVED}:
        raise PlanStale(
            f"expected database {planned or 'none'} in production, as planned, found "
            f"{restored.replaces or 'none'}: production is untouched, make a new plan"
        )


def _post(incident: str) -> Told:
    """Tells who waits at a terminal; nothing depends on it."""

    def post(now: Pace) -> None:
        with suppress(Transient):
            work_progress.post(incident, str(now))

    return post


@task(name="Carry newer records over", tags={"runbook:recovery.db.carry-over"}, **CHANGE)
def carry_over_newer_records(passage: door.Passage) -> dict[str, Any]:
    """The unsigned tail, while production still writes."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        plan = journal.read(passage.incident).plan
        carried = carry_over.carry_bulk(
            _site_of_plan(passage.incident, plan),
            lambda: planning.ask_writers(settings().api),
            fence,
        )
        text = f"{carried.kept} newer records carried over by their chain, {carried.lost} lost"
        return text, carried.as_json()

    return passage.carry_out(recovery_plan.CARRY_OVER, act)


@task(name="Reconcile other tables", tags={"runbook:recovery.db.reconcile"}, **CHANGE)
def reconcile_other_tables(passage: door.Passage) -> dict[str, Any]:
    """Newer rows of other tables by rule, the greatest privacy spend, erasures made again."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        state = journal.read(passage.incident)
        restored = state.done(recovery_plan.RESTORE)
        if restored is None:
            raise NotProven("expected a restored database, found none: restore first")
        size = int(restored["result"]["backup_size"])
        reconciled = reconciling_tables.reconcile_bulk(
            _site_of_plan(passage.incident, state.plan), size, fence
        )
        return reconciled.sentence(), reconciled.as_json()

    return passage.carry_out(recovery_plan.RECONCILE, act)


def _site_of_plan(incident: str, plan: Plan | None) -> recovery.Site:
    """The site, with what the plan's target makes of the rules for other tables."""
    site = recovery_site(incident)
    target = Target.parse(str(plan.observed.get("target", "latest"))) if plan else Target()
    if keeps_to_target(target):
        return replace(site, rules=site.rules.only_listed())
    return site


@task(name="Swap databases", tags={"runbook:audit.resolution.restore"}, **CHANGE)
def swap_databases(passage: door.Passage) -> dict[str, Any]:
    """Writers stand still, the last rows go over, both names change in one transaction."""

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        site = _site_of_plan(passage.incident, journal.read(passage.incident).plan)

        def settle(reconciled: Reconciled) -> None:
            proof_in_service.hold_contradicted(passage.incident, reconciled)

        swapped = swap.swap(site, lambda: planning.ask_writers(settings().api), fence, settle)
        settle(swapped.other_tables)
        outage = swapped.outage_seconds
        text = (
            f"{swapped.database} is the restored log with {swapped.records} records; the damaged "
            f"one is kept as {swapped.quarantine}; writers waited "
            f"{'an unknown time' if outage is None else f'{outage:.2f} s'}; "
            f"{swapped.other_tables.sentence()}"
        )
        return text, swapped.as_json()

    return passage.carry_out(recovery_plan.SWAP, act)


@task(name="Verify the restored log", tags={"runbook:recovery.db.verify"}, **READ)
def verify_restored_log(incident: str) -> dict[str, Any]:
    """Production once more against the signed checkpoint, and the signed list of what is lost.

    Raises NotProven when the log in service is not the signed one.
    """
    return proof_in_service.prove(recovery_site(incident))
