"""Emergency shutdown and start-up in order: what is stopped, what is started again, and to what.

Whoever needs another part stops before it and starts after it: workers, API, privacy engine, Redis,
PostgreSQL, and back. So the API has ended its writes before the database goes, and no row that it
acknowledged is lost. What each part had is in the journal, and the start-up brings back exactly
that, also after a shutdown that failed half way.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.domain.change_wish import Wanted
from tasks.domain.errors import BadInput, PlanStale
from tasks.domain.facts import Fact, FactKind
from tasks.domain.holds import workload_target
from tasks.domain.json_fields import Fields
from tasks.domain.plan import NOTHING, Plan, PlanStep
from tasks.domain.workloads import Kind

PROCEDURE = "emergency"
APPROVERS = 2

KINDS = (FactKind.PLAN_PROPOSED, FactKind.STEP_STARTED, FactKind.STEP_DONE)
"""The facts that say what is shut down; `shut_down` reads them."""

_MOST = 10


class Part(StrEnum):
    """Of the system, in the order in which they stop."""

    WORKERS = "workers"
    API = "api"
    PRIVACY_ENGINE = "privacy-engine"
    CACHE = "cache"
    DATABASE = "database"


STOP = {
    Part.WORKERS: "emergency.stop.workers",
    Part.API: "emergency.stop.api",
    Part.PRIVACY_ENGINE: "emergency.stop.privacy-engine",
    Part.CACHE: "emergency.stop.cache",
    Part.DATABASE: "emergency.stop.database",
}
START = {
    Part.DATABASE: "emergency.start.database",
    Part.CACHE: "emergency.start.cache",
    Part.PRIVACY_ENGINE: "emergency.start.privacy-engine",
    Part.API: "emergency.start.api",
    Part.WORKERS: "emergency.start.workers",
}
_DESTROYS = {
    Part.WORKERS: "what workers have in hand, if it takes longer than their grace period",
    Part.API: "requests under way that take longer than the pods' grace period",
    Part.PRIVACY_ENGINE: "a release under way that takes longer than the grace period",
    Part.CACHE: "what Redis has not saved to a disk: the queue, where it keeps none",
    Part.DATABASE: NOTHING,
}
_NO_SERVICE = "no service until it is started again; what Redis has not saved to a disk"


@dataclass(frozen=True, slots=True)
class Stopped:
    """A part's workload and the replicas that it had, or gets again."""

    part: Part
    kind: Kind
    name: str
    uid: str
    replicas: int

    @property
    def target(self) -> str:
        """As plans, holds and locks name it."""
        return workload_target(self.kind, self.name)

    def as_json(self) -> dict[str, Any]:
        """For a plan's observed state and for a step's result."""
        return {
            "part": self.part.value,
            "kind": self.kind.value,
            "name": self.name,
            "uid": self.uid,
            "replicas": self.replicas,
        }

    @classmethod
    def of(cls, found: Fields) -> "Stopped":
        """As written by `as_json`. Raises BadInput."""
        part, kind = found.exact("part"), found.exact("kind")
        if part not in set(Part) or kind not in set(Kind):
            raise BadInput(f"expected a part and a workload, found {part[:40]!a} and {kind[:40]!a}")
        return cls(
            Part(part),
            Kind(kind),
            found.exact("name"),
            found.exact("uid"),
            found.number("replicas"),
        )


@dataclass(frozen=True, slots=True)
class ShutDown:
    """A part that stands still on purpose, or whose stop has at least begun.

    `incident` has stopped it. `newest_record`: of the API, the newest one once its writes had
    ended; None when that is not known.
    """

    stopped: Stopped
    incident: str
    newest_record: int | None = None

    @property
    def text(self) -> str:
        """Why nothing else may change it."""
        return (
            f"{self.stopped.target} was shut down on purpose by {self.incident}: it is started "
            "with `runbook emergency start`, which two people approve"
        )


