"""Restoring beside production: exact to the signed root, or not at all."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tasks.clients.errors import Conflict, Malformed
from tasks.domain.errors import LockLost, NotProven
from tasks.work.log_heads import Head
from tasks.work.recovery import Mark, Stage, observe
from tasks.work.restore import restore_beside
from tasks.work.swap import swap
from tests.tasks.recovery.conftest import (
    BACKUP,
    INCIDENT,
    NAMES,
    SIGNED,
    SIZE,
    Patient,
    dumped,
    tables_of,
    unfenced,
    with_incident,
)

pytestmark = pytest.mark.components


def test_tampered_and_deleted_records_come_back_as_they_were_signed(patient: Patient) -> None:
    patient.hurt("UPDATE audit_records SET record = 'x' WHERE seq IN (3, 2100)")
    patient.hurt("DELETE FROM audit_records WHERE seq IN (4, 5, 2200)")

    restored = patient.restore()

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)
    assert (restored.signed, restored.replaced, restored.added) == (SIGNED, 0, SIGNED - BACKUP)
    assert restored.verdict.root == patient.head().checkpoint.root.hex()
    assert len(patient.stored()) == SIZE - 3


def test_the_restored_database_grants_and_sets_what_production_did(patient: Patient) -> None:
    query = "SELECT datacl, pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
    with patient.servers.postgres.connect() as admin:
        before = admin.execute(query, (NAMES.production,)).fetchone()

    patient.restore()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(patient.servers.postgres.dsn("audit_api", NAMES.scratch))
    swap(patient.site, patient.writers_head, unfenced)

    with patient.servers.postgres.connect() as admin:
        after = admin.execute(query, (NAMES.production,)).fetchone()
        settings = admin.execute(
            "SELECT s.setconfig FROM pg_db_role_setting s JOIN pg_database d"
            " ON d.oid = s.setdatabase WHERE d.datname = %s",
            (NAMES.production,),
        ).fetchall()
    assert before is not None
    assert after is not None
    assert sorted(after[0]) == sorted(before[0])
    assert after[1] == "audit_owner"
    assert settings == [(["idle_session_timeout=1h"],)]
    with patient.servers.postgres.connect(NAMES.production) as production:
        query = "SELECT has_table_privilege(%s, 'audit_records', %s)"
        for role, privilege, expected in (
            ("audit_api", "INSERT", True),
            ("audit_api", "UPDATE", False),
            ("audit_reader", "SELECT", True),
            ("audit_reader", "INSERT", False),
            ("sealer", "SELECT", True),
        ):
            assert production.execute(query, (role, privilege)).fetchone() == (expected,)


def test_a_second_call_finds_the_restored_database_and_proves_it_again(patient: Patient) -> None:
    patient.restore()
    with patient.servers.postgres.connect() as admin:
        query = "SELECT oid FROM pg_database WHERE datname = %s"
        first = admin.execute(query, (NAMES.scratch,)).fetchone()

        again = patient.restore()

        assert admin.execute(query, (NAMES.scratch,)).fetchone() == first
    assert (again.replaced, again.added) == (0, 0)


def test_a_restored_database_that_was_altered_since_is_mended(patient: Patient) -> None:
    patient.restore()
    with patient.servers.postgres.connect(NAMES.scratch) as scratch:
        scratch.execute(
            "UPDATE audit_records SET leaf = decode(repeat('00', 32), 'hex') WHERE seq = 9"
        )

    assert patient.restore().replaced == 1

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


def test_a_backup_with_tampered_records_is_mended_from_the_segments(
    patient: Patient, tmp_path: Path
) -> None:
    with patient.servers.postgres.connect() as admin:
        admin.execute(f"CREATE DATABASE rlhf_audit_poisoned TEMPLATE {NAMES.production}")
    with patient.servers.postgres.connect("rlhf_audit_poisoned") as poisoned:
        poisoned.execute("UPDATE audit_records SET record = 'x' WHERE seq BETWEEN 100 AND 104")
        poisoned.execute("DELETE FROM audit_records WHERE seq = 7")
    backup, archive = dumped(patient, "rlhf_audit_poisoned", tmp_path)

    restored = restore_beside(patient.site, backup, archive, patient.head(), unfenced)

    assert (restored.replaced, restored.added) == (5, 1)
    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


def test_a_restore_that_was_killed_half_way_is_made_anew(patient: Patient) -> None:
    patient.restore()
    mark = Mark(INCIDENT, Stage.RESTORING, patient.backup.sha256)
    with patient.servers.postgres.connect(NAMES.scratch) as scratch:
        scratch.execute("DELETE FROM audit_records WHERE seq > 50")
        scratch.execute("CREATE TABLE left_over ()")
        scratch.execute(f"COMMENT ON DATABASE {NAMES.scratch} IS '{mark.text()}'")

    patient.restore()

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)
    assert "left_over" not in tables_of(patient.site.dsn, NAMES.scratch)


def test_a_restore_killed_before_its_mark_takes_its_empty_database_over(patient: Patient) -> None:
    patient.servers.admin(f"CREATE DATABASE {NAMES.scratch} OWNER audit_owner")

    patient.restore()

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


def test_a_strangers_database_under_the_scratch_name_is_left_alone(patient: Patient) -> None:
    patient.servers.admin(f"CREATE DATABASE {NAMES.scratch} OWNER audit_owner")
    patient.servers.admin("CREATE TABLE precious ()", NAMES.scratch)

    with pytest.raises(Conflict, match="without our mark"):
        patient.restore()

    assert tables_of(patient.site.dsn, NAMES.scratch) == ["precious"]


def test_another_incidents_scratch_is_left_alone(patient: Patient) -> None:
    other = with_incident(patient, "INC-20260314-030012-ffff")
    restore_beside(other, patient.backup, patient.archive, patient.head(), unfenced)

    patient.restore()

    assert {other.names.scratch, NAMES.scratch} <= patient.databases()


def test_a_corrupt_archive_leaves_production_untouched(patient: Patient) -> None:
    content = bytearray(patient.archive.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    patient.archive.write_bytes(bytes(content))

    with pytest.raises(Malformed, match="pg_restore"):
        patient.restore()

    assert patient.stored() == patient.expected()
    with patient.servers.postgres.connect() as admin:
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        row = admin.execute(query, (NAMES.scratch,)).fetchone()
    assert row is not None
    mark = Mark.of(row[0])
    assert mark is not None
    assert mark.stage is Stage.RESTORING


def test_records_that_no_source_has_are_named_and_nothing_is_swapped(patient: Patient) -> None:
    for segment in (patient.log / "seg").iterdir():
        segment.unlink()
    patient.hurt("DELETE FROM audit_records WHERE seq IN (2100, 2101, 2102, 2500)")

    with pytest.raises(NotProven, match=r"2100\.\.2102, 2500 are in no backup"):
        patient.restore()

    assert NAMES.quarantine not in patient.databases()


def test_without_segments_the_damaged_table_gives_what_the_signed_leaves_prove(
    patient: Patient,
) -> None:
    for segment in (patient.log / "seg").iterdir():
        segment.unlink()
    patient.hurt("UPDATE audit_records SET record = 'x' WHERE seq = 3")

    assert patient.restore().added == SIGNED - BACKUP

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


@pytest.mark.parametrize("seq", [-2, -(10**9)])
def test_a_row_below_zero_takes_no_records_place_and_stops_nothing(
    patient: Patient, seq: int
) -> None:
    for segment in (patient.log / "seg").iterdir():
        segment.unlink()
    patient.hurt("ALTER TABLE audit_records DROP CONSTRAINT audit_records_seq_check")
    patient.hurt(
        "INSERT INTO audit_records (seq, record, leaf, event_type)"
        " SELECT %s, record, leaf, event_type FROM audit_records WHERE seq = %s",
        seq,
        SIGNED - 2,
    )
    patient.restore()
    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


def test_a_row_without_its_record_is_told_as_lost(patient: Patient) -> None:
    for segment in (patient.log / "seg").iterdir():
        segment.unlink()
    patient.hurt("ALTER TABLE audit_records ALTER record DROP NOT NULL")
    patient.hurt("UPDATE audit_records SET record = NULL WHERE seq = %s", SIGNED - 1)
    with pytest.raises(NotProven, match=f"LOST: signed records {SIGNED - 1} "):
        patient.restore()


def test_a_head_that_the_anchor_refuses_is_not_restored_to(patient: Patient) -> None:
    def refuse(head: Head) -> None:
        raise NotProven(f"ROLLBACK: the anchor has more than {head.checkpoint.size}")

    with pytest.raises(NotProven, match="ROLLBACK"):
        restore_beside(
            replace(patient.site, anchored=refuse),
            patient.backup,
            patient.archive,
            patient.head(),
            unfenced,
        )

    assert patient.databases() == {NAMES.production}


def test_a_newer_checkpoint_that_does_not_verify_stops_the_restore(patient: Patient) -> None:
    (patient.log / "checkpoints" / str(SIGNED + 1)).write_text("forged\n\nno signature\n")

    with pytest.raises(NotProven, match="newest checkpoint"):
        patient.restore()

    assert patient.databases() == {NAMES.production}


def test_a_lost_lock_stops_before_the_first_change(patient: Patient) -> None:
    def fence() -> None:
        raise LockLost("a newer holder")

    with pytest.raises(LockLost):
        restore_beside(patient.site, patient.backup, patient.archive, patient.head(), fence)

    assert patient.databases() == {NAMES.production}


def test_who_lost_the_lock_while_the_dump_was_loaded_changes_nothing_in_it(
    patient: Patient,
) -> None:
    def loaded() -> int:
        with patient.servers.postgres.connect(NAMES.scratch) as scratch:
            query = "SELECT count(*) FROM pg_class WHERE relname = 'audit_records'"
            row = scratch.execute(query).fetchone()
            return 0 if row is None else row[0]

    for after in range(2):  # the fences that come once the dump is in
        seen: list[bool] = []

        def fence(after: int = after, seen: list[bool] = seen) -> None:
            seen.append(NAMES.scratch in patient.databases() and loaded() == 1)
            if seen.count(True) > after:
                raise LockLost("a newer holder")

        with pytest.raises(LockLost):
            restore_beside(patient.site, patient.backup, patient.archive, patient.head(), fence)

        assert patient.stored(NAMES.scratch) == patient.expected(0, BACKUP)
        assert "audit_recovery_spare" not in tables_of(patient.site.dsn, NAMES.scratch)
        patient.servers.admin(f"DROP DATABASE {NAMES.scratch} WITH (FORCE)")


def test_a_dropped_table_or_database_is_restored_all_the_same(patient: Patient) -> None:
    patient.hurt("DROP TABLE audit_records CASCADE")
    assert observe(patient.site, SIGNED).table_readable is False
    patient.restore()
    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)

    patient.servers.drop_all()
    assert observe(patient.site, SIGNED).database_exists is False
    patient.restore()
    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)


def test_a_restore_killed_at_any_fence_is_finished_by_the_next_call(patient: Patient) -> None:
    points = [patient.killed("restore", deadly=point) for point in range(1, 7)]

    patient.restore()

    assert points == [*[True] * 5, False]

    assert patient.stored(NAMES.scratch) == patient.expected(0, SIGNED)
    assert patient.stored() == patient.expected()
