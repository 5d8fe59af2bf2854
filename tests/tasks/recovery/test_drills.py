"""Restore drills on real servers: what passes, what fails and why, what is left behind."""

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.lab.environment import PROJECT
from tasks.clients.errors import Denied, NotFound
from tasks.clients.instance_limits import Limits
from tasks.domain.backups import Backup, Kind
from tasks.domain.drills import Against, Ending, Phase
from tasks.domain.ledger import Code
from tasks.work.anchors import AnchorBroken
from tasks.work.drill_steps import record_time
from tasks.work.drills import drill
from tasks.work.log_heads import Head
from tasks.work.log_store import DirectoryLog
from tasks.work.scratch import alone
from tasks.work.sealing import seal
from tests.room import open_place
from tests.tasks.recovery.conftest import (
    BACKUP,
    NAMES,
    SIGNED,
    SIGNER,
    SIZE,
    TRUST,
    Patient,
    dumped,
)
from tests.tasks.recovery.drilling import Drilling

pytestmark = pytest.mark.components


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of this test's own, whose path is short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="d-", dir=open_place()))
    made.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def drilling(patient: Patient, room: Path) -> Drilling:
    return Drilling(patient.log, patient.archive, room)


@pytest.fixture
def backup(patient: Patient) -> Backup:
    return replace(patient.backup, trusted=True)


def test_a_good_backup_passes_with_its_times_and_ages_measured(
    patient: Patient, drilling: Drilling, backup: Backup
) -> None:
    last, signed = (record_time(patient.genuine[size - 1].record) for size in (BACKUP, SIGNED))
    assert last
    assert signed
    drilling.acknowledged = signed + timedelta(seconds=90)
    result = drilling.drill(backup)
    assert result.ending is Ending.PASSED, result.reason
    assert (result.records, result.signed, result.added) == (BACKUP, SIGNED, SIGNED - BACKUP)
    assert result.identity == patient.backup.sha256
    assert result.root == patient.head().checkpoint.root.hex()
    assert [phase for phase, seconds in result.phases if seconds > 0] == list(Phase)
    assert result.rto == pytest.approx(sum(seconds for _, seconds in result.phases), abs=0.005)
    assert (result.rpo.seconds, result.rpo.against) == (90.0, Against.ACKNOWLEDGED)
    assert result.rpo.alone == (signed - last).total_seconds() + 90
    assert result.notes == ()  # among them would be a check that could not be made
    assert drilling.left_behind() == []
    assert drilling.running() == set()


def test_without_the_writers_word_age_is_measured_from_the_start_of_the_drill(
    patient: Patient, drilling: Drilling, backup: Backup
) -> None:
    result = drilling.drill(backup)
    signed = record_time(patient.genuine[SIGNED - 1].record)
    assert signed
    assert result.rpo.against is Against.START
    assert result.rpo.seconds == (result.at - signed).total_seconds()
    assert datetime.now(UTC) - result.at < timedelta(minutes=5)


def test_the_phases_are_told_in_their_order_and_proving_says_how_far_it_is(
    drilling: Drilling, backup: Backup
) -> None:
    drilling.drill(backup)
    assert list(dict.fromkeys(phase for phase, _, _ in drilling.told)) == list(Phase)
    assert (Phase.PROVE, SIGNED, SIGNED) in drilling.told


def test_sealing_that_goes_on_meanwhile_fails_no_drill(
    patient: Patient, drilling: Drilling, backup: Backup
) -> None:
    dsn = patient.servers.postgres.dsn("sealer", NAMES.production)

    def seal_more(phase: Phase, _done: int, _due: int) -> None:
        if phase is Phase.LOAD:
            assert seal(dsn, DirectoryLog(patient.log), SIGNER, TRUST).checkpoint.size == SIZE

    result = drill(backup, drilling.ground(), progress=seal_more)
    assert result.ending is Ending.PASSED, result.reason
    assert (result.signed, patient.head().checkpoint.size) == (SIGNED, SIZE)


def test_a_table_of_our_spare_rows_name_in_the_backup_fails_no_drill(
    patient: Patient, drilling: Drilling, tmp_path: Path
) -> None:
    patient.hurt("CREATE TABLE audit_recovery_spare (anything int)")
    patient.hurt("ALTER TABLE audit_recovery_spare OWNER TO audit_owner")
    patient.hurt("GRANT SELECT ON audit_recovery_spare TO PUBLIC")
    made, drilling.archive = dumped(patient, NAMES.production, tmp_path)
    result = drilling.drill(replace(made, log_size=SIGNED, trusted=True))
    assert result.ending is Ending.PASSED, result.reason


