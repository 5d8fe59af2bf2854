"""A plan: the exact steps to mend something, bound together by one hash.

The hash covers everything that a person agrees to: targets, steps, what each destroys and the
state that was observed. An approval names the hash; a plan that differs in one letter is another.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tasks.domain.errors import BadInput


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
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Plan":
        """Rebuild a journaled plan. Raises BadInput when it is not one."""
        try:
            return cls(
                incident=value["incident"],
                procedure=value["procedure"],
                summary=value["summary"],
                steps=tuple(PlanStep(**step) for step in value["steps"]),
                observed=value["observed"],
                will_be_lost=value["will_be_lost"],
                expires_at=datetime.fromisoformat(value["expires_at"]),
                approvers_needed=value["approvers_needed"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"expected a journaled plan, found {type(error).__name__}: {error}"
            ) from error
