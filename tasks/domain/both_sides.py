"""A server seen twice: by a real connection from outside, and by a program in its own pod.

They can disagree, and that is a finding: what answers inside and not outside is cut off by network,
address, password or a full house; what answers outside and not inside is another server than the
one in that pod. Who could not look says nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.inside import Answer, Inside
from tasks.domain.observation import Health


class Agreement(StrEnum):
    """Of both sides; UNKNOWN where only one could look."""

    AGREE = "agree"
    CUT_OFF = "answers in its pod, not from outside"
    ELSEWHERE = "answers from outside, not in its pod"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BothSides:
    """What both together say, and the line for people."""

    health: Health
    agreement: Agreement
    summary: str


def compared(health: Health, outside: str, inside: Inside) -> BothSides:
    """The outside's health and words, corrected by what the pod says."""
    agreement = _agreement(health, inside.answer)
    if agreement is Agreement.ELSEWHERE and health is Health.HEALTHY:
        health = Health.DEGRADED
    if agreement is Agreement.UNKNOWN and not inside.text:
        return BothSides(health, agreement, outside)
    if agreement in {Agreement.CUT_OFF, Agreement.ELSEWHERE}:
        return BothSides(health, agreement, f"{agreement.value}: {outside}; {inside.text}")
    said = "in its pod" if inside.answer is not Answer.UNKNOWN else "in its pod unknown"
    return BothSides(health, agreement, f"{outside}; {said}: {inside.text}")


def _agreement(health: Health, inside: Answer) -> Agreement:
    if inside is Answer.UNKNOWN or health is Health.UNKNOWN:
        return Agreement.UNKNOWN
    if health is Health.FAILED:
        return Agreement.CUT_OFF if inside is Answer.READY else Agreement.AGREE
    return Agreement.AGREE if inside is Answer.READY else Agreement.ELSEWHERE
