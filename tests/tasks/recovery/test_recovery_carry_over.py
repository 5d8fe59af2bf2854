"""Newer rows survive: from the dump, from the damaged table by their chain, or on the list."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.clients.object_store import ObjectStore
from tasks.domain.backups import Backup
from tasks.domain.carry_over import LostRange, WritersHead
from tasks.domain.errors import LockLost, NotProven
from tasks.domain.ledger import is_tombstone, lost_leaf, open_note
from tasks.sections.systems import StoreSettings
from tasks.work.carry_over import carry_bulk, losses_of, seal_losses
from tasks.work.restore import restore_beside
from tasks.work.swap import swap
from tests.tasks.recovery.conftest import (
    NAMES,
    ORIGIN,
    RESPONDER,
    SIGNED,
    SIZE,
    Patient,
    dumped,
    unfenced,
)

pytestmark = pytest.mark.components


def recovered(patient: Patient, head: WritersHead | None) -> list[tuple[int, bytes, bytes]]:
    patient.restore()
    carry_bulk(patient.site, lambda: head, unfenced)
    swap(patient.site, lambda: head, unfenced)
    return patient.stored()


def test_unsigned_rows_of_the_damaged_table_are_carried_over_unchanged(patient: Patient) -> None:
    patient.hurt("DELETE FROM audit_records WHERE seq = 12")

    assert recovered(patient, patient.writers_head()) == patient.expected()

    assert losses_of(patient.site).records == 0


def test_the_bulk_leaves_the_newest_rows_to_the_last_step(patient: Patient) -> None:
    patient.restore()

    carried = carry_bulk(patient.site, patient.writers_head, unfenced)

    assert carried.size == SIZE - 16
    assert carried.kept == SIZE - 16 - SIGNED
    assert carry_bulk(patient.site, patient.writers_head, unfenced).kept == 0
    assert patient.stored(NAMES.scratch) == patient.expected(0, SIZE - 16)


def test_a_record_that_stands_in_a_row_which_the_bulk_has_passed_is_found(
    patient: Patient,
) -> None:
    passed = SIZE - 16
    patient.hurt("DELETE FROM audit_records WHERE seq IN (%s, %s)", passed - 2, passed)
    patient.hurt("UPDATE audit_records SET seq = seq - 1 WHERE seq = %s", passed - 1)
    late = patient.genuine[passed]
    patient.hurt(
        "INSERT INTO audit_records (seq, record, leaf) VALUES (%s, %s, %s)",
        *(passed - 1, late.record, late.leaf),
    )

    stored = recovered(patient, patient.writers_head())

    assert [row for row in stored if row[0] != passed - 2] == [
        row for row in patient.expected() if row[0] != passed - 2
    ]
    assert [(each.first, each.count) for each in losses_of(patient.site).lost] == [(passed - 2, 1)]


def test_damage_in_the_tail_costs_exactly_the_damaged_rows(patient: Patient) -> None:
    patient.hurt("UPDATE audit_records SET record = 'x' WHERE seq = 2700")
    patient.hurt("DELETE FROM audit_records WHERE seq IN (2800, 2801, 2999)")

    stored = recovered(patient, patient.writers_head())

    lost = {2700, 2800, 2801, 2999}
    assert [row for row in stored if row[0] not in lost] == [
        row for row in patient.expected() if row[0] not in lost
    ]
    assert {seq for seq, line, _ in stored if is_tombstone(line)} == lost
    leaves = {seq: lost_leaf(line) for seq, line, _ in stored if seq in lost}
    assert leaves == {
        2700: patient.genuine[2700].leaf,
        2800: None,
        2801: patient.genuine[2801].leaf,
        2999: patient.genuine[2999].leaf,
    }
    assert losses_of(patient.site).lost == (
        LostRange(2700, 1, (patient.genuine[2700].leaf.hex(),)),
        LostRange(2800, 2, ("", patient.genuine[2801].leaf.hex())),
        LostRange(2999, 1, (patient.genuine[2999].leaf.hex(),)),
    )


def test_a_dropped_table_leaves_every_acknowledged_row_on_the_list(patient: Patient) -> None:
    patient.hurt("DROP TABLE audit_records CASCADE")

    stored = recovered(patient, patient.writers_head())

    assert stored[:SIGNED] == patient.expected(0, SIGNED)
    assert [seq for seq, _, _ in stored] == list(range(SIZE))
    losses = losses_of(patient.site)
    assert [(each.first, each.count) for each in losses.lost] == [(SIGNED, SIZE - SIGNED)]
    assert losses.lost[0].leaves[-1] == patient.genuine[-1].leaf.hex()


def test_a_truncated_tail_is_known_by_the_writers_own_head(patient: Patient) -> None:
    patient.hurt("DELETE FROM audit_records WHERE seq >= 2990")

    stored = recovered(patient, patient.writers_head())

    assert stored[:2990] == patient.expected(0, 2990)
    assert [(each.first, each.count) for each in losses_of(patient.site).lost] == [(2990, 10)]


def test_writers_that_forgot_their_head_meanwhile_do_not_shorten_the_list(
    patient: Patient,
) -> None:
    patient.hurt("DELETE FROM audit_records WHERE seq >= 2990")
    patient.restore()
    carry_bulk(patient.site, patient.writers_head, unfenced)

    swap(patient.site, lambda: patient.writers_head(2990), unfenced)  # they began anew

    assert [(each.first, each.count) for each in losses_of(patient.site).lost] == [(2990, 10)]


def test_a_bulk_without_a_restored_database_is_refused(patient: Patient) -> None:
    patient.restore()
    patient.servers.admin(f"COMMENT ON DATABASE {NAMES.scratch} IS 'something else'")

    with pytest.raises(NotProven, match="to be restored"):
        carry_bulk(patient.site, patient.writers_head, unfenced)


def test_without_the_writers_head_the_tables_own_chain_decides(patient: Patient) -> None:
    patient.hurt("DELETE FROM audit_records WHERE seq = 2950")

    stored = recovered(patient, None)

    assert [row for row in stored if row[0] != 2950] == [
        row for row in patient.expected() if row[0] != 2950
    ]
    assert losses_of(patient.site).records == 1


def test_newer_rows_of_the_dump_save_what_the_table_has_lost(
    patient: Patient, tmp_path: Path
) -> None:
    backup, archive = dumped(patient, NAMES.production, tmp_path)
    patient.hurt("DROP TABLE audit_records CASCADE")
    restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    swap(patient.site, patient.writers_head, unfenced)

    assert patient.stored() == patient.expected()
    assert losses_of(patient.site).records == 0


def test_a_lost_lock_carries_nothing_over(patient: Patient) -> None:
    patient.restore()

    def fence() -> None:
        raise LockLost("a newer holder")

    with pytest.raises(LockLost):
        carry_bulk(patient.site, patient.writers_head, fence)

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


def test_losses_of_an_incident_without_a_restore_are_refused(patient: Patient) -> None:
    with pytest.raises(NotProven, match="restore it first"):
        losses_of(patient.site)


def test_the_loss_list_is_signed_locked_and_the_same_on_every_call(
    patient: Patient, store: ObjectStore, store_settings: StoreSettings
) -> None:
    patient.hurt("DELETE FROM audit_records WHERE seq = 2700")
    recovered(patient, patient.writers_head())
    bucket = store_settings.evidence_bucket

    sealed = seal_losses(patient.site, store, bucket, RESPONDER, 1)
    with patient.servers.postgres.connect(NAMES.production) as production:
        production.execute("DELETE FROM audit_records WHERE seq >= 3000")
    again = seal_losses(patient.site, store, bucket, RESPONDER, 1)

    data = store.get(bucket, sealed.key)
    assert again.key == sealed.key
    assert json.loads(data) == sealed.losses.as_json()
    note = open_note(store.get(bucket, sealed.note_key).decode(), [RESPONDER.verifier])
    assert note.split("\n")[1:4] == [patient.site.incident, sha256(data).hexdigest(), "1"]
    assert store.head(bucket, sealed.key).lock_mode == "COMPLIANCE"
    assert store.head(bucket, sealed.note_key).lock_mode == "COMPLIANCE"
    assert sealed.losses.origin == ORIGIN


def test_a_backup_is_reported_with_what_came_from_where(patient: Patient) -> None:
    shown = patient.restore().as_json()

    assert isinstance(patient.backup, Backup)
    assert shown["backup"] == patient.backup.key
    assert (shown["backup_size"], shown["signed"], shown["from_segments"]) == (2000, 2600, 600)
    json.dumps(shown)
