"""Severity by the runbook's "Incident Classification", as rules that name themselves.

The served system's alerts say critical, high or warning; the runbook says P0 to P3. The label is
a hint of urgency, never the level: the level comes from what the alert is about and from what the
checks saw. It rises as facts come in and falls only by a person.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tasks.domain.alert import Alert
from tasks.domain.observation import Health, Observation


class Severity(StrEnum):
    """P0 critical (immediate), P1 high (1 h), P2 medium (4 h), P3 low (24 h)."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    def worst(self, other: "Severity") -> "Severity":
        """The more urgent of the two."""
        return min(self, other)

    @property
    def rank(self) -> int:
        """0 for P0 to 3 for P3: the smaller, the more urgent."""
        return int(self.value[1])


SLOWER_SHARE = 0.5
"""Degradation from which it is P1. The runbook leaves exactly 50 % open; it is the urgent one."""

ERROR_SHARE = 0.05
"""Share of failing requests from which several users are taken to be hit: that of the served
system's own alert HighErrorRate."""

RESPONSE_MINUTES = {Severity.P0: 0, Severity.P1: 60, Severity.P2: 240, Severity.P3: 1440}


@dataclass(frozen=True, slots=True)
class Assessment:
    """A severity with the rule that fired, by its id in flows/RUNBOOK.md, and why in words."""

    severity: Severity
    rule: str
    reason: str


_CATEGORY_RULES: dict[str, Assessment] = {
    "audit": Assessment(
        Severity.P1, "class.p1.audit-integrity", "an alert about the integrity of the audit trail"
    ),
    "privacy": Assessment(
        Severity.P0, "class.p0.privacy-violation", "an alert about a privacy violation"
    ),
    "compliance": Assessment(
        Severity.P0, "class.p0.compliance-failure", "an alert about compliance"
    ),
    "security": Assessment(
        Severity.P1, "class.p1.authentication", "an alert about authentication or access"
    ),
    "performance": Assessment(
        Severity.P2, "class.p2.performance", "an alert about performance, extent unknown"
    ),
    "operational": Assessment(
        Severity.P1, "class.p1.api-errors", "an alert about errors that affect users"
    ),
    "infrastructure": Assessment(
        Severity.P2, "class.p2.component", "an alert about a single component"
    ),
}

IMPACT = "triage.impact"
"""The step whose evidence says how many requests fail and how much slower answers are."""

_DATA_EXFILTRATION = "PotentialDataExfiltration"


def assess_alert(alert: Alert) -> Assessment:
    """What the alert alone justifies, before anything was checked."""
    return _assess_labels(alert.labels)


def assess_routed(alert: Alert, severity: Severity | None, route: str) -> Assessment:
    """What the alert alone justifies; the routing policy's word counts where it says one."""
    if severity is None:
        return assess_alert(alert)
    return Assessment(severity, "class.severity", f"the routing policy's route {route} says so")


def assess_alerts(journaled: Iterable[Mapping[str, Any]]) -> Assessment | None:
    """The worst that an incident's journaled alerts justify; None when no alert brought it.

    An alert whose labels cannot be read counts as one without labels, not as none.
    """
    found = [_assess_journaled(data) for data in journaled]
    return min(found, key=lambda assessed: assessed.severity) if found else None


def _assess_journaled(data: Mapping[str, Any]) -> Assessment:
    """As it was assessed at the intake, by the policy of that moment; by its labels otherwise."""
    severity, rule, reason = (data.get(name) for name in ("severity", "rule", "reason"))
    if severity in set(Severity) and isinstance(rule, str) and isinstance(reason, str):
        return Assessment(Severity(severity), rule, reason)
    return _assess_labels(_labels(data))


def _labels(data: Mapping[str, Any]) -> dict[str, str]:
    labels = data.get("labels")
    pairs = labels.items() if isinstance(labels, Mapping) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}


def _assess_labels(labels: Mapping[str, str]) -> Assessment:
    if labels.get("alertname") == _DATA_EXFILTRATION:
        return Assessment(
            Severity.P0, "class.p0.security-breach", "an alert about a possible exfiltration"
        )
    category = labels.get("category", "")
    rule = _CATEGORY_RULES.get(category)
    if rule is None:
        return Assessment(
            Severity.P2, "class.p2.component", f"category {category!r} has no rule of its own"
        )
    if rule.severity is Severity.P0 and labels.get("severity") != "critical":
        # A warning about a budget is not yet a violation, and the runbook has no line for it.
        return Assessment(Severity.P1, "class.severity", rule.reason + ", not marked critical")
    return rule


NOTHING_MORE = Assessment(
    Severity.P2, "class.p2.component", "nothing that is known justifies another level"
)
"""What an incident gets when neither its alerts nor its checks say anything."""


def worst(*found: Assessment | None) -> Assessment:
    """The most urgent of what was found; the first of equals."""
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.severity) if known else NOTHING_MORE


def assess_checks(observations: Sequence[Observation]) -> Assessment | None:
    """What the first checks justify; None when they justify nothing above the alert."""
    failed = {seen.component for seen in observations if seen.health is Health.FAILED}
    looked = {seen.component for seen in observations if seen.health is not Health.UNKNOWN}
    serving = {"api", "database"}
    if serving <= failed and len(looked) >= len(serving):
        return Assessment(
            Severity.P0, "class.p0.outage", f"API and database both failed: {sorted(failed)}"
        )
    if failed & serving:
        return Assessment(
            Severity.P1, "class.p1.api-errors", f"users are affected: {sorted(failed)} failed"
        )
    if failed:
        return Assessment(
            Severity.P2, "class.p2.component", f"failed, with a workaround: {sorted(failed)}"
        )
    return None


def assess_performance(slower: float) -> Assessment | None:
    """What a change of the latency against its baseline justifies: 0.5 is 50 % slower.

    None when nothing has become slower, or when it is no number.
    """
    if not math.isfinite(slower) or slower <= 0:
        return None
    if slower >= SLOWER_SHARE:
        return Assessment(
            Severity.P1, "class.p1.performance", f"answers take {slower:.0%} longer than before"
        )
    return Assessment(
        Severity.P2, "class.p2.performance", f"answers take {slower:.0%} longer than before"
    )


def assess_errors(share: float, users: float | None = None) -> Assessment | None:
    """What a share of failing requests justifies; `users` are those affected, where known."""
    if not math.isfinite(share) or share < ERROR_SHARE or (users is not None and users <= 1):
        return None
    return Assessment(
        Severity.P1, "class.p1.api-errors", f"{share:.0%} of the requests fail: several users"
    )


def assess_impact(observations: Iterable[Observation]) -> Assessment | None:
    """What the estimate of user impact justifies, by its own figures; None without one."""
    found = []
    for seen in observations:
        if seen.step == IMPACT:
            slower, share = _number(seen, "slower"), _number(seen, "error_share")
            found.append(None if slower is None else assess_performance(slower))
            found.append(
                None if share is None else assess_errors(share, _number(seen, "users_affected"))
            )
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.severity) if known else None


def _number(seen: Observation, name: str) -> float | None:
    found = seen.evidence.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def assess_alteration(altered: int, missing: int) -> Assessment | None:
    """Proven alteration or loss of audit records is data corruption: P0."""
    if not altered and not missing:
        return None
    return Assessment(
        Severity.P0,
        "class.p0.data-corruption",
        f"proven: {altered} audit records altered or inserted, {missing} missing",
    )
