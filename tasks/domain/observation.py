"""What a check saw. `Unknown` is an answer: one dead probe never ends a triage."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    """Verdict of one check."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """One check of one component.

    `step` is the id of the runbook's line (`flows/RUNBOOK.md`), `summary` one line for people,
    `evidence` small JSON-able facts behind it, `seconds` how long the look took.
    """

    step: str
    component: str
    health: Health
    summary: str
    seconds: float
    evidence: dict[str, Any] = field(default_factory=dict)