def test_a_backup_whose_place_does_not_answer_is_not_said_to_be_bad(
    drilling: Drilling, backup: Backup
) -> None:
    result = drilling.drill(replace(backup, unusable="cannot be listed: no answer", away=True))
    assert (result.ending, result.phases) == (Ending.UNKNOWN, ())
    assert "cannot be listed" in result.reason


def test_a_row_that_a_failed_drill_met_is_quoted_to_nobody(
    patient: Patient, drilling: Drilling, tmp_path: Path
) -> None:
    """A row that its own table refuses when it is loaded again."""
    patient.hurt("CREATE TABLE people (name text)")
    patient.hurt("ALTER TABLE people OWNER TO audit_owner")
    patient.hurt("GRANT SELECT ON people TO PUBLIC")
    patient.hurt("INSERT INTO people VALUES ('Ada Canary +49 151 5550199')")
    patient.hurt("ALTER TABLE people ADD CONSTRAINT c CHECK (name = 'x') NOT VALID")
    patient.hurt("UPDATE pg_constraint SET convalidated = true WHERE conname = 'c'")
    made, drilling.archive = dumped(patient, NAMES.production, tmp_path)
    for backup in (
        replace(made, log_size=SIGNED, trusted=True),
        replace(made, sha256="", log_size=0),
    ):
        result = drilling.drill(backup)
        assert (result.ending, result.during) == (Ending.FAILED, Phase.LOAD), result.reason
        assert "Canary" not in result.summary()
        assert "Canary" not in str(result.as_json())


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive", "empty"])
def test_a_damaged_archive_fails_with_the_reason(
    patient: Patient, drilling: Drilling, damage: str, backup: Backup
) -> None:
    content = bytearray(patient.archive.read_bytes())
    middle = len(content) // 2
    if damage == "cut":
        content = content[:middle]
    elif damage == "flipped":
        content[middle : middle + 64] = bytes(64)
    else:
        content = bytearray(b"DROP DATABASE rlhf_audit;\n" if damage == "no archive" else b"")
    patient.archive.write_bytes(content)
    result = drilling.drill(backup)
    assert result.ending is Ending.FAILED
    assert result.reason
    assert [phase for phase, _ in result.phases][:2] == [Phase.FETCH, Phase.LOAD]
    assert result.proof is None
    assert drilling.left_behind() == []


def test_a_backup_that_the_catalogue_calls_unusable_fails_before_anything_is_started(
    drilling: Drilling, backup: Backup
) -> None:
    result = drilling.drill(replace(backup, unusable="bad manifest: no signature"))
    assert result.ending is Ending.FAILED
    assert "bad manifest: no signature" in result.reason
    assert Phase.LOAD not in dict(result.phases)


def test_tampering_that_has_reached_the_backup_is_found_and_named(
    patient: Patient, drilling: Drilling, tmp_path: Path
) -> None:
    patient.hurt("UPDATE audit_records SET record = record || ' ' WHERE seq IN (7, 8)")
    patient.hurt("DELETE FROM audit_records WHERE seq = 1900")
    made, drilling.archive = dumped(patient, NAMES.production, tmp_path)
    result = drilling.drill(replace(made, log_size=SIGNED, trusted=True))
    assert result.ending is Ending.FAILED
    assert (result.altered, result.where) == (3, "7..8, 1900")
    assert result.poisoned
    assert result.reason.startswith("poisoned: 2 of its records")
    assert result.root == patient.head().checkpoint.root.hex()  # segments mend it all the same


def test_records_that_neither_backup_nor_segments_have_fail_the_drill(
    patient: Patient, drilling: Drilling, backup: Backup
) -> None:
    for segment in (patient.log / "seg").rglob("*"):
        if segment.is_file():
            segment.unlink()
    result = drilling.drill(backup)
    assert result.ending is Ending.FAILED
    assert f"LOST: signed records {BACKUP}..{SIGNED - 1}" in result.reason


