"""What is wrong with the privacy engine: from one look to ranked causes. Pure.

What is PROVEN here and is in HALTING means that a release now may hurt somebody: it is refused at
once.
"""

from collections.abc import Sequence

from tasks.domain.causes import Cause, Confidence, ranked
from tasks.domain.database_readings import known
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_protection_causes import (
    anonymity_causes,
    noise_causes,
    parameter_causes,
)
from tasks.domain.privacy_readings import PrivacyReadings
from tasks.domain.privacy_spending_causes import (
    charged_wrongly,
    misstated,
    not_charged,
    overspent,
    released_though_retired,
)
from tasks.domain.severity import Assessment, Severity

HALTING = frozenset(
    {
        "privacy.overspend",
        "privacy.delta-overspent",
        "privacy.retired-released",
        "privacy.spend-missing",
        "privacy.spend-rolled-back",
        "privacy.undercharged",
        "privacy.noise-absent",
        "privacy.noise-broken",
        "privacy.identifiers-published",
    }
)
"""Causes for which, when they are proven, every release is refused at once."""


def diagnose(seen: PrivacyReadings, limits: PrivacyLimits) -> tuple[Cause, ...]:
    """Every cause that the look shows, the surest first."""
    parameters, spending = known(seen.parameters), known(seen.spending)
    return ranked(
        (
            *overspent(spending, parameters, limits),
            *released_though_retired(spending),
            *not_charged(spending, limits),
            *charged_wrongly(spending),
            *misstated(seen, spending),
            *noise_causes(known(seen.noise)),
            *anonymity_causes(known(seen.anonymity), limits),
            *parameter_causes(parameters, limits),
        )
    )


def to_halt(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """The causes for which releases are refused at once."""
    return tuple(
        each for each in causes if each.code in HALTING and each.confidence is Confidence.PROVEN
    )


def assess(causes: Sequence[Cause]) -> Assessment | None:
    """A proven violation is P0; what is only likely is looked at within the hour."""
    halting = to_halt(causes)
    if halting:
        return Assessment(
            Severity.P0, "class.p0.privacy-violation", f"proven: {halting[0].summary}"
        )
    if causes and causes[0].confidence is not Confidence.POSSIBLE:
        return Assessment(Severity.P1, "class.severity", causes[0].summary)
    return None
