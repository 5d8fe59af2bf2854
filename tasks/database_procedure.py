"""The database under care: looked at whole, diagnosed, and mended through the door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import database_plan
from tasks.domain.causes import Cause
from tasks.domain.database_diagnosis import COMPONENT, diagnose
from tasks.domain.database_readings import DatabaseReadings
from tasks.domain.facts import FactKind
from tasks.domain.plan import Plan
from tasks.domain.session_remedies import CANCEL, RELIEVE, TERMINATE
from tasks.domain.signals import keys_in
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import database_checks, database_remedies, door, evidence, journal
from tasks.work.checks import observe
from tasks.work.database_remedies import Site
from tasks.work.targets import production_target

_OTHERS_SECONDS = 60.0
"""How long a remedy waits for another incident's change of the same database."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with its dry run."""

    plan: Plan
    dry_run: list[str]


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
    """Databases, `pg_stat_activity`, `pg_locks` and the disk, in one look from outside."""
    site = _site()
    seen = database_remedies.looked_at(site)
    for step, check in database_checks.CHECKS.items():
        observe(incident, step, COMPONENT, partial(check, seen, site.limits))
    return seen


def diagnose_database(seen: DatabaseReadings) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings. Not a task: it is pure."""
    site = _site()
    return diagnose(seen, site.target, site.limits)


@task(name="Record the causes", **READ)
def record_causes(incident: str, causes: tuple[Cause, ...]) -> None:
    """Record what the diagnosis found, and what it did not look at."""
    earlier = sum(fact.kind is FactKind.CAUSES_FOUND for fact in journal.read(incident).facts)
    journal.append(
        incident,
        FactKind.CAUSES_FOUND,
        {"component": COMPONENT, "causes": [cause.as_json() for cause in causes]},
        key=f"causes:{COMPONENT}:{earlier}",
    )


@task(name="Plan the remedy", **READ)
def plan_remedy(incident: str, cause: Cause, seen: DatabaseReadings) -> Proposal:
    """The exact sessions, and what a signal to each would be answered now."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = database_plan.plan_database_remedy(incident, cause, expires_at)
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


def _signal(passage: door.Passage, step: str) -> dict[str, Any]:
    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        plan = journal.read(passage.incident).plan
        return database_remedies.carried_out(_site(), plan, step, fence)

    return passage.carry_out(step, act)


def planned_steps(incident: str) -> tuple[str, ...]:
    """The steps of the standing plan, in their order."""
    plan = journal.read(incident).plan
    return tuple(step.step for step in plan.steps) if plan is not None else ()


@task(name="Verify that the symptom is gone", tags={"runbook:db.verify"}, **READ)
def verify_symptom_gone(incident: str) -> tuple[bool, str]:
    """The same look and the same diagnosis as before: whether the cause is gone, in words."""
    state = journal.read(incident)
    code = database_plan.planned_cause(state.plan)
    causes, seen = database_remedies.still_there(_site(), code)
    same = next((cause for cause in causes if cause.code == code), None)
    gone = same is None and not seen.unreachable
    others = [cause.code for cause in causes if cause.code != code]
    if gone:
        text = f"{code} is gone" + (f"; still there: {', '.join(others)}" if others else "")
    else:
        text = f"{code} is not gone: {same.summary if same else seen.unreachable}"
    journal.append(
        incident,
        FactKind.VERIFIED,
        {
            "what": f"{code} by the same look",
            "holds": gone,
            "summary": text[:2000],
            "plan": state.plan_hash,
            "result": {"causes": [cause.code for cause in causes]},
        },
    )
    return gone, text
