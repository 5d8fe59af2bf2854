"""How a procedure of the runbook ended, for the flow that called it."""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """What comes next: a person, the report, or a person with another plan."""

    AWAITING = "awaiting approval"
    RESTORED = "restored"
    NO_ACTION = "no action needed"
    RESOLVED = "resolved"
    MANUAL = "manual"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An ending with one sentence for people."""

    ending: Ending
    summary: str

    @property
    def closes(self) -> bool:
        """Whether the incident is over: mended with proof, nothing was wrong, or it passed."""
        return self.ending in {Ending.RESTORED, Ending.NO_ACTION, Ending.RESOLVED}
