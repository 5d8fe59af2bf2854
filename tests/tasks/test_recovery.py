"""The recovery from one end to the other on the lab: its own faults, API, sealer and backup."""

from pathlib import Path

import pytest

from deployments.lab.stack import Lab
from deployments.lab.table_faults import table_dropped, tampered_records
from tasks.clients.object_store import ObjectStore
from tasks.domain.carry_over import WritersHead
from tasks.domain.errors import NotProven
from tasks.domain.ledger import (
    Checkpoint,
    NoteVerifier,
    Status,
    sign_checkpoint,
)
from tasks.settings import settings
from tasks.work import planning, responder
from tasks.work.backup_places import StorePlace
from tasks.work.carry_over import carry_bulk, losses_of
from tasks.work.catalogue import look_at
from tasks.work.fetching import fetch
from tasks.work.log_heads import latest_head
from tasks.work.log_store import ObjectLog
from tasks.work.recovery import Site, observe, site_of
from tasks.work.restore import Restored, restore_beside
from tasks.work.swap import swap
from tasks.work.swapped import Swapped
from tasks.work.table_verification import verify_table
from tests.builders import newest

pytestmark = pytest.mark.components

INCIDENT = "INC-20260314-030012-a1b2"


@pytest.fixture
def site(patient: Lab) -> Site:
    assert patient.patient.child is not None
    store = settings().store
    log = ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    return site_of(INCIDENT, log, settings())


def unfenced() -> None:
    """Nobody takes the target over."""


def ask() -> WritersHead | None:
    return planning.ask_writers(settings().api)


def recover(site: Site, directory: Path) -> tuple[Restored, Swapped]:
    store = settings().store
    objects = ObjectStore(store)
    keys = [NoteVerifier.parse(settings().ledger.backup_key or settings().ledger.log_key)]
    place = StorePlace(objects, store.backups_bucket, store.database_prefix)
    backups = look_at(place, keys)
    head = latest_head(site.log, site.trust)
    backup = newest(backups, head.checkpoint.size)
    archive = fetch(backup, directory, places=[place])
    restored = restore_beside(site, backup, archive, head, unfenced)
    carry_bulk(site, ask, unfenced)
    return restored, swap(site, ask, unfenced)


def verified(site: Site) -> bool:
    reader = settings().database.reader_dsn.get_secret_value()
    verdict = verify_table(reader, site.log, site.trust)
    return verdict.status is Status.VERIFIED


@pytest.mark.parametrize(
    "fault", [tampered_records, pytest.param(table_dropped, marks=pytest.mark.slow)]
)
def test_the_labs_faults_are_recovered_to_the_signed_log(
    patient: Lab, site: Site, tmp_path: Path, fault
) -> None:
    fault(patient)
    assert not verified(site)

    restored, swapped = recover(site, tmp_path)

    assert verified(site)
    assert restored.signed == patient.sealed_size
    assert restored.added == patient.sealed_size - patient.backup_size
    assert swapped.outage_seconds is not None
    assert swapped.outage_seconds < 5  # bench_swap measures it
    head = ask()
    assert head is not None
    assert swapped.records >= head.size
    dropped = fault is table_dropped
    assert losses_of(site).records == (head.size - patient.sealed_size if dropped else 0)


def test_a_log_that_was_rolled_back_behind_the_anchor_is_not_restored_to(
    patient: Lab, site: Site, tmp_path: Path
) -> None:
    removed = Checkpoint(site.trust.origin, patient.sealed_size + 1, b"\x07" * 32)
    with responder.connection() as connection:
        connection.execute(
            "INSERT INTO anchors (origin, size, note) VALUES (%s, %s, %s)",
            (
                site.trust.origin,
                removed.size,
                sign_checkpoint(removed, patient.signers[removed.origin]),
            ),
        )
    before = observe(site, 0)

    with pytest.raises(NotProven, match="ROLLBACK"):
        recover(site, tmp_path)

    assert observe(site, 0) == before
