"""Which session is to be signalled, why, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.domain.errors import BadInput

MOST_SESSIONS = 200
"""Of one plan: what a person can still be asked to agree to."""


class Why(StrEnum):
    """What a session is to be ended for; it must still be so when it is signalled."""

    BLOCKS = "blocks others"
    RUNS = "runs for too long"
    IDLE = "holds a connection and does nothing"


class Verdict(StrEnum):
    """What became of one session. Only SIGNALLED has changed anything."""

    SIGNALLED = "signalled"
    GONE = "gone"
    NO_LONGER = "no longer"
    ANOTHER_SESSION = "another session"
    ANOTHER_TRANSACTION = "another transaction"
    ANOTHER_QUERY = "another query"
    WAS_AT_WORK = "was at work since"
    NOTHING_TO_CANCEL = "nothing to cancel"
    PROTECTED = "protected"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and for a protected session by what."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What names one session at one moment of its life: a pid alone is given to others again."""

    pid: int
    backend_start: datetime
    digest: str
    xact_start: datetime | None
    state_change: datetime | None
    user: str

    def __str__(self) -> str:
        return f"pid {self.pid} of {self.user}"

    @classmethod
    def from_json(cls, value: object) -> "SessionKey":
        """From `Session.key()` as a plan has kept it. Raises BadInput."""
        known = value if isinstance(value, Mapping) else {}
        pid, digest, user = (known.get(name) for name in ("pid", "digest", "user"))
        if type(pid) is not int or not isinstance(digest, str) or not isinstance(user, str):
            raise BadInput(f"expected pid, digest and user of a session, found {str(value)[:80]!r}")
        started = _instant(known.get("backend_start"))
        if started is None:
            raise BadInput(f"expected when the session of pid {pid} began, found nothing")
        return cls(
            pid=pid,
            backend_start=started,
            digest=digest,
            xact_start=_instant(known.get("xact_start")),
            state_change=_instant(known.get("state_change")),
            user=user,
        )


def keys_in(arguments: Mapping[str, Any]) -> tuple[Why, tuple[SessionKey, ...]]:
    """The reason and the sessions of a remedy's arguments. Raises BadInput."""
    why, listed = arguments.get("why"), arguments.get("sessions")
    if why not in set(Why) or not isinstance(listed, list) or len(listed) > MOST_SESSIONS:
        raise BadInput(
            f"expected a reason and at most {MOST_SESSIONS} sessions in a plan, found "
            f"{str(arguments)[:80]!r}"
        )
    return Why(why), tuple(SessionKey.from_json(each) for each in listed)


def _instant(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise BadInput(f"expected an instant of a session, found {str(value)[:40]!r}") from error
    if at.tzinfo is None:
        raise BadInput(f"expected an instant with its offset, found {str(value)[:40]!r}")
    return at
