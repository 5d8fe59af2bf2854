"""What a page says after something was done: our own words by a code, never the address's text."""

from collections.abc import Mapping

_WORDS: Mapping[str, str] = {
    "approved": "Your approval is recorded.",
    "denied": "Your denial is recorded: the plan will not be carried out any further.",
    "acknowledged": "Recorded: you have taken notice.",
    "lead": "Recorded: you lead the response.",
    "replanned": "Another run is ordered; its plan will stand here.",
    "noted": "Your note is in the timeline.",
    "severity": "The severity is changed; your reason is in the timeline.",
    "closed": "The incident is closed.",
    "held": "The hold is set: nothing in its scope is changed until it is lifted.",
    "lifted": "The hold is lifted.",
    "glass": "The glass is broken under your name; compliance is told.",
    "clock": "The clock is stopped under your name.",
    "judged": "Your decision on the risk is recorded; clocks and drafts follow it.",
    "isolation-confirm": "You have confirmed the isolation: it stays until it is taken back.",
    "isolation-return": "The isolation is being taken back.",
    "answered": "Your answer is recorded; the report is written anew in some minutes.",
    "action": "The action item is recorded; the report is written anew in some minutes.",
    "action-ended": "The end of the action item is recorded under your name.",
    "signed-off": "The report is signed off under your name.",
    "compliance": "Your decision is recorded under your name.",
    "joined": "This incident was open already: what you said is a note in it.",
    "joined-other": (
        "This incident was open already: what you said is a note in it. It follows another"
        " procedure than you chose, and keeps it."
    ),
    "declared": "The incident is open; its response has been ordered.",
}


def words_of(code: str) -> str:
    """The sentence; empty for a code that is none of ours."""
    return _WORDS.get(code, "")
