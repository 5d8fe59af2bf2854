"""The database under care: looked at whole, diagnosed, and mended through the door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import database_plan
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import COMPONENT, diagnose
from tasks.domain.database_readings import DatabaseReadings
from tasks.domain.mending import Effect, effect_on, planned_cause
from tasks.domain.plan import Plan, Proposal
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.domain.signals import keys_in
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.domain.storage_plan import STORAGE
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import database_checks, database_remedies, door, evidence, journal, signed_head
from tasks.work.checks import observe
from tasks.work.database_remedies import Site
from tasks.work.targets import production_target

_OTHERS_SECONDS = 60.0
"""How long a remedy waits for another incident's change of the same database."""


def _site() -> Site:
    return database_remedies.site_of(settings(), production_target())


@task(
    name="Look at the database",
    tags={
        "runbook:db.diagnosis.databases",
        "runbook:db.diagnosis.connections",
        "runbook:db.diagnosis.locks",
        "runbook:db.diagnosis.disk",
    },
    **READ,
)
def look_at_database(incident: str) -> DatabaseReadings:
    """Databases, `pg_stat_activity` and `pg_locks` from outside, the disk as its pod sees it.

    A server that does not answer is asked in its pod as well.
    """
    site = _site()
    seen = database_remedies.looked_at(site)
    for step, check in database_checks.CHECKS.items():
        observe(incident, step, COMPONENT, partial(check, seen, site.limits))
    return seen


def diagnose_database(seen: DatabaseReadings) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings. Not a task: it is pure."""
    site = _site()
    return diagnose(seen, site.target, site.limits)


@task(name="Plan the remedy", **READ)
def plan_remedy(incident: str, cause: Cause, seen: DatabaseReadings) -> Proposal:
    """The exact sessions, claim or pod, and what doing it would be answered now."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = database_plan.plan_database_remedy(incident, cause, expires_at)
    answers: database_remedies.Answers = []
    if database_plan.is_about_sessions(plan):
        why, keys = keys_in(plan.observed)
        answers = database_remedies.would_answer(_site(), keys, why)
    return Proposal(plan, database_plan.dry_run((cause,), seen.unread(), answers))


@contextmanager
def remedy_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that a planned session is still what it was."""
    site = _site()
    store = ObjectStore(settings().store)

    with door.opened(
        incident,
        site.target,
        observe=lambda: database_remedies.planned_state(site, journal.read(incident)),
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


@task(name="Cancel queries", tags={"runbook:db.resolution.cancel"}, **CHANGE)
def cancel_queries(passage: door.Passage) -> dict[str, Any]:
    """What the planned sessions run, if each is still exactly what was approved."""
    return _signal(passage, CANCEL)


@task(name="End sessions", tags={"runbook:db.resolution.terminate"}, **CHANGE)
def end_sessions(passage: door.Passage) -> dict[str, Any]:
    """Those of the planned sessions that go on all the same."""
    return _signal(passage, TERMINATE)


@task(name="Relieve connections", tags={"runbook:db.resolution.relieve"}, **CHANGE)
def relieve_connections(passage: door.Passage) -> dict[str, Any]:
    """End the planned sessions that have done nothing since."""
    return _signal(passage, RELIEVE)


@task(name="Enlarge the storage", tags={"runbook:db.resolution.storage"}, **CHANGE)
def enlarge_storage(passage: door.Passage) -> dict[str, Any]:
    """Ask for the planned size of the claim once, and watch it until its files have room."""
    return _change(passage, STORAGE, database_remedies.enlarge_storage)


@task(name="Restart the database", tags={"runbook:db.resolution.restart"}, **CHANGE)
def restart_database(passage: door.Passage) -> dict[str, Any]:
    """End the planned pod by its uid, and wait until its successor is ready."""
    return _change(passage, RESTART_DATABASE, database_remedies.restart)


def _change(
    passage: door.Passage,
    step: str,
    change: Callable[[Site, Plan | None, database_remedies.Fence], tuple[str, dict[str, Any]]],
) -> dict[str, Any]:
    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        return change(_site(), journal.read(passage.incident).plan, fence)

    return passage.carry_out(step, act)


def _signal(passage: door.Passage, step: str) -> dict[str, Any]:
    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        plan = journal.read(passage.incident).plan
        return database_remedies.carried_out(_site(), plan, step, fence)

    return passage.carry_out(step, act)


@task(name="Look again", tags={"runbook:db.verify"}, **READ)
def look_again(incident: str) -> Effect:
    """The same look and the same diagnosis as before, until the planned cause is gone.

    After a restart the records up to the newest signed head must be there as well.
    """
    plan = journal.read(incident).plan
    code = planned_cause(plan)
    site = _site()
    causes, seen = database_remedies.still_there(site, code)
    effect = effect_on(code, causes, seen.unreachable)
    if plan is None or not effect.gone or RESTART_DATABASE not in {one.step for one in plan.steps}:
        return effect
    missing, said = signed_head.look_for(site.look.reader_dsn, site.look.timeout_seconds)
    return Effect(gone=not missing, text=f"{effect.text}; {said}", causes=effect.causes)
