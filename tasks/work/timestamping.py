"""A time-stamp token over a head: that it existed by then says somebody with no part in the log.

`timestamps/<size>.tsr` is a reply of RFC 3161 over the bytes of `checkpoints/<size>`. It comes
after the head and never holds one up: without a token the head counts, and the next sealing asks
again. A token over a newer head serves older ones as well, so only the newest is asked for.
"""

from dataclasses import dataclass
from pathlib import Path

from tasks.clients import timestamps
from tasks.domain.errors import RunbookError
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.work.log_files import LogStore
from tasks.work.log_heads import CHECKPOINTS

TIMESTAMPS = "timestamps/"

_REASON_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamp authority: its URL, certificates that its tokens must lead to, a time-out."""

    url: str
    roots: Path
    timeout_seconds: float


def token_path(size: int) -> str:
    """Where the token of the head of this size lies."""
    return f"{TIMESTAMPS}{size}.tsr"


def stamp(log: LogStore, size: int, authority: Authority | None) -> str:
    """See to it that the stored head has a token: "stored", "pending: why", "none" if not asked."""
    if authority is None:
        return "none"
    try:
        if token_path(size) not in log.paths(TIMESTAMPS):
            note = log.read(f"{CHECKPOINTS}{size}", MAX_NOTE_BYTES)
            token = timestamps.request_token(
                authority.url, note, authority.roots, timeout_seconds=authority.timeout_seconds
            )
            log.write(token_path(size), token)
    except RunbookError as error:  # the head is written: a token is no reason to call it failed
        return f"pending: {error}"[:_REASON_LIMIT]
    return "stored"
