"""Emergency shutdown and start-up: the whole system, part by part, in order."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain.change_wish import Wanted
from tasks.domain.emergency_plan import Emergency, Part, plan_emergency
from tasks.domain.mending import Effect
from tasks.domain.plan import Proposal
from tasks.retries import CHANGE, READ
from tasks.settings import settings
from tasks.work import door, emergencies, evidence, journal
from tasks.work.emergencies import Grounds
from tasks.work.targets import production_target

_OTHERS_SECONDS = 60.0
"""How long the emergency waits for another incident's change of one of the parts."""


def _where() -> Grounds:
    return emergencies.grounds_of(settings())


@task(name="Plan the emergency", **READ)
def plan_asked(incident: str, wanted: Wanted) -> Proposal | None:
    """Every part, in its order; None when there is nothing to stop, or nothing that we stopped."""
    where = _where()
    found = emergencies.found(where, wanted)
    if not found.emergency.parts:
        return None
    state = journal.read(incident)
    reason = f"asked for by {state.wish.by}" if state.wish else "asked for by nobody"
    expires_at = datetime.now(UTC) + timedelta(minutes=settings().changes.approval_minutes)
    stake = emergencies.at_stake(where, found.emergency)
    plan = plan_emergency(incident, found.emergency, reason, expires_at, stake)
    return Proposal(plan, emergencies.dry_run(where, found, stake))


@contextmanager
def emergency_doors(incident: str) -> Iterator[Mapping[str, door.Passage]]:
    """A door for each part, by its step: each has its own holds, lock and caps.

    That of the database is also locked, and held, as the database itself: by restores, and by
    whatever else changes the server.
    """
    where, store = _where(), ObjectStore(settings().store)
    planned = Emergency.of(journal.read(incident).plan)
    with ExitStack() as stack:
        passages = {}
        for step, part in sorted(planned.steps.items(), key=lambda each: each[1].target):
            passages[step] = stack.enter_context(
                door.opened(
                    incident,
                    part.target,
                    observe=lambda: emergencies.planned_state(where, journal.read(incident)),
                    evidence_holds=lambda hold: evidence.stands(store, hold),
                    wait_seconds=_OTHERS_SECONDS,
                    also=(production_target(),) if part.part is Part.DATABASE else (),
                )
            )
        yield passages


@task(
    name="Stop a part",
    tags={
        "runbook:emergency.stop.workers",
        "runbook:emergency.stop.api",
        "runbook:emergency.stop.privacy-engine",
        "runbook:emergency.stop.cache",
        "runbook:emergency.stop.database",
    },
    **CHANGE,
)
def stop_part(passage: door.Passage, step: str) -> dict[str, Any]:
    """One part, when the ones before it are gone; what it had is recorded."""
    part = Emergency.of(journal.read(passage.incident).plan).steps[step]
    return passage.carry_out(step, lambda fence: emergencies.stop(_where(), part, fence))


@task(
    name="Start a part",
    tags={
        "runbook:emergency.start.database",
        "runbook:emergency.start.cache",
        "runbook:emergency.start.privacy-engine",
        "runbook:emergency.start.api",
        "runbook:emergency.start.workers",
    },
    **CHANGE,
)
def start_part(passage: door.Passage, step: str) -> dict[str, Any]:
    """One part, when those that it needs are ready, with the replicas that it had."""
    part = Emergency.of(journal.read(passage.incident).plan).steps[step]
    return passage.carry_out(step, lambda fence: emergencies.start(_where(), part, fence))


@task(name="Look whether all is as planned", tags={"runbook:emergency.verify"}, **READ)
def look_at_parts(incident: str) -> Effect:
    """Every part once more."""
    return emergencies.effect(_where(), Emergency.of(journal.read(incident).plan))
