"""Having the audit log and our own journal sealed, by the sealer, and proving what it answers."""

import logging

from prefect import task

from tasks.clients.object_store import ObjectStore
from tasks.domain.errors import NotProven, RunbookError
from tasks.domain.ledger import Checkpoint, Status
from tasks.retries import READ
from tasks.settings import settings
from tasks.work import anchors, sealing_order
from tasks.work.journal_verification import verify_journal
from tasks.work.log_store import ObjectLog
from tasks.work.sealed_logs import LogName, place_of, trust_of
from tasks.work.sealing_order import SealedHead

_logger = logging.getLogger(__name__)


def journal_is_sealed() -> bool:
    """Whether the settings say whose signatures on the journal count."""
    return settings().ledger.journal_trust_file is not None


@task(name="Seal new records", tags={"runbook:audit.sealing"}, **READ)
def seal_log(name: LogName) -> SealedHead:
    """Have what is new sealed, and prove the answer: signatures, quorum, stored head, anchor.

    Asked twice, the second finds nothing new: so it may be tried again.
    """
    head = sealing_order.order_sealing(name, settings())
    sealing_order.prove_continues(head, settings())
    return head


@task(name="Verify the journal", **READ)
def verify_sealed_journal() -> int:
    """Put every fact to what was signed, and keep the head as anchor; its size.

    Raises NotProven when a signed fact was altered or lost.
    """
    known = settings()
    trust = trust_of(LogName.JOURNAL, known)
    log = ObjectLog(ObjectStore(known.store), *place_of(LogName.JOURNAL, known))
    verdict = verify_journal(known.responder.dsn.get_secret_value(), log, trust)
    if verdict.status is not Status.VERIFIED:
        raise NotProven(f"the journal is {verdict.status}: {verdict.reason}")
    verified = Checkpoint(verdict.origin, verdict.signed, bytes.fromhex(verdict.root))
    return anchors.advance(log, trust, verified)


@task(name="Seal the journal", tags={"runbook:audit.sealing-journal"}, **READ)
def seal_journal(incident: str) -> None:
    """Have the journal sealed with the facts of a closed incident.

    A sealer that is away holds nothing up: it is told, and the hourly run catches up.
    """
    if not settings().sealer.url or not journal_is_sealed():
        return
    try:
        head = sealing_order.order_sealing(LogName.JOURNAL, settings())
    except RunbookError as error:
        _logger.warning("%s: the journal is not sealed yet: %s", incident, error)
    else:
        _logger.info("%s: the journal is sealed, %d facts", incident, head.checkpoint.size)
