"""An isolation on its incident's page: what is cut off, until when, and by whose word."""

from dataclasses import dataclass
from datetime import datetime

from tasks.domain.incident import Incident
from tasks.domain.isolation import ACCOUNTS, NETWORK, SESSIONS
from tasks.domain.isolation_state import Isolation, Word, isolation_of
from tasks.domain.untrusted import visible

_WORDS = {
    NETWORK: "the pods are cut off",
    ACCOUNTS: "suspected roles are locked",
    SESSIONS: "their sessions were ended",
}


@dataclass(frozen=True, slots=True)
class IsolationView:
    """What the template shows. `until`: it goes back then; None: it stays, or went back."""

    done: tuple[str, ...]
    until: datetime | None
    returned: bool
    confirmed_by: str
    error: str
    words: tuple[Word, ...]


def isolation_view(incident: Incident) -> IsolationView | None:
    """None before anything was isolated."""
    found = isolation_of(incident)
    if found is None:
        return None
    return IsolationView(
        done=tuple(words for step, words in _WORDS.items() if step in found.done),
        until=found.return_at,
        returned=found.returned,
        confirmed_by=visible(found.by, 120) if found.word is Word.CONFIRM else "",
        error=visible(found.error, 300),
        words=_sayable(found),
    )


def _sayable(found: Isolation) -> tuple[Word, ...]:
    """What would change something."""
    if found.returned:
        return ()
    return (Word.RETURN,) if found.word is Word.CONFIRM else tuple(Word)