def test_a_backup_that_grants_the_system_nothing_fails(
    patient: Patient, drilling: Drilling, tmp_path: Path
) -> None:
    patient.hurt("REVOKE INSERT ON audit_records FROM audit_api")
    made, drilling.archive = dumped(patient, NAMES.production, tmp_path)
    result = drilling.drill(replace(made, log_size=SIGNED, trusted=True))
    assert result.ending is Ending.FAILED
    assert "audit_api: INSERT" in result.reason


def test_a_dump_of_another_database_fails(
    patient: Patient, drilling: Drilling, tmp_path: Path
) -> None:
    patient.hurt("DROP TABLE audit_records CASCADE")
    made, drilling.archive = dumped(patient, NAMES.production, tmp_path)
    result = drilling.drill(replace(made, log_size=SIGNED, trusted=True))
    assert result.ending is Ending.FAILED
    assert "expected table public.audit_records" in result.reason


def test_what_is_wrong_with_us_or_the_log_says_nothing_about_the_backup(
    drilling: Drilling, tmp_path: Path, backup: Backup
) -> None:
    def broken(_head: Head) -> None:
        raise AnchorBroken(Code.ROLLBACK, "the head is older than the anchor")

    def refused(*_: object) -> Path:
        raise Denied("the key may not read backups")

    ground = drilling.ground()
    for other in (
        replace(ground, anchored=broken),
        replace(ground, fetch=refused),
        replace(ground, binaries=tmp_path),
        replace(ground, log=DirectoryLog(tmp_path / "no-log")),
    ):
        result = drilling.drill(backup, other)
        assert result.ending is Ending.UNKNOWN, result.reason
    for other_backup in (
        replace(backup, log_size=SIGNED + 1),
        replace(backup, kind=Kind.REPOSITORY),
    ):
        assert drilling.drill(other_backup).ending is Ending.UNKNOWN
    assert drilling.left_behind() == []


def test_a_backup_that_is_gone_fails(drilling: Drilling, backup: Backup) -> None:
    def gone(*_: object) -> Path:
        raise NotFound("no such object")

    result = drilling.drill(backup, replace(drilling.ground(), fetch=gone))
    assert (result.ending, result.reason) == (Ending.FAILED, "no such object")


def test_an_instance_that_takes_too_much_is_stopped_and_wiped(
    drilling: Drilling, backup: Backup
) -> None:
    ground = replace(drilling.ground(), limits=Limits(disk_bytes=1024 * 1024))

    def wait(phase: Phase, _done: int, due: int) -> None:
        if phase is Phase.PROVE and not due:
            time.sleep(1.5)  # it is looked at twice a second

    result = drill(backup, ground, progress=wait)
    assert result.ending is Ending.UNKNOWN
    assert "expected at most 1048576 bytes on disk" in result.reason
    assert drilling.left_behind() == []
    assert drilling.running() == set()


def test_what_a_killed_drill_leaves_is_gone_after_the_next(
    patient: Patient, drilling: Drilling, backup: Backup
) -> None:
    killed = [sys.executable, "-m", "tests.tasks.recovery.killed_drill"]
    arguments = [str(patient.log), str(patient.archive), Phase.PROVE.value]
    ended = subprocess.run([*killed, *arguments], cwd=PROJECT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert drilling.left_behind() != []
    assert drilling.drill(backup).ending is Ending.PASSED
    assert drilling.left_behind() == []
    assert drilling.running() == set()


def test_of_two_drills_at_once_one_waits_or_is_refused(drilling: Drilling, backup: Backup) -> None:
    inside, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with alone("drill"):
            inside.set()
            may_end.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(60)
    refused = drilling.drill(backup)
    assert refused.ending is Ending.UNKNOWN
    assert "expected no other drill at work" in refused.reason
    threading.Timer(0.5, may_end.set).start()
    waited = drill(backup, drilling.ground(), progress=lambda *_: None, wait_seconds=60)
    other.join()
    assert waited.ending is Ending.PASSED


def test_a_dump_that_nobody_vouches_for_is_screened_and_drilled_without_production(
    patient: Patient, drilling: Drilling, backup: Backup, tmp_path: Path
) -> None:
    patient.hurt("CREATE FUNCTION hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    made, drilling.archive = dumped(patient, NAMES.production, tmp_path)
    result = drilling.drill(replace(made, sha256="", log_size=0))
    assert result.ending is Ending.PASSED, result.reason
    assert any("hidden" in note for note in result.notes)
    assert result.identity not in {"", backup.sha256}
