"""The anchor: the last checkpoint that passed everything, kept outside the patient's reach.

It lives in the responder's PostgreSQL. Whoever can replace the object store's checkpoints by
older or forked ones cannot reach it, so a rollback or a fork shows against it.
"""

from dataclasses import dataclass

from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, Code, Trust
from tasks.work import responder
from tasks.work.comparisons import broken_with
from tasks.work.log_files import LogStore
from tasks.work.log_heads import Head, open_head
from tasks.work.signed_tree import signed_tree

_NEWEST = "SELECT note FROM anchors WHERE origin = %s ORDER BY size DESC LIMIT 1"
_KEEP = "INSERT INTO anchors (origin, size, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


class AnchorBroken(NotProven):
    """The head does not continue the anchor; `code` is ROLLBACK or FORK."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Anchor:
    """A kept checkpoint and the note that signs it."""

    checkpoint: Checkpoint
    note: str


def newest(trust: Trust) -> Anchor | None:
    """The newest anchor, its signature checked again; None before the first."""
    with responder.connection() as connection:
        row = connection.execute(_NEWEST, (trust.origin,)).fetchone()
    if row is None:
        return None
    return Anchor(trust.open_signed(row[0]).checkpoint, row[0])


def check(log: LogStore, head: Head, trust: Trust) -> None:
    """Prove that the signed head continues the anchor (RFC 9162 2.1.4).

    Raises AnchorBroken when the head is older than the anchor (rollback) or is not an extension of
    it (fork). Before the first anchor there is nothing to compare with.
    """
    anchor = newest(trust)
    if anchor is None or anchor.checkpoint.size == 0:
        return
    signed, _ = signed_tree(log, head.checkpoint)
    broken = broken_with(anchor.checkpoint, head.checkpoint, signed)
    if broken is not None:
        raise AnchorBroken(broken.code, broken.detail)


def advance(log: LogStore, trust: Trust, verified: Checkpoint) -> int:
    """Keep the checkpoint as anchor, after proving that it continues the last one; its size.

    The caller has verified table and store against exactly this checkpoint: a newer one that was
    signed meanwhile is not anchored before it was verified too.
    """
    head = open_head(log, verified.size, trust)
    if head.checkpoint.root != verified.root:
        raise AnchorBroken(
            Code.FORK,
            f"expected the stored checkpoint {verified.size} of {verified.origin} to be the "
            "verified one, found another root",
        )
    check(log, head, trust)
    with responder.connection() as connection:
        connection.execute(_KEEP, (verified.origin, head.checkpoint.size, head.note))
    return head.checkpoint.size
