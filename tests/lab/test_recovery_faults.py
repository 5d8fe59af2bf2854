"""Faults of backups, archived WAL and the disk: what they do, and what planning makes of them."""

import os
from pathlib import Path

import pytest

from deployments.lab.backup_faults import (
    corrupt_backup,
    disk_full,
    missing_wal,
    tampered_and_backed_up,
)
from deployments.lab.damage import Damage
from deployments.lab.errors import LabError
from deployments.lab.patient import DATABASE
from deployments.lab.s3 import BACKUPS
from deployments.lab.small_disk import SmallDisk, unmount_below
from deployments.lab.stack import Lab, Options
from tasks.domain.backups import Backup, Kind
from tasks.domain.drills import Ending
from tasks.domain.errors import NotProven
from tasks.domain.recovery_target import Target, TargetKind
from tasks.settings import settings
from tasks.work import catalogue, proposing
from tasks.work.drill_ground import ground_of
from tasks.work.drills import drill
from tasks.work.fetching import fetch
from tasks.work.proposing import Proposal

pytestmark = pytest.mark.components

INCIDENT = "INC-20261122-030000-aaaa"
BEFORE = Target(TargetKind.BEFORE_DAMAGE)


def proposed(target: Target) -> Proposal:
    return proposing.propose(INCIDENT, target, catalogue.list_all())


def listed(key: str) -> Backup:
    return next(each for each in catalogue.list_all() if each.key == key)


def assert_the_last_good_one_is_found(damage: Damage, why: str) -> list[str]:
    """The dry run's lines."""
    found = proposed(BEFORE)
    assert found.plan is not None
    assert found.plan.observed["backup"] == damage.good_backup
    for key in damage.bad_backups:
        (line,) = (each for each in found.dry_run if each.startswith(f"passed over: {key}"))
        assert why in line
    return found.dry_run


def test_a_corrupt_backup_keeps_its_good_manifest_and_is_passed_over_by_name(
    patient: Lab, tmp_path: Path
) -> None:
    damage = corrupt_backup(patient)
    (key,) = damage.bad_backups
    bad = listed(key)
    assert bad.trusted
    assert not bad.unusable
    with pytest.raises(NotProven, match="backup corrupt"):
        fetch(bad, tmp_path / "fetched")
    client = patient.objects.client("operator")
    versions = client.list_object_versions(Bucket=BACKUPS, Prefix=key)["Versions"]
    client.close()
    assert len([each for each in versions if each["Key"] == key]) == 2
    assert (len(damage.modified), len(damage.deleted)) == (7, 5)
    assert_the_last_good_one_is_found(damage, "backup corrupt")


@pytest.mark.slow
def test_backups_of_a_tampered_table_are_signed_all_the_same_and_passed_over_by_name(
    patient: Lab, tmp_path: Path
) -> None:
    damage = tampered_and_backed_up(patient)
    assert len(set(damage.bad_backups)) == 2
    for key in damage.bad_backups:
        bad = listed(key)
        assert bad.trusted
        assert fetch(bad, tmp_path / "fetched").stat().st_size == bad.size
    lines = assert_the_last_good_one_is_found(damage, "7 records altered")
    assert any(line.startswith("the damage was done between") for line in lines)


def test_a_lab_without_archive_or_small_disk_has_no_such_faults(patient: Lab) -> None:
    with pytest.raises(LabError, match="archiving"):
        missing_wal(patient)
    with pytest.raises(LabError, match="small disk"):
        disk_full(patient)


def test_only_root_gets_a_small_disk_and_what_was_left_mounted_is_taken_away(
    tmp_path: Path,
) -> None:
    disk = SmallDisk(tmp_path / "small")
    if os.geteuid() != 0:
        with pytest.raises(LabError, match="expected root"):
            disk.mount(2)
        return
    try:
        disk.mount(2)
    except LabError as error:
        pytest.skip(f"nothing may be mounted here: {error}")
    assert disk.free_bytes() <= 2 * 1024 * 1024
    with pytest.raises(OSError, match="No space left"):
        (disk.path / "file").write_bytes(bytes(3 * 1024 * 1024))
    disk.grow(8)
    (disk.path / "file").write_bytes(bytes(3 * 1024 * 1024))
    unmount_below(tmp_path / "elsewhere")
    assert os.path.ismount(disk.path)
    unmount_below(tmp_path)
    assert not os.path.ismount(disk.path)
    assert list(disk.path.iterdir()) == []


@pytest.mark.slow
def test_a_missing_wal_segment_is_named_by_plan_and_drill_with_the_latest_moment_before_it() -> (
    None
):
    options = Options(records=2000, prefect=False, checked_per_second=0, archiving=True)
    with Lab(options) as lab:
        damage = missing_wal(lab)
        with lab.patient.connect(DATABASE) as connection:
            gone = connection.execute(
                "SELECT to_regclass('audit_records'), (SELECT count(*) FROM annotations)"
            ).fetchone()
        assert gone is not None
        assert gone[0] is None
        assert damage.annotations
        assert damage.annotations_later
        base = next(each for each in catalogue.list_all() if each.kind is Kind.BASE)
        assert base.wal_hole == damage.segment
        assert damage.at is not None
        assert base.covers_until is not None
        assert base.covers_until < damage.at

        found = proposed(Target(TargetKind.TIME, time=damage.at))
        assert found.plan is not None
        assert found.plan.observed["backup"] == base.key
        assert found.plan.observed["replay_to"] == base.covers_until.isoformat()
        assert any(damage.segment in line and "latest moment" in line for line in found.dry_run)

        drilled = drill(base, ground_of(settings()), progress=lambda *_: None)
        assert drilled.ending is Ending.FAILED
        assert damage.segment in drilled.reason
