"""What may be wrong, and what would mend it: the answer of every component's diagnosis.

A diagnosis is pure: typed readings in, causes out. It never reads the name of an alert or of a
scenario, so the same fault is found whatever rang the bell.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tasks.domain.errors import BadInput


class Confidence(StrEnum):
    """How sure a diagnosis is of a cause. Only what is PROVEN or LIKELY may be mended by us."""

    PROVEN = "proven"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class Remedial:
    """One change that would mend a cause.

    `step` is the id of the runbook's line (`flows/RUNBOOK.md`), `action` one sentence for people,
    `target` what is changed, `destroys` "nothing" when it is so. `arguments` are JSON-able and all
    that the act needs: what names the object, and what it must still look like before it is
    touched. Raises BadInput for arguments that are no JSON.
    """

    step: str
    action: str
    target: str
    destroys: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_json("arguments of a remedy", self.arguments)


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is wrong with one component, with the evidence and, if there is one, a remedy.

    `code` is stable, "<component's short name>.<what>", for example "db.lock-storm"; `summary` is
    one line for people; `evidence` is small JSON. Raises BadInput for evidence that is no JSON.
    """

    code: str
    component: str
    confidence: Confidence
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: Remedial | None = None

    def __post_init__(self) -> None:
        _check_json("evidence of a cause", self.evidence)

    def as_json(self) -> dict[str, Any]:
        """The cause as JSON-able values, for the journal."""
        remedy = self.remedy
        return {
            "code": self.code,
            "component": self.component,
            "confidence": self.confidence.value,
            "summary": self.summary,
            "evidence": dict(self.evidence),
            "remedy": remedy
            and {
                "step": remedy.step,
                "action": remedy.action,
                "target": remedy.target,
                "destroys": remedy.destroys,
                "arguments": dict(remedy.arguments),
            },
        }


_RANK = {confidence: rank for rank, confidence in enumerate(Confidence)}


def ranked(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """The surest first, then by code; causes of one code keep their order."""
    return tuple(sorted(causes, key=lambda cause: (_RANK[cause.confidence], cause.code)))


def _check_json(what: str, value: Mapping[str, Any]) -> None:
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"expected {what} as JSON, found {error}") from error
