"""Having a log sealed: the sealer signs, the responder asks and does not believe.

An answer counts when the log's key and a quorum of witnesses signed it, when the same head is
stored, and when that continues the anchor.
"""

from dataclasses import dataclass

from tasks.clients import sealer
from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import NotProven
from tasks.domain.ledger import Checkpoint, NoteError
from tasks.settings import Settings
from tasks.work import anchors
from tasks.work.log_heads import open_head
from tasks.work.log_store import ObjectLog
from tasks.work.sealed_logs import LogName, place_of, trust_of


@dataclass(frozen=True, slots=True)
class SealedHead:
    """A head that its signatures prove, `added` records longer than the one before."""

    name: LogName
    checkpoint: Checkpoint
    note: str
    added: int
    witnesses: tuple[str, ...]
    timestamp: str


def order_sealing(name: LogName, settings: Settings) -> SealedHead:
    """Ask the sealer, and open what it answers; NotProven when the signatures do not carry it."""
    trust = trust_of(name, settings)
    answer = sealer.seal(settings.sealer, name)
    try:
        opened = trust.open(answer.note)
    except NoteError as error:
        raise NotProven(f"the sealer's head of {trust.origin} does not count: {error}") from error
    found = opened.checkpoint
    if (found.size, found.root.hex()) != (answer.size, answer.root):
        raise NotProven(
            f"the sealer says {answer.size} records with root {answer.root[:64]}, it signed "
            f"{found.size} with {found.root.hex()}"
        )
    witnesses = tuple(each.verifier.name for each in opened.cosigned)
    return SealedHead(name, found, answer.note, answer.added, witnesses, answer.timestamp)


def prove_continues(head: SealedHead, settings: Settings) -> None:
    """Prove that this head is the stored one, and that it continues the anchor.

    Raises NotProven (AnchorBroken for a rollback or a fork), NotFound without the stored head.
    """
    trust = trust_of(head.name, settings)
    log = ObjectLog(ObjectStore(settings.store), *place_of(head.name, settings))
    try:
        stored = open_head(log, head.checkpoint.size, trust)
    except NoteError as error:
        raise NotProven(f"{log}: the stored head does not count: {error}") from error
    if stored.checkpoint != head.checkpoint:
        raise NotProven(f"{log}: the stored head of {stored.checkpoint.size} has another root")
    anchors.check(log, stored, trust)
