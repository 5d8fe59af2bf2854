"""One check: look, time it, turn what happened into an observation, journal it.

This is the one place where expected errors of a system become an answer: a component that does
not answer is Failed, one that refuses us or talks nonsense is Unknown, with the reason.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tasks.clients.errors import ClientError, NotFound, Transient
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.observation import Health, Observation
from tasks.work import journal
from tasks.work.at_once import within

GRACE = 0.2
"""Seconds for a probe to say itself what did not answer in time: it knows more than we do."""

_SUMMARY_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe saw."""

    health: Health
    summary: str
    evidence: dict[str, Any] = field(default_factory=dict)


def observe(
    incident: str,
    step: str,
    component: str,
    probe: Callable[[], Seen],
    seconds: float | None = None,
) -> Observation:
    """Run `probe` and journal what it saw: the first time, for one incident, is what counts.

    `seconds` is the probe's own time-out; shortly after it nobody waits any more, wherever the
    probe stands still.
    """
    began = time.monotonic()
    try:
        seen = probe() if seconds is None else within(seconds + GRACE, probe)
    except (Transient, NotFound) as error:
        seen = Seen(Health.FAILED, str(error))
    except ClientError as error:
        seen = Seen(Health.UNKNOWN, str(error))
    observation = Observation(
        step=step,
        component=component,
        health=seen.health,
        summary=seen.summary[:_SUMMARY_LIMIT],
        seconds=round(time.monotonic() - began, 4),
        evidence=seen.evidence,
    )
    try:
        _journal(incident, observation)
    except BadInput as error:  # a broken system answers NaN, or a megabyte
        observation = _without_evidence(observation, error)
        _journal(incident, observation)
    return observation


def _without_evidence(observation: Observation, error: BadInput) -> Observation:
    """What is left when the evidence cannot be kept: nobody can call that Healthy."""
    healthy = observation.health is Health.HEALTHY
    return replace(
        observation,
        health=Health.UNKNOWN if healthy else observation.health,
        summary=f"{observation.summary}; its evidence cannot be kept: {error}"[:_SUMMARY_LIMIT],
        evidence={},
    )


def _journal(incident: str, observation: Observation) -> None:
    data = asdict(observation) | {"health": observation.health.value}
    journal.append(incident, FactKind.CHECK_OBSERVED, data, key=f"check:{observation.step}")
