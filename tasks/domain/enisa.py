"""How grave a breach of personal data is, by ENISA's method of 2013: SE = DPC x EI + CB.

DPC says what kind of data it is, EI how easily a person is recognised by it, CB what was done with
it. The score recommends; whether an authority is notified a named person decides. Every number is
a multiple of a quarter, so floats are exact here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from tasks.domain.errors import BadInput

MANY_PEOPLE = 100
"""From one more on the method raises a flag, which changes no score."""

_LEAST_CONTEXT, _MOST_CONTEXT = 1, 4


class Category(Enum):
    """Data processing context: the base score of a category of data."""

    SIMPLE = 1
    BEHAVIOURAL = 2
    FINANCIAL = 3
    SENSITIVE = 4


class Ease(Enum):
    """Ease of identification."""

    NEGLIGIBLE = 0.25
    LIMITED = 0.5
    SIGNIFICANT = 0.75
    MAXIMUM = 1.0


class Identifier(StrEnum):
    """What a person may be recognised by."""

    NAME = "name"
    ID_NUMBER = "ID number"
    PHONE_OR_ADDRESS = "phone or address"
    EMAIL = "e-mail"
    PICTURE = "picture"
    ALIAS = "code or alias"


EASE: Mapping[Identifier, Mapping[Ease, str]] = {
    Identifier.NAME: {
        Ease.NEGLIGIBLE: "common in a large population",
        Ease.LIMITED: "rare in the country",
        Ease.SIGNIFICANT: "rare in a small city",
        Ease.MAXIMUM: "with date of birth and e-mail",
    },
    Identifier.ID_NUMBER: {
        Ease.NEGLIGIBLE: "alone",
        Ease.SIGNIFICANT: "with date of birth or e-mail",
        Ease.MAXIMUM: "with a reference database",
    },
    Identifier.PHONE_OR_ADDRESS: {
        Ease.NEGLIGIBLE: "unlisted",
        Ease.LIMITED: "unlisted, in a small city",
        Ease.MAXIMUM: "in a public register",
    },
    Identifier.EMAIL: {
        Ease.NEGLIGIBLE: "without a name, not to be found by a search",
        Ease.SIGNIFICANT: "to be found by a search",
        Ease.MAXIMUM: "with a name, to be found by a search",
    },
    Identifier.PICTURE: {
        Ease.NEGLIGIBLE: "unclear",
        Ease.LIMITED: "with a hint at the place",
        Ease.SIGNIFICANT: "clear",
        Ease.MAXIMUM: "with linked information",
    },
    Identifier.ALIAS: {
        Ease.NEGLIGIBLE: "without the reference database",
        Ease.SIGNIFICANT: "reveals a part of the identity",
        Ease.MAXIMUM: "with the full name or the database",
    },
}
"""When each degree holds; a degree that is not listed the method does not know."""


class Confidentiality(Enum):
    """Who may have seen it."""

    NO_EVIDENCE_OF_ACCESS = 0.0
    KNOWN_RECIPIENTS = 0.25
    UNKNOWN_OR_PUBLIC = 0.5


class Integrity(Enum):
    """What was altered."""

    NO_WRONG_USE = 0.0
    POSSIBLY_USED_RECOVERABLE = 0.25
    POSSIBLY_USED_UNRECOVERABLE = 0.5


class Availability(Enum):
    """What cannot be had any more."""

    EASILY_RECOVERED = 0.0
    TEMPORARILY_LOST = 0.25
    PERMANENTLY_LOST = 0.5


class Band(StrEnum):
    """The method's word for a score."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    VERY_HIGH = "Very High"


_BANDS = ((4.0, Band.VERY_HIGH), (3.0, Band.HIGH), (2.0, Band.MEDIUM))


@dataclass(frozen=True, slots=True)
class Breach:
    """What is known of a breach. `identifiers`: each with how easily it names a person.

    `adjustment`: whole steps up or down of the data's context, with the `reason` that the method
    asks for. `people` None: not known yet. Raises BadInput for a degree that the method does not
    know, without data or identifiers, and for an adjustment without a reason.
    """

    categories: frozenset[Category]
    identifiers: Mapping[Identifier, Ease]
    confidentiality: Confidentiality
    integrity: Integrity
    availability: Availability
    malicious: bool
    adjustment: int = 0
    reason: str = ""
    people: int | None = None
    unintelligible: bool = False

    def __post_init__(self) -> None:
        if not self.categories or not self.identifiers:
            raise BadInput("expected at least one category of data and one identifier, found none")
        for identifier, ease in self.identifiers.items():
            if ease not in EASE[identifier]:
                known = ", ".join(each.name.lower() for each in EASE[identifier])
                raise BadInput(
                    f"expected {identifier} to be one of {known}, found {ease.name.lower()}"
                )
        if self.adjustment and not self.reason.strip():
            raise BadInput(
                f"expected a reason for moving the data's context by {self.adjustment}, found none"
            )


@dataclass(frozen=True, slots=True)
class Severity:
    """The score with its parts, its band and the flags that people must weigh beside it."""

    context: int
    ease: float
    circumstances: float
    flags: tuple[str, ...] = field(default=())

    @property
    def score(self) -> float:
        """0.25 to 6.0."""
        return self.context * self.ease + self.circumstances

    @property
    def band(self) -> Band:
        """Low below 2, Medium below 3, High below 4."""
        return next((band for least, band in _BANDS if self.score >= least), Band.LOW)

    @property
    def advice(self) -> str:
        """What is commonly done from such a score on: practice, not law."""
        if self.score >= _BANDS[1][0]:
            return "notify the authority (GDPR Art. 33) and the people concerned (Art. 34)"
        if self.score >= _BANDS[2][0]:
            return "notify the authority (GDPR Art. 33)"
        return "keep it in the internal register (GDPR Art. 33(5)); a person decides"

    def as_json(self) -> dict[str, Any]:
        """For the journal and the report."""
        return {
            "context": self.context,
            "ease": self.ease,
            "circumstances": self.circumstances,
            "score": self.score,
            "band": self.band.value,
            "advice": self.advice,
            "flags": list(self.flags),
        }


def assess(breach: Breach) -> Severity:
    """The highest context (moved, within 1 to 4) times the easiest identifier, plus the rest."""
    base = max(category.value for category in breach.categories)
    context = min(max(base + breach.adjustment, _LEAST_CONTEXT), _MOST_CONTEXT)
    circumstances = (
        breach.confidentiality.value
        + breach.integrity.value
        + breach.availability.value
        + (0.5 if breach.malicious else 0.0)
    )
    flags = []
    if breach.people is not None and breach.people > MANY_PEOPLE:
        flags.append(f"more than {MANY_PEOPLE} people are concerned")
    if breach.unintelligible:
        flags.append("the data is unintelligible to whoever has it")
    return Severity(
        context=context,
        ease=max(ease.value for ease in breach.identifiers.values()),
        circumstances=circumstances,
        flags=tuple(flags),
    )
