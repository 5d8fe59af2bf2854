"""Rolling a release back: `kubectl rollout history`, `undo` and `status`, through the door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain import release_diagnosis
from tasks.domain.causes import Cause
from tasks.domain.incident import Incident
from tasks.domain.mending import Effect
from tasks.domain.observation import Health, Observation
from tasks.domain.plan import Proposal
from tasks.domain.release_diagnosis import COMPONENT
from tasks.domain.rollback_plan import RETURN, UNDO, Planned, planned_in
from tasks.domain.rollout_history import CannotUndo
from tasks.domain.rollout_lines import history_lines
from tasks.domain.rollout_look import Looked
from tasks.domain.rollout_status import Progress
from tasks.progress import shown_progress
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import door, evidence, journal, rollbacks
from tasks.work.checks import Seen, observe
from tasks.work.rollbacks import Site
from tasks.work.targets import door_target

_OTHERS_SECONDS = 60.0
"""How long a rollback waits for another incident's change of the same workload."""


def _site() -> Site:
    return rollbacks.site_of(settings())


@task(name="Review the rollout history", tags={"runbook:recovery.rollback.history"}, **READ)
def review_history(incident: str) -> Looked | Observation:
    """`kubectl rollout history`, with images, causes, who, times and what is known of each.

    The observation, when the history could not be read: it says why.
    """
    found: list[Looked] = []

    def probe() -> Seen:
        wish = journal.read(incident).rollback
        text = wish.workload if wish else settings().rollback.workload
        looked = rollbacks.looked_at(_site(), *rollbacks.workload_in(text))
        found.append(looked)
        return _seen(looked)

    seen = observe(incident, "recovery.rollback.history", COMPONENT, probe)
    return found[0] if found else seen


def diagnose_release(state: Incident, looked: Looked) -> tuple[Cause, ...]:
    """Whether the release is to blame, or a person wants it gone. Not a task: it is pure."""
    return release_diagnosis.diagnose(looked, state.rollback)


@task(name="Plan the rollback", **READ)
def plan_rollback(incident: str, cause: Cause) -> Proposal | CannotUndo:
    """The plan, tried by the API server without keeping it; CannotUndo where it refuses."""
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    return rollbacks.propose(_site(), incident, cause, expires_at)


@contextmanager
def rollback_door(incident: str) -> Iterator[door.Passage]:
    """Holds, approval, caps, lock, and that the workload is still what was approved."""
    site = _site()
    store = ObjectStore(settings().store)
    planned = planned_in(journal.read(incident).plan)
    target = door_target(planned.kind.value, planned.name)

    with door.opened(
        incident,
        target,
        observe=lambda: rollbacks.planned_state(site, journal.read(incident)),
        evidence_holds=lambda hold: evidence.stands(store, hold),
        wait_seconds=_OTHERS_SECONDS,
    ) as passage:
        yield passage


@task(
    name="Undo the rollout",
    tags={"runbook:recovery.rollback.undo", "runbook:recovery.rollback.status"},
    **CHANGE,
)
def undo_rollout(passage: door.Passage) -> dict[str, Any]:
    """`kubectl rollout undo` to the planned revision, and its status until it is over."""
    return _carried_out(passage, UNDO, planned_in(journal.read(passage.incident).plan))


@task(name="Return from the rollback", tags={"runbook:recovery.rollback.return"}, **CHANGE)
def return_rollout(passage: door.Passage) -> dict[str, Any]:
    """Back to what there was, because the rollback failed or has not helped."""
    planned = planned_in(journal.read(passage.incident).plan)
    return _carried_out(passage, RETURN, planned.returning())


@task(name="Look at the rollout again", tags={"runbook:recovery.rollback.verify"}, **READ)
def look_at_rollout(incident: str) -> Effect:
    """Whether the workload is whole at the planned revision."""
    return rollbacks.effect(_site(), journal.read(incident).plan)


def _carried_out(passage: door.Passage, step: str, planned: Planned) -> dict[str, Any]:
    key = f"rollback-{passage.incident.lower()}"

    def act(fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        told = shown_progress(key, "pods are of the revision and available")
        return rollbacks.carried_out(_site(), planned, fence, told)

    return passage.carry_out(step, act)


def _seen(looked: Looked) -> Seen:
    status = looked.status
    lines = history_lines(looked)
    rolled = f"{looked.target}: {len(looked.revisions)} revisions; {status.text}"
    if isinstance(looked.history, CannotUndo):
        return Seen(Health.UNKNOWN, looked.history.text)
    health = Health.FAILED if status.progress is Progress.FAILED else Health.HEALTHY
    return Seen(health, rolled, {"revisions": [each.as_json() for each in lines]})
