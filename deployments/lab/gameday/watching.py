"""Waiting for the responses of a round, approving what they ask for, until each of them is over."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from deployments.gateway.advance import WAITS
from deployments.lab import watching
from tasks.domain.facts import Fact, FactKind
from tasks.work import journal

_QUIET_SECONDS = 4.0
"""After the last response was over: another run would have begun by now."""


@dataclass
class Course:
    """What the incidents of a round have come to, by the facts so far."""

    first: dict[str, str] = field(default_factory=dict)
    """The incident that an alert of this name has opened or joined first."""
    over: dict[str, bool] = field(default_factory=dict)
    """By incident: whether its last run has come to an end."""

    def add(self, fact: Fact) -> None:
        """One more fact."""
        if fact.kind is FactKind.ALERT_RECEIVED:
            self.first.setdefault(str(fact.data["name"]), fact.incident)
            self.over.setdefault(fact.incident, False)
        elif fact.kind is FactKind.RUN_STARTED:
            self.over[fact.incident] = False
        elif fact.kind is FactKind.REPORTED or _is_left_to_people(fact):
            self.over[fact.incident] = True

    def is_over(self, alerts: Collection[str]) -> bool:
        """Whether there is an incident for each of the alerts, and all incidents are over."""
        return all(name in self.first for name in alerts) and all(self.over.values())


def until_over(
    alerts: Collection[str],
    seconds: float,
    on_fact: Mapping[str, Callable[[Fact], None]],
    approve: Callable[[Fact], None],
    show: Callable[[Fact], None],
) -> Course:
    """Watch all incidents; `on_fact` is by the alert that a fact's incident began with."""
    course = Course()
    deadline = time.monotonic() + seconds
    quiet_since: float | None = None
    seen = -1
    while time.monotonic() < deadline:
        facts = journal.facts_after(seen)
        for fact in facts:
            seen = fact.seq
            course.add(fact)
            show(fact)
            for name, act in on_fact.items():
                if course.first.get(name) == fact.incident:
                    act(fact)
            if fact.kind is FactKind.PLAN_PROPOSED:
                approve(fact)
        if not course.is_over(alerts):
            quiet_since = None
        elif quiet_since is None or facts:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > _QUIET_SECONDS:
            break
        time.sleep(watching.POLL_SECONDS)
    return course


def _is_left_to_people(fact: Fact) -> bool:
    """A run that has said what a person must do, or that has failed."""
    said = str(fact.data.get("text", "")) if fact.kind is FactKind.NOTE else ""
    return "ended_plan" in fact.data or said.endswith(WAITS)
