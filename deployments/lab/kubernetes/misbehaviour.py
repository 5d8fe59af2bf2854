"""Ways in which an API server fails its clients."""

from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What happens instead of the answer, or to it."""

    SLOW = "the answer comes late"
    HANGS = "no answer comes"
    HTML = "somebody else answers, with a page"
    HALF = "the answer breaks off in the middle"
    ENDLESS = "the answer does not end"
    FAILS = "the server says that it cannot"
    GARBAGE = "the answer is no JSON"
    CLOSES = "the connection is closed without a word"


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """On requests whose method and path contain `where`; `seconds` for SLOW, `code` for FAILS."""

    trouble: Trouble
    where: str = ""
    seconds: float = 1.0
    code: int = 503
    times: int = 0
    """How many requests it meets; 0 for all."""