@dataclass(frozen=True, slots=True)
class Emergency:
    """The planned change, part by part in its order."""

    wanted: Wanted
    parts: tuple[Stopped, ...]

    @classmethod
    def of(cls, plan: Plan | None) -> "Emergency":
        """What an approved plan does. Raises PlanStale without such a plan, BadInput."""
        if plan is None or plan.procedure != PROCEDURE:
            raise PlanStale("expected an approved emergency plan, found none: make a new one")
        found = Fields.of("emergency plan", dict(plan.observed))
        wanted = found.exact("wanted")
        if wanted not in {Wanted.SHUT_DOWN, Wanted.START}:
            raise BadInput(f"expected a shutdown or a start, found {wanted[:40]!a}")
        parts = tuple(Stopped.of(each) for each in found.each("parts", _MOST))
        return cls(Wanted(wanted), parts)

    @property
    def steps(self) -> Mapping[str, Stopped]:
        """Each step's id and its part, in their order."""
        ids = STOP if self.wanted is Wanted.SHUT_DOWN else START
        by_part = {each.part: each for each in self.parts}
        return {step: by_part[part] for part, step in ids.items() if part in by_part}

    def observed(self) -> dict[str, Any]:
        """What the plan is made against."""
        return {"wanted": self.wanted.value, "parts": [each.as_json() for each in self.parts]}


def plan_emergency(
    incident: str, emergency: Emergency, reason: str, expires_at: datetime, at_stake: str = ""
) -> Plan:
    """The plan, which two people must approve. Raises BadInput when there is nothing to do.

    `at_stake`: what Redis holds now that a stop would lose, in words.
    """
    if not emergency.parts:
        raise BadInput("expected a part to stop or to start, found none")
    is_stop = emergency.wanted is Wanted.SHUT_DOWN
    names = ", ".join(each.part.value for each in emergency.steps.values())
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"{'shut down' if is_stop else 'start'}, in this order: {names}; {reason}",
        steps=tuple(_step(step, part, is_stop=is_stop) for step, part in emergency.steps.items()),
        observed=emergency.observed(),
        will_be_lost=": ".join(filter(None, (_NO_SERVICE, at_stake))) if is_stop else NOTHING,
        expires_at=expires_at,
        approvers_needed=APPROVERS,
    )


def shut_down(facts: Iterable[Fact]) -> tuple[ShutDown, ...]:
    """What was shut down and not started since, of all incidents, in the order of a start-up.

    `facts` are all of KINDS in the journal, in order. A stop that has begun counts, with the
    replicas of its plan: it may have failed when the pods were on their way out already. A start
    that has only begun changes nothing.
    """
    stops = {step: part for part, step in STOP.items()}
    starts = {step: part for part, step in START.items()}
    planned: dict[str, Mapping[str, Stopped]] = {}
    standing: dict[Part, ShutDown] = {}
    for fact in facts:
        if fact.kind is FactKind.PLAN_PROPOSED:
            planned[fact.incident] = _planned_stops(fact)
            continue
        step = str(fact.data.get("step", ""))
        if step in stops and fact.kind is FactKind.STEP_STARTED:
            stopped = planned.get(fact.incident, {}).get(step)
            if stopped is not None:
                standing[stops[step]] = ShutDown(stopped, fact.incident)
        elif step in stops:
            with suppress(BadInput):  # one that does not say what it had: its plan does
                standing[stops[step]] = _shut_down(fact)
        elif step in starts and fact.kind is FactKind.STEP_DONE:
            standing.pop(starts[step], None)
    return tuple(standing[part] for part in START if part in standing)


def _planned_stops(fact: Fact) -> Mapping[str, Stopped]:
    """Each step's part of an emergency plan; none of another plan."""
    with suppress(BadInput, PlanStale):
        emergency = Emergency.of(Plan.from_json(fact.data.get("plan")))
        if emergency.wanted is Wanted.SHUT_DOWN:
            return emergency.steps
    return {}


def _shut_down(fact: Fact) -> ShutDown:
    result = Fields.of("result of a stop", fact.data.get("result"))
    newest = result.number("newest_record") if result.has("newest_record") else None
    return ShutDown(Stopped.of(result.within("stopped")), fact.incident, newest)


def order(parts: Sequence[Stopped], wanted: Wanted) -> tuple[Stopped, ...]:
    """In the order in which they stop, or start."""
    places = list(STOP if wanted is Wanted.SHUT_DOWN else START)
    return tuple(sorted(parts, key=lambda each: places.index(each.part)))


def _step(step: str, part: Stopped, *, is_stop: bool) -> PlanStep:
    if is_stop:
        action = f"stop {part.target}, {part.replicas} replicas, and wait until its pods are gone"
        if part.part is Part.API:
            action += " and none of its writers is connected to the database"
        return PlanStep(step, action, part.target, _DESTROYS[part.part])
    action = f"start {part.target} with the {part.replicas} replicas that it had"
    if part.part is Part.DATABASE:
        action += ", and compare its newest record with the one at the stop"
    return PlanStep(step, f"{action}; wait until they are ready", part.target, NOTHING)
