"""What a game day consists of: every scenario, and what tells a diagnosis from a lucky guess.

A scenario is played with its own alert, and with a generic HighErrorRate alert, which says that
users see errors and not why; some at once, two and two; and controls, in which nothing is broken
and nothing may be changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from deployments.lab.gameday.controls import CONTROLS
from deployments.lab.scenarios import SCENARIOS, Scenario
from deployments.lab.stack import Lab
from tasks.domain.errors import BadInput

ROUND_SECONDS = 30.0
"""From the alert to the proof that the symptom is gone, without waiting for approval."""

PAIRS = (("lock-storm", "redis-down"), ("bad-release", "queue-backlog"))
"""Their alerts are about different components: neither explains the other."""

OLDER = frozenset(
    {
        "tampered-records",
        "tampered-and-backed-up",
        "table-dropped",
        "corrupt-backup",
        "missing-wal",
        "disk-full",
        "segments-deleted",
        "bucket-versions-deleted",
    }
)
"""Damage to the audit trail and its backups: a restore may take longer, and is never guessed at."""

ASKED_FOR = frozenset({"missing-wal", "disk-full"})
"""In which a person asks for a restore: that is an incident of its own, whatever the alert was."""

OF_PEOPLE = frozenset(
    {
        "breach-credential-stuffing",
        "breach-data-exfiltration",
        "insider-tampering",
        "privacy-annotator-exposed",
        "dpo-unreachable",
        "chat-down",
        "evidence-store-down",
    }
)
"""In which people are told, or judge: no user sees an error, and what took how long they check."""

_GENERIC_LABELS = {
    "alertname": "HighErrorRate",
    "severity": "high",
    "category": "operational",
    "job": "rlhf-audit-trail-app",
}
_GENERIC = {"summary": "More than 5 % of the requests fail"}


class Kind(StrEnum):
    """Of a round."""

    SCENARIO = "scenario"
    GENERIC = "generic"
    PAIR = "pair"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Round:
    """Played in a lab of its own. `seconds`: what recovery may take; None: as long as it needs.

    Without scenarios it is a control: `disturb` happens instead of damage and sends `alerts`.
    """

    name: str
    kind: Kind
    scenarios: tuple[Scenario, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    disturb: Callable[[Lab], None] = lambda _: None
    alerts: tuple[str, ...] = ()
    alerting: bool = True
    seconds: float | None = ROUND_SECONDS


def every_round() -> tuple[Round, ...]:
    """All of them, in the order in which they are played."""
    return (*_plain(), *_generic(), *_pairs(), *_controls())


def chosen(kinds: tuple[str, ...], only: tuple[str, ...]) -> tuple[Round, ...]:
    """Those of these kinds (none: all) whose names fit a pattern (none: all). Raises BadInput."""
    found = tuple(
        each
        for each in every_round()
        if (not kinds or each.kind in kinds)
        and (not only or any(fnmatchcase(each.name, pattern) for pattern in only))
    )
    if not found:
        raise BadInput(f"expected rounds that fit {', '.join((*kinds, *only))}, found none: --list")
    return found


def _plain() -> list[Round]:
    return [
        Round(
            name,
            Kind.SCENARIO,
            (scenario,),
            scenario.options,
            alerting=not scenario.damage_stays,  # else monitoring sees it, and it is mended
            seconds=_seconds(name),
        )
        for name, scenario in SCENARIOS.items()
    ]


def _seconds(name: str) -> float | None:
    return None if name in OLDER | OF_PEOPLE else ROUND_SECONDS


def _generic() -> list[Round]:
    """Nobody monitors but us: the scenario's own alert would give it away."""
    return [
        Round(
            f"{name}/errors",
            Kind.GENERIC,
            (_with_generic_alert(scenario),),
            {**scenario.options, "cluster": True},
            alerting=False,
            seconds=_seconds(name),
        )
        for name, scenario in SCENARIOS.items()
        if name not in ASKED_FOR | OF_PEOPLE
    ]


def _with_generic_alert(scenario: Scenario) -> Scenario:
    fault = replace(scenario.fault, labels=_GENERIC_LABELS, annotations=_GENERIC, monitored=False)
    return replace(scenario, fault=fault)


def _pairs() -> list[Round]:
    return [
        Round(
            " + ".join(names),
            Kind.PAIR,
            tuple(SCENARIOS[name] for name in names),
            {"cluster": True},
            seconds=2 * ROUND_SECONDS,
        )
        for names in PAIRS
    ]


def _controls() -> list[Round]:
    return [
        Round(each.name, Kind.CONTROL, (), {"cluster": True}, each.disturb, (each.alert,))
        for each in CONTROLS
    ]
