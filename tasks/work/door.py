"""The one door through which the system under care is changed.

    plan -> dry run -> hold check -> approval of the plan's hash -> caps -> lock with fencing token
         -> act -> verify -> journal

`opened` checks everything before the first change and holds the lock; `Passage.carry_out` does one
step of the plan, once: a step whose fact is in the journal is not repeated, and a step that was
interrupted is called again, so every act looks at the state before it changes it. A step begins
under the journal's lock: a denial, a hold or a closing by hand that is recorded first keeps it from
beginning, and one that is recorded after it finds it begun.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.domain import holds
from tasks.domain.approval import Standing, standing
from tasks.domain.errors import Held, NotApproved, PlanStale, RunbookError, TooManyChanges
from tasks.domain.facts import Fact, FactKind
from tasks.domain.holds import Hold
from tasks.domain.incident import Incident, Stage
from tasks.settings import settings
from tasks.work import journal, locks, responder, shut_downs

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Passage:
    """The right to carry out one plan on one target, until the door closes."""

    incident: str
    plan_hash: str
    target: str
    lock: locks.Lock
    evidence_holds: Callable[[Hold], bool]
    others: tuple[locks.Lock, ...] = ()
    gives_back: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        """Every name by which what is changed is held and locked."""
        return (self.target, *(each.target for each in self.others))

    def fence(self) -> None:
        """Prove, before a change, that nobody took it over, under any of its names."""
        for each in (self.lock, *self.others):
            each.fence()

    def carry_out(
        self, step: str, act: Callable[[Callable[[], None]], tuple[str, Result]]
    ) -> Result:
        """Do one step of the plan and return its result; from the journal when it was done.

        `act` gets the fence, which it calls before each change, and returns one line for people
        and a JSON-able result. Raises Held when a hold was set since the door was opened, and
        NotApproved when a person denied the plan meanwhile: that is the emergency stop.
        """
        done = journal.read(self.incident).done(step)
        if done is not None:
            return dict(done["result"])
        self._begin(step)
        try:
            self.fence()
            summary, result = act(self.fence)
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

    def _begin(self, step: str) -> None:
        """Record that the step begins, if every rule still allows it."""
        begun = False
        while not begun:  # the store is asked without the lock; then nothing may be new
            passed = _check_holds(
                self.incident, self.targets, self.evidence_holds, gives_back=self.gives_back
            )
            begun = self._begin_under_lock(step, passed)

    def _begin_under_lock(self, step: str, passed: list[Hold]) -> bool:
        """False when a hold binds that is not among those whose evidence was looked at."""
        now = datetime.now(UTC)
        with responder.connection() as connection, connection.transaction():
            journal.lock(connection)
            facts = journal.facts_of_kinds_in(connection, holds.KINDS)
            binding = (
                _binding(facts, self.incident, each, now, gives_back=self.gives_back)
                for each in self.targets
            )
            if any(hold not in passed for bound in binding for hold in bound):
                return False
            state = journal.read_in(connection, self.incident)
            _check_approval(state, now, gives_back=self.gives_back)
            if state.plan_hash != self.plan_hash or not _is_planned(state, step):
                raise PlanStale(
                    f"expected step {step} in the approved plan {self.plan_hash[:12]}, found "
                    "another plan or none: read the incident"
                )
            started = {"step": step, "target": self.target, "fencing_token": self.lock.token}
            journal.append_in(connection, self.incident, FactKind.STEP_STARTED, started)
        return True


@contextmanager
def opened(
    incident: str,
    target: str,
    *,
    observe: Callable[[], Mapping[str, Any]],
    evidence_holds: Callable[[Hold], bool],
    wait_seconds: float = 0,
    also: Sequence[str] = (),
    gives_back: bool = False,
) -> Iterator[Passage]:
    """Check every rule, take the target's lock, and let the plan's steps be carried out.

    `also` are other names of what is changed, under which others hold and lock it. What was shut
    down on purpose is changed by nothing but its start. With `gives_back` the steps only undo what
    the plan has done: they go through after a denial too, since whoever denies a plan that was
    begun wants it undone; and only people's holds keep them from it, since what goes back by itself
    waits for no evidence.

    Another incident that is at work on the target, or another run of this one, is waited for, at
    most `wait_seconds`; what it changed is then found like every other change. The lock's lease is
    extended until the door closes, however long an act takes between two fences.

    `observe` reads again what the plan was made against; `evidence_holds` tells whether a hold's
    evidence is really there, locked and unaltered. Raises Held, NotApproved, PlanStale,
    TooManyChanges or LockLost; then nothing was changed.
    """
    lease = settings().changes.lease_seconds
    with ExitStack() as stack:
        lock, *others = [
            stack.enter_context(locks.held(each, incident, lease, wait_seconds))
            for each in (target, *also)
        ]
        now = datetime.now(UTC)
        state = journal.read(incident)  # under the lock: another run's steps are seen
        _check_holds(incident, (target, *also), evidence_holds, gives_back=gives_back)
        _check_shut_down(state, target)
        _check_approval(state, now, gives_back=gives_back)
        _check_caps(state, target, now)
        _check_observed(state, observe)
        yield Passage(
            incident=incident,
            plan_hash=state.plan_hash,
            target=target,
            lock=lock,
            evidence_holds=evidence_holds,
            others=tuple(others),
            gives_back=gives_back,
        )


def _check_holds(
    incident: str,
    targets: Sequence[str],
    evidence_holds: Callable[[Hold], bool],
    *,
    gives_back: bool,
) -> list[Hold]:
    """The holds that bind and are satisfied, each by evidence that was looked at now."""
    facts, now = journal.facts_of_kinds(holds.KINDS), datetime.now(UTC)
    satisfied = []
    for target in targets:
        binding = _binding(facts, incident, target, now, gives_back=gives_back)
        _check_binding(binding, target, evidence_holds)
        satisfied += binding
    return satisfied


def _binding(
    facts: Sequence[Fact], incident: str, target: str, now: datetime, *, gives_back: bool
) -> list[Hold]:
    """The holds that bind; whoever gives back is bound by people's alone."""
    found = holds.binding(facts, incident, target, now)
    return [hold for hold in found if hold.by_person or not gives_back]


def _check_binding(
    binding: Sequence[Hold], target: str, evidence_holds: Callable[[Hold], bool]
) -> None:
    for hold in binding:
        if hold.by_person:
            raise Held(
                f"{target} is held by {hold.by} in {hold.incident} ({hold.reason}): have the hold "
                "lifted, or break the glass"
            )
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


def _check_shut_down(state: Incident, target: str) -> None:
    """One person must not undo, by a remedy, what two have stopped."""
    if state.plan is not None:
        found = shut_downs.in_the_way(state.plan.procedure, (target,))
        if found is not None:
            raise Held(found.text)


def _check_approval(state: Incident, now: datetime, *, gives_back: bool) -> None:
    if state.stage is Stage.CLOSED:
        raise NotApproved(f"expected an open incident, found {state.id} closed: open another")
    found = standing(state, now)
    if gives_back and state.begun and found is Standing.DENIED:
        return
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
    policys = state.cooldown_minutes
    minutes = limits.cooldown_minutes if policys is None else policys
    cool = now - timedelta(minutes=minutes)
    for fact in journal.facts_of_kinds((FactKind.STEP_DONE,), since=cool):
        if fact.data.get("target") == target and fact.incident != state.id:
            raise TooManyChanges(
                f"{target} was changed by {fact.incident} less than {minutes:g} "
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
