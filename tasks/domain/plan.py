"""A plan: the exact steps to mend something, bound together by one hash.

The hash covers everything that a person agrees to: targets, steps, what each destroys and the
state that was observed. An approval names the hash; a plan that differs in one letter is another.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from tasks.domain.errors import BadInput

NOTHING = "nothing"
"""What a step says that destroys nothing."""

_Json = TypeVar("_Json", str, int, list[Any], dict[str, Any])


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One change. `step` is the runbook line's id; `destroys` says "nothing" when it is so."""

    step: str
    action: str
    target: str
    destroys: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done to mend `incident`, planned against `observed` (small JSON-able facts)."""

    incident: str
    procedure: str
    summary: str
    steps: tuple[PlanStep, ...]
    observed: Mapping[str, Any]
    will_be_lost: str
    expires_at: datetime
    approvers_needed: int = 1

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON-able values; the input of `hash` and of `Plan.from_json`."""
        return {
            "approvers_needed": self.approvers_needed,
            "expires_at": self.expires_at.isoformat(),
            "incident": self.incident,
            "observed": dict(self.observed),
            "procedure": self.procedure,
            "steps": [asdict(step) for step in self.steps],
            "summary": self.summary,
            "will_be_lost": self.will_be_lost,
        }

    @property
    def destroys_nothing(self) -> bool:
        """Whether the plan says, word for word, that no step destroys and nothing will be lost."""
        said = {step.destroys for step in self.steps} | {self.will_be_lost}
        return bool(self.steps) and said == {NOTHING}

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_json(cls, value: object) -> "Plan":
        """Rebuild a journaled plan, every field of its own type. Raises BadInput otherwise.

        A plan that needs nobody's yes, or whose expiry has no offset, is none: both would let a
        change through that no person has agreed to.
        """
        plan = _field({"plan": value}, "plan", dict)
        expires_at = _instant(_field(plan, "expires_at", str))
        needed = _field(plan, "approvers_needed", int)
        if needed < 1:
            raise BadInput(f"expected a plan that at least one person approves, found {needed}")
        return cls(
            incident=_field(plan, "incident", str),
            procedure=_field(plan, "procedure", str),
            summary=_field(plan, "summary", str),
            steps=tuple(_step(each) for each in _field(plan, "steps", list)),
            observed=_field(plan, "observed", dict),
            will_be_lost=_field(plan, "will_be_lost", str),
            expires_at=expires_at,
            approvers_needed=needed,
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with its dry run: what looking without touching has shown, line by line."""

    plan: Plan
    dry_run: list[str]


def _step(value: object) -> PlanStep:
    step = _field({"step of a plan": value}, "step of a plan", dict)
    return PlanStep(
        step=_field(step, "step", str),
        action=_field(step, "action", str),
        target=_field(step, "target", str),
        destroys=_field(step, "destroys", str),
    )


def _field(plan: Mapping[str, Any], key: str, kind: type[_Json]) -> _Json:
    found = plan.get(key)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise BadInput(
            f"expected {key} of a journaled plan as {kind.__name__}, found {type(found).__name__}"
        )
    return found


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"expected an ISO 8601 instant as expiry, found {text[:40]!r}") from error
    if at.tzinfo is None:
        raise BadInput(f"expected an expiry with its offset, found {text[:40]!r}")
    return at
