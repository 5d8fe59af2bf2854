"""The remedy of what sessions do: end exactly those, by names that no other session can have."""

from collections.abc import Sequence

from tasks.domain.causes import Remedial
from tasks.domain.database_readings import Session
from tasks.domain.signals import Why

CANCEL = "db.resolution.cancel"
TERMINATE = "db.resolution.terminate"
RELIEVE = "db.resolution.relieve"

_ACTIONS = {
    Why.BLOCKS: "cancel what they run; end those that still block others afterwards",
    Why.RUNS: "cancel what they run; end those that go on all the same",
    Why.IDLE: "end them, if they have done nothing since",
}
_DESTROYS = {
    Why.BLOCKS: "what their open transactions have done and not committed; their clients see an "
    "error and may try again",
    Why.RUNS: "the work of these queries so far; their clients see an error",
    Why.IDLE: "what their open transactions have done and not committed; their clients find the "
    "connection closed",
}


def ending_of(sessions: Sequence[Session], why: Why, target: str) -> Remedial | None:
    """Ending these sessions; None when there is none that may be ended."""
    if not sessions:
        return None
    named = ", ".join(f"{each.pid} ({each.user})" for each in sessions[:5])
    more = f" and {len(sessions) - 5} more" if len(sessions) > 5 else ""  # noqa: PLR2004
    return Remedial(
        step=RELIEVE if why is Why.IDLE else TERMINATE,
        action=f"sessions {named}{more}: {_ACTIONS[why]}",
        target=target,
        destroys=_DESTROYS[why],
        arguments={"why": why.value, "sessions": [each.key() for each in sessions]},
    )
