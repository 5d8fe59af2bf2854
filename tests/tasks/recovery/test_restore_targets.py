"""The right backup is found by looking into real ones, and what comes back of it is proven."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from deployments.lab.postgres import binaries
from tasks.clients.dump_tools import dump_database
from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.backups import Backup
from tasks.domain.errors import NotProven, Refused
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.restore_choice import Choice
from tasks.sections.systems import ApiSettings
from tasks.work import planning
from tasks.work.looking import looking
from tasks.work.restore import restore_beside
from tasks.work.sealing import seal
from tests.tasks.recovery.conftest import BACKUP, NAMES, SIGNED, SIGNER, SIZE, Patient, unfenced

pytestmark = pytest.mark.components

NOBODY = ApiSettings(url="http://127.0.0.1:9", timeout_seconds=1)
START = datetime(2026, 3, 14, 2, tzinfo=UTC)
BEFORE = Target(TargetKind.BEFORE_DAMAGE)
TAMPERING = "UPDATE audit_records SET record = record || ' ' WHERE seq = 7"


@dataclass
class Shelf:
    """Signed backups of the patient, a day apart, as they were taken during a test."""

    patient: Patient
    directory: Path
    files: dict[str, Path] = field(default_factory=dict)
    backups: list[Backup] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def add(self, file: Path, log_size: int) -> Backup:
        number = len(self.backups)
        content = file.read_bytes()
        backup = Backup(
            f"database/{number}.dump",
            len(content),
            sha256(content).hexdigest(),
            log_size,
            START + timedelta(days=number),
            trusted=True,
        )
        self.files[backup.key] = file
        self.backups.append(backup)
        return backup

    def back_up(self, log_size: int = SIGNED) -> Backup:
        """As the patient is now, tampering included."""
        target = self.directory / f"{len(self.backups)}.dump"
        dsn = self.patient.servers.postgres.dsn("sealer", NAMES.production)
        dump_database(dsn, target, timeout_seconds=60, binaries=binaries())
        return self.add(target, log_size)

    def look(self, target: Target) -> planning.Situation:
        inside = looking(self.patient.site, self.patient.head(), self.fetch)
        return planning.look(self.patient.site, self.backups, NOBODY, target, inside)

    def fetch(self, backup: Backup, _: Path) -> Path:
        self.fetched.append(backup.key)
        if backup.key in self.fails:
            raise self.fails[backup.key]
        return self.files[backup.key]

    def restored(self, choice: Choice) -> list[tuple[int, bytes, bytes]]:
        """What stands in the proven scratch database."""
        restore_beside(
            self.patient.site,
            choice.backup,
            self.files[choice.backup.key],
            self.patient.head(),
            unfenced,
        )
        return self.patient.stored(NAMES.scratch)[:SIGNED]


@pytest.fixture
def shelf(patient: Patient, tmp_path: Path) -> Shelf:
    """The backup at 2,000 records, which is clean."""
    made = Shelf(patient, tmp_path)
    made.add(patient.archive, BACKUP)
    return made


def test_the_newest_backups_contain_the_tampering_and_the_last_good_one_is_found(
    shelf: Shelf,
) -> None:
    good = shelf.back_up()
    shelf.patient.hurt(TAMPERING)
    bad = [shelf.back_up(), shelf.back_up()]

    found = shelf.look(BEFORE)

    assert found.choice.backup == good
    assert found.choice.bracket == (
        "the damage was done between 2026-03-15 02:00:00Z and 2026-03-16 02:00:00Z"
    )
    assert {each.key for each in found.choice.passed_over} == {each.key for each in bad}
    assert "1 records altered (7)" in found.choice.passed_over[0].why
    assert shelf.restored(found.choice) == shelf.patient.expected(0, SIGNED)


def test_a_backup_from_which_the_table_was_dropped_or_that_is_cut_off_is_passed_over(
    shelf: Shelf,
) -> None:
    shelf.patient.hurt("DROP TABLE audit_records CASCADE")
    dropped = shelf.back_up()
    torn = shelf.directory / "torn.dump"
    torn.write_bytes(shelf.patient.archive.read_bytes()[:5_000])
    shelf.add(torn, SIGNED)

    found = shelf.look(Target())

    assert found.choice.backup.key == "database/0.dump"
    whys = {each.key: each.why for each in found.choice.passed_over}
    assert "no audit log" in whys[dropped.key]
    assert "unreadable" in whys["database/2.dump"]


def test_if_every_backup_is_poisoned_the_newest_is_mended_and_the_result_is_proven(
    shelf: Shelf,
) -> None:
    shelf.backups.clear()
    shelf.patient.hurt(TAMPERING)
    shelf.back_up()
    newest = shelf.back_up()

    found = shelf.look(BEFORE)

    assert (found.choice.backup, found.choice.mended) == (newest, True)
    assert "replaced from sealed segments" in found.choice.note
    assert shelf.restored(found.choice) == shelf.patient.expected(0, SIGNED)


def test_a_restore_to_a_size_takes_the_newest_backup_below_it_and_the_log_comes_back_whole(
    shelf: Shelf,
) -> None:
    newer = shelf.back_up()

    found = shelf.look(Target(TargetKind.SIZE, size=SIGNED - 1))

    assert found.choice.backup.key == "database/0.dump"
    assert shelf.look(Target(TargetKind.SIZE, size=SIGNED)).choice.backup == newer
    assert (found.numbers.from_backup, found.numbers.from_segments) == (BACKUP, SIGNED - BACKUP)
    assert shelf.restored(found.choice) == shelf.patient.expected(0, SIGNED)
    with pytest.raises(NotProven, match="for the target size:10"):
        shelf.look(Target(TargetKind.SIZE, size=10))


def test_a_time_that_only_dumps_reach_is_answered_with_what_is_as_of_when(shelf: Shelf) -> None:
    shelf.back_up()
    noon = START + timedelta(hours=10)

    found = shelf.look(Target(TargetKind.TIME, time=noon))

    assert found.choice.backup.key == "database/0.dump"
    assert "as of 2026-03-14 02:00:00Z, when the dump was taken" in found.choice.tables
    assert "not as of 2026-03-14 12:00:00Z" in found.choice.tables
    assert found.observed["target"] == "2026-03-14 12:00:00Z"


def test_rows_beyond_the_signed_head_poison_nothing(shelf: Shelf) -> None:
    tail = shelf.back_up(SIGNED)  # it holds the unsigned tail as well
    found = shelf.look(Target())
    assert found.choice.backup == tail
    assert found.choice.contents is not None
    assert found.choice.contents.beyond == SIZE - SIGNED


def test_what_was_chosen_yesterday_is_looked_at_against_todays_head(shelf: Shelf) -> None:
    shelf.patient.hurt("UPDATE audit_records SET record = record || ' ' WHERE seq = %s", SIGNED + 3)
    shelf.back_up()
    assert shelf.look(Target()).choice.backup.key == "database/1.dump"  # nobody has signed it yet
    shelf.patient.hurt(
        "UPDATE audit_records SET record = rtrim(convert_from(record, 'UTF8'))::bytea"
        " WHERE seq = %s",
        SIGNED + 3,
    )
    dsn = shelf.patient.servers.postgres.dsn("sealer", NAMES.production)
    seal(dsn, shelf.patient.site.log, SIGNER, shelf.patient.site.trust)
    assert shelf.look(Target()).choice.backup.key == "database/0.dump"


def test_a_target_is_part_of_what_must_still_be_so(shelf: Shelf) -> None:
    latest, before = shelf.look(Target()).observed, shelf.look(BEFORE).observed
    assert {name for name in latest if latest[name] != before[name]} == {"target"}


def test_a_disk_without_room_is_found_before_anything_begins(shelf: Shelf) -> None:
    huge = replace(shelf.backups[0], size=1 << 60)
    shelf.backups[0] = huge
    before = shelf.patient.databases()
    with pytest.raises(Refused, match="nothing was begun"):
        shelf.look(Target())
    assert shelf.patient.databases() == before
    assert shelf.fetched == []


@pytest.mark.parametrize("error", [Conflict, Refused, Denied, NotFound, Malformed, NotProven])
def test_a_backup_that_cannot_be_had_is_passed_over_and_the_next_one_is_looked_into(
    shelf: Shelf, error: type[Exception]
) -> None:
    newer = shelf.add(shelf.patient.archive, SIGNED)
    shelf.fails[newer.key] = error("replaced while it was read")

    found = shelf.look(Target())

    assert found.choice.backup.key == "database/0.dump"
    assert [(each.key, each.why) for each in found.choice.passed_over] == [
        (newer.key, "unreadable: replaced while it was read")
    ]


def test_a_store_that_does_not_answer_is_no_reason_to_take_an_older_backup(shelf: Shelf) -> None:
    shelf.fails[shelf.add(shelf.patient.archive, SIGNED).key] = Transient("time ran out")
    with pytest.raises(Transient):
        shelf.look(Target())
