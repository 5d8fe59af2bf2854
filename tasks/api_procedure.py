"""The API under care: looked at with all that it needs, diagnosed, and mended through the door."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain.api_diagnosis import COMPONENT, assess, diagnose, unexplained
from tasks.domain.api_plan import plan_api_remedy
from tasks.domain.api_readings import ApiReadings
from tasks.domain.causes import Cause
from tasks.domain.mending import Effect, described
from tasks.domain.metrics import onset
from tasks.domain.plan import Proposal
from tasks.domain.restart_plan import RESTART, restart_in
from tasks.domain.severity import Assessment
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import api_checks, api_remedies, door, evidence, journal, pod_restarts
from tasks.work.api_looks import Site, site_of
from tasks.work.checks import observe
from tasks.work.targets import production_target

_OTHERS_SECONDS = 60.0
"""How long a remedy waits for another incident's change of the same workload."""


def _site() -> Site:
    return site_of(settings(), production_target())


@task(
    name="Look at the API",
    tags={
        "runbook:api.symptom.errors",
        "runbook:api.symptom.slow",
        "runbook:api.symptom.authentication",
        "runbook:api.diagnosis.resources",
        "runbook:api.resolution.connections",
        "runbook:api.resolution.configuration",
    },
    **READ,
)
def look_at_api(incident: str) -> ApiReadings:
    """Requests, pods, connections, dependencies and recent changes, in one look."""
    site, state = _site(), journal.read(incident)
    seen = api_remedies.looked(site, state, onset(state.facts), after=False)
    for step, check in api_checks.CHECKS.items():
        observe(incident, step, COMPONENT, partial(check, seen, site.limits))
    return seen


def diagnose_api(seen: ApiReadings) -> tuple[Cause, ...]:
    """Ranked causes of what was seen, by the bounds of the settings. Not a task: it is pure."""
    return diagnose(seen, _site().limits)


def unexplained_trouble(seen: ApiReadings, causes: Sequence[Cause]) -> str:
    """What users notice and no cause explains; empty: nothing. Not a task: it is pure."""
    return unexplained(seen, causes, _site().limits)


def assess_api(seen: ApiReadings) -> Assessment | None:
    """What users notice, as a severity. Not a task: it is pure."""
    return assess(seen, _site().limits)


@task(name="Plan the remedy of the API", **READ)
def plan_remedy(
    incident: str, cause: Cause, causes: tuple[Cause, ...], seen: ApiReadings
) -> Proposal:
    """The exact change, and what the API server answers to it without making it."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    plan = plan_api_remedy(incident, cause, expires_at)
    lines = described(causes, seen.unread())
    return Proposal(plan, [*lines, *api_remedies.tried(_site(), plan)])


@contextmanager
def remedy_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that what was planned still fits."""
    site = _site()
    store = ObjectStore(settings().store)
    with door.opened(
        incident,
        site.target,
        observe=lambda: api_remedies.planned_state(site, journal.read(incident)),
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


@task(name="Restart pods", tags={"runbook:api.resolution.restart"}, **CHANGE)
def restart_pods(passage: door.Passage) -> dict[str, Any]:
    """The pods that the standing plan names, of whatever workload, one by one."""
    where = api_remedies.restarts_of(_site())
    planned = restart_in(journal.read(passage.incident).plan)
    return passage.carry_out(RESTART, lambda fence: pod_restarts.carry_out(where, planned, fence))


@task(name="Look at the API again", tags={"runbook:api.verify"}, **READ)
def look_again(incident: str) -> Effect:
    """The same look and the same diagnosis as before, until the planned cause is gone."""
    state = journal.read(incident)
    return api_remedies.effect(_site(), state, onset(state.facts))


@task(name="Look at the API after a remedy", tags={"runbook:api.verify"}, **READ)
def look_after_remedy(incident: str) -> ApiReadings:
    """Whether the API is well now: rates are taken only over what came after the remedy."""
    state = journal.read(incident)
    return api_remedies.settled(_site(), state, onset(state.facts))
