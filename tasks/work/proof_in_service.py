"""The last step of a recovery: the log in service against its signature, and what is lost, signed.

Recorded in the journal whichever way it ends. Safe to repeat: the sealed lists are the same again.
"""

from typing import Any

from tasks.clients.object_store import ObjectStore
from tasks.domain import recovery_plan
from tasks.domain.errors import NotProven
from tasks.domain.facts import FactKind
from tasks.domain.ledger import NoteSigner, Status
from tasks.domain.proofs import IN_SERVICE
from tasks.domain.reconciled import Reconciled
from tasks.settings import settings
from tasks.work import carry_over, holding, journal, reconciliation_list
from tasks.work.recovery import Site
from tasks.work.table_verification import verify_table


def signer() -> NoteSigner:
    """Whose key signs the lists. Raises BadInput when it is none."""
    return NoteSigner.parse(settings().responder.read_signing_key().get_secret_value())


def prove(site: Site) -> dict[str, Any]:
    """Verify production, seal both lists, and record the proof, which is returned.

    Raises NotProven when the log in service is not the signed one.
    """
    incident, store = site.incident, settings().store
    verdict = verify_table(settings().database.reader_dsn.get_secret_value(), site.log, site.trust)
    if verdict.status is not Status.VERIFIED:
        found = [finding.as_json() for finding in verdict.findings[:5]]
        text = f"expected the log in service to be the signed one, found {verdict.status}: {found}"
        _record(incident, text, {}, holds=False)
        raise NotProven(f"{text}; a person must look")
    sealed = carry_over.seal_losses(
        site,
        ObjectStore(store),
        store.evidence_bucket,
        signer(),
        store.retention_days,
    )
    result = {
        "root": verdict.root,
        "size": verdict.signed,
        "records": verdict.records,
        "seconds": round(verdict.seconds, 3),
        "records_lost": sealed.losses.records,
        "lost": [[each.first, each.first + each.count - 1] for each in sealed.losses.lost],
        "loss_list": sealed.key,
        "loss_list_sha256": sealed.sha256,
        **_sealed_list(site),
    }
    text = (
        f"the log in service reproduces the signed root of {verdict.signed} records; "
        f"{sealed.losses.records} lost, on a signed list"
    )
    _record(incident, text, result, holds=True)
    reconciliation_list.forget_book(site)
    return result


def hold_contradicted(incident: str, reconciled: Reconciled) -> None:
    """What is contradicted about privacy spend keeps releases back until a person looked."""
    found = ", ".join(f"{what}: {count}" for what, count in reconciled.contradictions.items())
    if found:
        holding.hold_releases(
            incident,
            f"privacy spend is contradicted after the restore ({found}); the signed list names "
            "the rows",
        )


def _sealed_list(site: Site) -> dict[str, Any]:
    """What became of other tables, on a signed list; as it was recorded, when it is sealed already.

    The book is taken out only after the fact: a kill before it finds the same book again.
    """
    store = settings().store
    sealed = reconciliation_list.seal_list(
        site, ObjectStore(store), store.evidence_bucket, signer(), store.retention_days
    )
    if sealed is None:
        return recovery_plan.recorded_list(journal.read(site.incident))
    hold_contradicted(site.incident, sealed.reconciled)
    return {
        "other_tables": sealed.reconciled.as_json(),
        "reconciliation_list": sealed.key,
        "reconciliation_list_sha256": sealed.sha256,
        "reconciliation_entries": sealed.entries,
    }


def _record(incident: str, summary: str, result: dict[str, Any], *, holds: bool) -> None:
    journal.append(
        incident,
        FactKind.VERIFIED,
        {
            "what": IN_SERVICE,
            "holds": holds,
            "summary": summary[:2000],
            "result": result,
        },
    )
