"""What a named person has decided about a breach of personal data: the risk, and why.

The score recommends; a person decides. Nothing here is decided by the runbook, and "Low" is no
decision.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tasks.domain.circumstances import Circumstances
from tasks.domain.enisa import Band, Severity
from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Incident
from tasks.domain.journaled import items, mapping, moment
from tasks.domain.privacy_scope import Scope, severity_of
from tasks.domain.regimes import Regimes

_CASES_LIMIT = 10
_SKEW = timedelta(minutes=5)
_CASE = re.compile(r"[a-z0-9-]{1,60}")


class Risk(StrEnum):
    """The risk to the people concerned, in the words of GDPR Art. 33 and 34."""

    UNLIKELY = "unlikely"
    LIKELY = "likely"
    HIGH = "high"


_RECOMMENDED: Mapping[Band, Risk] = {
    Band.LOW: Risk.UNLIKELY,
    Band.MEDIUM: Risk.LIKELY,
    Band.HIGH: Risk.HIGH,
    Band.VERY_HIGH: Risk.HIGH,
}


def recommended(severity: Severity | None) -> Risk:
    """What the score suggests; without one the graver word, because nobody knows."""
    return Risk.HIGH if severity is None else _RECOMMENDED[severity.band]


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's word. `aware_at`: when the legal clocks begin; None: with the suspicion."""

    risk: Risk
    reason: str
    by: str
    at: datetime
    aware_at: datetime | None
    cases: tuple[str, ...]
    circumstances: Circumstances | None


def decision_of(incident: Incident) -> Decision | None:
    """The newest one that can be read; None before anybody has decided."""
    for fact in reversed(incident.facts):
        risk = fact.data.get("risk")
        if fact.kind is not FactKind.PRIVACY_DECIDED or fact.actor == RUNBOOK:
            continue
        if risk not in set(Risk):
            continue
        return Decision(
            risk=Risk(str(risk)),
            reason=str(fact.data.get("reason", "")),
            by=fact.actor,
            at=fact.at,
            aware_at=moment(fact.data.get("aware_at")),
            cases=tuple(str(each) for each in items(fact.data.get("cases"))[:_CASES_LIMIT]),
            circumstances=_circumstances(fact.data.get("circumstances")),
        )
    return None


def scope_of(incident: Incident) -> tuple[Scope, Circumstances] | None:
    """The newest scope that can be read, and what was assumed with it."""
    for fact in reversed(incident.facts):
        if fact.kind is FactKind.PRIVACY_SCOPED:
            circumstances = _circumstances(fact.data.get("circumstances"))
            try:
                scope = Scope.from_json(mapping(fact.data.get("scope")))
            except BadInput:
                continue
            if circumstances is not None:
                return scope, circumstances
    return None


def standing_severity(incident: Incident) -> Severity | None:
    """ENISA's score with what people have confirmed, else with what is assumed."""
    measured = scope_of(incident)
    if measured is None:
        return None
    scope, assumed = measured
    decided = decision_of(incident)
    confirmed = decided.circumstances if decided else None
    return severity_of(scope, confirmed or assumed)


def check_aware(aware_at: datetime | None, now: datetime) -> datetime | None:
    """Nobody is aware of something in the future. Raises BadInput."""
    if aware_at is not None and aware_at > now + _SKEW:
        raise BadInput(
            f"expected when somebody became aware, in the past, found {aware_at:%Y-%m-%d %H:%M} UTC"
        )
    return aware_at


def check_cases(cases: Collection[str], regimes: Regimes) -> tuple[str, ...]:
    """Cases that a clock asks about, each once. Raises BadInput, which names them."""
    known = sorted({limit.case for clock in regimes.clocks for limit in clock.limits if limit.case})
    wrong = [case for case in cases if case not in known or not _CASE.fullmatch(case)]
    if wrong:
        raise BadInput(f"expected cases among {', '.join(known)}, found {wrong[0][:60]!a}")
    return tuple(sorted(set(cases)))


def _circumstances(data: object) -> Circumstances | None:
    try:
        return Circumstances.from_json(data)
    except BadInput:
        return None


def decided_fact(
    risk: Risk,
    reason: str,
    role: str,
    severity: Severity | None,
    circumstances: Circumstances,
    aware_at: datetime | None,
    cases: tuple[str, ...],
) -> dict[str, Any]:
    """What such a fact holds."""
    advised = recommended(severity)
    score = "without a score" if severity is None else f"ENISA {severity.score:g} {severity.band}"
    deviates = "" if risk is advised else f"; the score suggests {advised}"
    return {
        "risk": risk.value,
        "reason": reason,
        "role": role,
        "recommended": advised.value,
        "severity": None if severity is None else severity.as_json(),
        "circumstances": circumstances.as_json(),
        "aware_at": aware_at.isoformat() if aware_at else None,
        "cases": list(cases),
        "summary": f"risk {risk} ({score}{deviates}): {reason}",
    }
