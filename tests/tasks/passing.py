"""Going through the door in tests: a change that counts itself, and what a closed door means."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tasks.domain.errors import RunbookError
from tasks.domain.facts import FactKind
from tasks.domain.holds import Hold
from tasks.work import door, journal, locks
from tests.tasks.proposals import FIRST, OBSERVED, TARGET


@dataclass
class Change:
    """Something that changes the target, as often as it is called; fails when it is told to."""

    fails: BaseException | None = None
    fences: int = 0
    before: Callable[[], None] = lambda: None
    made: list[str] = field(default_factory=list)

    def __call__(self, fence: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        self.made.append("begun")
        self.before()
        for _ in range(self.fences):
            fence()
            self.made.append("changed")
        if self.fails is not None:
            raise self.fails
        return "changed it", {"times": len(self.made)}


def no_evidence(hold: Hold) -> bool:
    raise AssertionError(f"nobody should ask about {hold}")


@contextmanager
def through(
    incident: str,
    *,
    target: str = TARGET,
    observed: dict[str, Any] = OBSERVED,
    holds: Callable[[Hold], bool] = no_evidence,
    wait_seconds: float = 0,
) -> Iterator[door.Passage]:
    with door.opened(
        incident,
        target,
        observe=lambda: observed,
        evidence_holds=holds,
        wait_seconds=wait_seconds,
    ) as passage:
        yield passage


def pass_with(incident: str, change: Change, step: str = FIRST, **how: Any) -> dict[str, Any]:
    with through(incident, **how) as passage:
        return passage.carry_out(step, change)


def refused(error: type[RunbookError], says: str, incident: str, **how: Any) -> None:
    """The door stays closed, says why, and neither act nor journal know of a step."""
    change = Change()
    with pytest.raises(error, match=says):
        pass_with(incident, change, **how)
    assert change.made == []
    assert steps(incident) == []
    locks.take(TARGET, "the next one", 1)  # raises while the door still holds the target


def steps(incident: str) -> list[tuple[str, str]]:
    kinds = (FactKind.STEP_STARTED, FactKind.STEP_DONE, FactKind.STEP_FAILED)
    facts = journal.read(incident).facts
    return [(fact.kind.value, fact.data["step"]) for fact in facts if fact.kind in kinds]
