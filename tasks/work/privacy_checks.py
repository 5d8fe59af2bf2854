"""What one look at the privacy engine says of each of the runbook's lines, as observations."""

from collections.abc import Callable
from typing import Any

from tasks.domain.causes import Cause, Confidence
from tasks.domain.database_readings import Unread
from tasks.domain.observation import Health
from tasks.domain.privacy_diagnosis import diagnose
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_readings import PrivacyReadings, shown
from tasks.work.checks import Seen

Check = Callable[[PrivacyReadings, PrivacyLimits], Seen]


def metrics(seen: PrivacyReadings, _: PrivacyLimits) -> Seen:
    """`privacy_budget_remaining` in Prometheus."""
    if isinstance(seen.remaining, Unread):
        return Seen(Health.UNKNOWN, f"what is left is not known: {seen.remaining.reason}")
    left = shown(seen.remaining)
    health = Health.HEALTHY if seen.remaining > 0 else Health.FAILED
    return Seen(health, f"an epsilon of {left} is said to be left", {"remaining": left})


def parameters(seen: PrivacyReadings, limits: PrivacyLimits) -> Seen:
    """`/api/v1/privacy/config`: epsilon, delta, clipping and noise as the engine is set."""
    said = seen.parameters
    if isinstance(said, Unread):
        return Seen(Health.UNKNOWN, f"the parameters are not known: {said.reason}")
    figures = {
        "epsilon": said.epsilon,
        "delta": said.delta,
        "clip_norm": said.clip_norm,
        "noise_multiplier": said.multiplier,
    }
    evidence: dict[str, Any] = {name: shown(each) for name, each in figures.items() if each}
    evidence |= {"halted": said.halted, "epoch": said.epoch, "retired": len(said.retired)}
    text = ", ".join(f"{name} {value}" for name, value in evidence.items())
    return _with_causes(seen, limits, {"privacy.noise-low", "privacy.delta-high"}, text, evidence)


def spending(seen: PrivacyReadings, limits: PrivacyLimits) -> Seen:
    """Epsilon and delta, recomputed from the releases that the log proves."""
    found = seen.spending
    if isinstance(found, Unread):
        return Seen(Health.UNKNOWN, f"the spend could not be recomputed: {found.reason}")
    book, worst = found.reconciled, found.blocks[:1]
    evidence: dict[str, Any] = {
        "releases": book.releases,
        "released": shown(book.released),
        "charged": shown(book.charged),
        "rows_short": len(book.gaps),
        "blocks": len(found.blocks),
        "worst": [each.as_json() for each in worst],
    }
    text = (
        f"{book.releases} releases on {len(found.blocks)} blocks of data, released "
        f"{shown(book.released)}, charged {shown(book.charged)}"
    )
    return _with_causes(seen, limits, _ABOUT_SPENDING, text, evidence)


def noise(seen: PrivacyReadings, limits: PrivacyLimits) -> Seen:
    """Samples of the engine's own noise against what it claims."""
    if isinstance(seen.noise, Unread):
        return Seen(Health.UNKNOWN, f"noise was not probed: {seen.noise.reason}")
    evidence = {"first": seen.noise.first.as_json()} | (
        {"second": seen.noise.second.as_json()} if seen.noise.second else {}
    )
    text = f"{seen.noise.first.number} samples: {seen.noise.first.reason}"
    return _with_causes(seen, limits, _ABOUT_NOISE, text, evidence)


def anonymisation(seen: PrivacyReadings, limits: PrivacyLimits) -> Seen:
    """Published records: k, l, planted canaries, identifiers."""
    found = seen.anonymity
    if isinstance(found, Unread):
        return Seen(Health.UNKNOWN, f"published records were not looked at: {found.reason}")
    if found.total and not found.looked:
        return Seen(Health.UNKNOWN, f"none of {found.total} published records was read")
    text = f"{found.looked} of {found.total} published records: k {found.k}, l {found.l}, no leak"
    return _with_causes(seen, limits, _ABOUT_RECORDS, text, found.as_json())


_ABOUT_SPENDING = {
    "privacy.overspend",
    "privacy.delta-overspent",
    "privacy.retired-released",
    "privacy.retired-unproven",
    "privacy.unsettled",
    "privacy.budget-exhausted",
    "privacy.spend-missing",
    "privacy.spend-rolled-back",
    "privacy.undercharged",
    "privacy.accounting-bug",
    "privacy.double-release",
    "privacy.unregistered-releases",
    "privacy.unreadable-releases",
    "privacy.unknown-mechanism",
    "privacy.budget-misstated",
    "privacy.budget-negative",
}
_ABOUT_NOISE = {"privacy.noise-absent", "privacy.noise-broken", "privacy.noise-suspect"}
_ABOUT_RECORDS = {"privacy.identifiers-published", "privacy.anonymity-low"}

CHECKS: dict[str, Check] = {
    "privacy.diagnosis.metrics": metrics,
    "privacy.diagnosis.parameters": parameters,
    "privacy.resolution.parameters": spending,
    "privacy.resolution.noise": noise,
    "privacy.resolution.anonymisation": anonymisation,
}
"""By the id of the runbook's line."""


def _with_causes(
    seen: PrivacyReadings,
    limits: PrivacyLimits,
    codes: set[str],
    text: str,
    evidence: dict[str, Any],
) -> Seen:
    """The worst cause of this part, in words, or that there is none."""
    causes = [each for each in diagnose(seen, limits) if each.code in codes]
    if not causes:
        return Seen(Health.HEALTHY, text, evidence)
    return Seen(_health(causes[0]), causes[0].summary, evidence)


def _health(cause: Cause) -> Health:
    return Health.FAILED if cause.confidence is Confidence.PROVEN else Health.DEGRADED
