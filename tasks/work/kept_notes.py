"""The head that we keep ourselves, as a note that a recovery is judged by."""

import psycopg

from tasks.clients.errors import ClientError
from tasks.domain.ledger import NoteError, Trust
from tasks.work import anchors


def kept_notes(trust: Trust) -> tuple[tuple[str, ...], str]:
    """(the note of our newest anchor, why there is none although there may be); both may be empty.

    A recovery goes on without it, and says so: it may have to work when our own server is away too.
    """
    try:
        anchor = anchors.newest(trust)
    except (ClientError, NoteError, psycopg.Error) as error:
        return (), f"our own kept head was not looked at: {error}"[:500]
    return ((anchor.note,) if anchor is not None and anchor.checkpoint.size else ()), ""
