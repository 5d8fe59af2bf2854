"""What a server says to a program in its own pod: to be held against what is seen from outside."""

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """READY: takes connections. BUSY: starts, stops or loads. SILENT: says nothing in its time."""

    READY = "ready"
    BUSY = "busy"
    SILENT = "silent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Inside:
    """The answer, and in words what the program said, or why nobody could ask."""

    answer: Answer
    text: str = ""


def is_contradicted(inside: Inside) -> bool:
    """Whether a server that answers from outside says otherwise in its pod."""
    return inside.answer in {Answer.BUSY, Answer.SILENT}


NOT_ASKED = Inside(Answer.UNKNOWN, "nobody asked in its pod")
