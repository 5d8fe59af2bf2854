"""What no measurement knows of a breach: who may have the data, and how easily it names somebody.

The settings give what is assumed; a person confirms or corrects it when they decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self, TypeVar

from tasks.domain.enisa import EASE, Availability, Confidentiality, Ease, Identifier, Integrity
from tasks.domain.errors import BadInput
from tasks.domain.journaled import mapping

_REASON_LIMIT = 500
_Degree = TypeVar("_Degree", bound=Enum)


def in_words(degree: Enum) -> str:
    """`UNKNOWN_OR_PUBLIC` as people type it: `unknown or public`."""
    return degree.name.lower().replace("_", " ")


def degree_of(kind: type[_Degree], text: object) -> _Degree:
    """The degree that is meant. Raises BadInput, which names those that there are."""
    for degree in kind:
        if in_words(degree) == text:
            return degree
    known = ", ".join(in_words(degree) for degree in kind)
    raise BadInput(f"expected one of {known}, found {str(text)[:40]!a}")


def identifier_of(text: object) -> Identifier:
    """By what a person is recognised. Raises BadInput."""
    if text in set(Identifier):
        return Identifier(str(text))
    raise BadInput(f"expected one of {', '.join(Identifier)}, found {str(text)[:40]!a}")


def ease_of(identifier: Identifier, text: object) -> Ease:
    """A degree that the method knows for this identifier. Raises BadInput."""
    ease = degree_of(Ease, text)
    if ease not in EASE[identifier]:
        known = ", ".join(in_words(each) for each in EASE[identifier])
        raise BadInput(f"expected {identifier} to be one of {known}, found {in_words(ease)}")
    return ease


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The parts of ENISA's method that people know. `ease` has every identifier."""

    confidentiality: Confidentiality
    integrity: Integrity
    availability: Availability
    malicious: bool
    ease: Mapping[Identifier, Ease]
    adjustment: int = 0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "confidentiality": in_words(self.confidentiality),
            "integrity": in_words(self.integrity),
            "availability": in_words(self.availability),
            "malicious": self.malicious,
            "ease": {each.value: in_words(ease) for each, ease in sorted(self.ease.items())},
            "adjustment": self.adjustment,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Raises BadInput for what is none: a severity made of half of it would be made up."""
        found = mapping(data)
        adjustment, malicious = found.get("adjustment", 0), found.get("malicious")
        if type(adjustment) is not int or not -3 <= adjustment <= 3:  # noqa: PLR2004 steps of 1..4
            raise BadInput(f"expected an adjustment of -3 to 3, found {str(adjustment)[:40]!a}")
        if not isinstance(malicious, bool):
            raise BadInput(f"expected malicious to be true or false, found {str(malicious)[:40]!a}")
        named = {identifier_of(key): value for key, value in mapping(found.get("ease")).items()}
        missing = [each.value for each in Identifier if each not in named]
        if missing:
            raise BadInput(f"expected how easily each identifier names a person, not of {missing}")
        return cls(
            confidentiality=degree_of(Confidentiality, found.get("confidentiality")),
            integrity=degree_of(Integrity, found.get("integrity")),
            availability=degree_of(Availability, found.get("availability")),
            malicious=malicious,
            ease={each: ease_of(each, named[each]) for each in Identifier},
            adjustment=adjustment,
            reason=str(found.get("reason", ""))[:_REASON_LIMIT],
        )

    def corrected(self, said: Mapping[str, Any]) -> "Circumstances":
        """With what a person says instead; what they do not mention stays. Raises BadInput."""
        now = self.as_json()
        unknown = sorted(said.keys() - now.keys())
        if unknown:
            raise BadInput(f"expected {', '.join(now)}, found {unknown[0][:40]!a}")
        ease = {**now["ease"], **mapping(said.get("ease"))}
        return Circumstances.from_json({**now, **said, "ease": ease})
