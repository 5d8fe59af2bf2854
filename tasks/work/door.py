"""The one door through which the system under care is changed.

    plan -> dry run -> hold check -> approval of the plan's hash -> caps -> lock with fencing token
         -> act -> verify -> journal

`opened` checks everything before the first change and holds the lock; `Passage.carry_out` does one
step of the plan, once: a step whose fact is in the journal is not repeated, and a step that was
interrupted is called again, so every act looks at the state before it changes it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain.approval import Standing, standing
from tasks.domain.errors import Held, NotApproved, PlanStale, RunbookError, TooManyChanges
from tasks.domain.facts import FactKind
from tasks.domain.holds import Hold, covers, standing_holds
from tasks.domain.incident import Incident
from tasks.settings import settings
from tasks.work import journal, locks

HOLD_KINDS = (FactKind.HOLD_SET, FactKind.HOLD_LIFTED, FactKind.EVIDENCE_SEALED)

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Passage:
    """The right to carry out one plan on one target, until the door closes."""

    incident: str
    plan_hash: str
    target: str
    lock: locks.Lock
    evidence_holds: Callable[[Hold], bool]

    def carry_out(
        self, step: str, act: Callable[[Callable[[], None]], tuple[str, Result]]
    ) -> Result:
        """Do one step of the plan and return its result; from the journal when it was done.

        `act` gets the fence, which it calls before each change, and returns one line for people
        and a JSON-able result. Raises Held when a hold was set since the door was opened, and
        NotApproved when a person denied the plan meanwhile: that is the emergency stop.
        """
        state = journal.read(self.incident)
        done = state.done(step)
        if done is not None:
            return dict(done["result"])
        _check_holds(self.target, self.evidence_holds)
        _check_approval(state, datetime.now(UTC))
        if state.plan_hash != self.plan_hash or not _is_planned(state, step):
            raise PlanStale(
                f"expected step {step} in the approved plan {self.plan_hash[:12]}, found another "
                "plan or none: read the incident"
            )
        started = {"step": step, "target": self.target, "fencing_token": self.lock.token}
        journal.append(self.incident, FactKind.STEP_STARTED, started)
        try:
            self.lock.fence()
            summary, result = act(self.lock.fence)
        except RunbookError as error:
            failure = {"step": step, "target": self.target, "error": str(error)[:2000]}
            journal.append(self.incident, FactKind.STEP_FAILED, failure)
            raise
        journal.append(
            self.incident,
            FactKind.STEP_DONE,
            {"step": step, "target": self.target, "summary": summary, "result": result},
            key=f"done:{self.plan_hash}:{step}",
        )
        return result


@contextmanager
def opened(
    incident: str,
    target: str,
    *,
    observe: Callable[[], Mapping[str, Any]],
    evidence_holds: Callable[[Hold], bool],
) -> Iterator[Passage]:
    """Check every rule, take the target's lock, and let the plan's steps be carried out.

    `observe` reads again what the plan was made against; `evidence_holds` tells whether a hold's
    evidence is really there, locked and unaltered. Raises Held, NotApproved, PlanStale,
    TooManyChanges or LockLost; then nothing was changed.
    """
    lock = locks.take(target, holder=incident, lease_seconds=settings().changes.lease_seconds)
    try:
        now = datetime.now(UTC)
        state = journal.read(incident)  # under the lock: another run's steps are seen
        _check_holds(target, evidence_holds)
        _check_approval(state, now)
        _check_caps(state, target, now)
        _check_observed(state, observe)
        yield Passage(
            incident=incident,
            plan_hash=state.plan_hash,
            target=target,
            lock=lock,
            evidence_holds=evidence_holds,
        )
    finally:
        lock.release()


def _check_holds(target: str, evidence_holds: Callable[[Hold], bool]) -> None:
    for hold in standing_holds(journal.facts_of_kinds(HOLD_KINDS)):
        if not covers(hold.scope, target):
            continue
        if not hold.sealed:
            raise Held(
                f"{target} is held by {hold.incident} ({hold.reason}) and its evidence is not "
                "sealed: seal it, then try again"
            )
        if not evidence_holds(hold):
            raise Held(
                f"{target} is held by {hold.incident} and its sealed evidence is missing, "
                "unlocked or altered in the store: nothing is changed until a person has looked"
            )


def _check_approval(state: Incident, now: datetime) -> None:
    found = standing(state, now)
    if found is not Standing.APPROVED:
        raise NotApproved(f"expected an approved plan for {state.id}, found: {found}")


def _is_planned(state: Incident, step: str) -> bool:
    return state.plan is not None and step in {planned.step for planned in state.plan.steps}


def _check_caps(state: Incident, target: str, now: datetime) -> None:
    limits = settings().changes
    hour_ago = now - timedelta(hours=1)
    begun = journal.facts_of_kinds((FactKind.STEP_STARTED,), since=hour_ago)
    others = [fact for fact in begun if fact.data.get("target") == target]
    if len(others) >= limits.per_hour and not state.steps:
        raise TooManyChanges(
            f"expected fewer than {limits.per_hour} changes of {target} in an hour, found "
            f"{len(others)}: something repeats; a person must look"
        )
    cool = now - timedelta(minutes=limits.cooldown_minutes)
    for fact in journal.facts_of_kinds((FactKind.STEP_DONE,), since=cool):
        if fact.data.get("target") == target and fact.incident != state.id:
            raise TooManyChanges(
                f"{target} was changed by {fact.incident} less than {limits.cooldown_minutes} "
                "minutes ago: wait, and see whether that helped"
            )


def _check_observed(state: Incident, observe: Callable[[], Mapping[str, Any]]) -> None:
    if state.plan is None or state.steps:
        return
    seen = json.loads(json.dumps(dict(observe())))  # the plan's went through JSON as well
    if seen != dict(state.plan.observed):
        changed = sorted(
            name
            for name in seen.keys() | state.plan.observed.keys()
            if seen.get(name) != state.plan.observed.get(name)
        )
        raise PlanStale(
            f"expected the state that the plan was made against, found changes in {changed}: "
            "make a new plan"
        )
