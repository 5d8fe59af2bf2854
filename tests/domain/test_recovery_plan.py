"""The plan of a database recovery: exact, bound by its hash, and it destroys nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backups import Backup, Kind
from tasks.domain.holds import covers, is_within
from tasks.domain.plan import Plan
from tasks.domain.recovery_plan import (
    NOT_BROUGHT,
    CARRY_OVER,
    RECONCILE,
    RESTORE,
    SWAP,
    dry_run,
    plan_database_recovery,
)
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.restore import database_names, plan_numbers
from tasks.domain.restore_choice import Choice, PassedOver
from tasks.domain.restore_estimate import Basis, Estimate

INCIDENT = "INC-20260314-030012-a1b2"
EXPIRES = datetime(2026, 3, 14, 4, tzinfo=UTC)
TAKEN = datetime(2026, 3, 14, 2, tzinfo=UTC)
BACKUP = Backup("database/2026-03-14.dump", 9_120_455, "ab" * 32, 900, TAKEN, trusted=True)
CLEAN = Contents(Inside.CLEAN, size=900)
CHOICE = Choice(BACKUP, contents=CLEAN)
NEEDED = Estimate(40.0, 90_000_000, 300_000_000, Basis.OWN_DRILL)
NAMES = database_names("rlhf_audit", INCIDENT)
OBSERVED = {"production_oid": 16_400, "signed_size": 1000, "signed_root": "cd" * 32}
NUMBERS = plan_numbers(BACKUP.log_size, 1000, table_end=1020, table_tail=18, acknowledged=1020)


def plan(**changes: Any) -> Plan:
    known: dict[str, Any] = {
        "incident": INCIDENT,
        "choice": CHOICE,
        "names": NAMES,
        "numbers": NUMBERS,
        "observed": OBSERVED,
        "expires_at": EXPIRES,
    }
    return plan_database_recovery(**(known | changes))


def test_the_steps_come_in_the_order_that_leaves_production_until_last() -> None:
    assert [step.step for step in plan().steps] == [RESTORE, CARRY_OVER, RECONCILE, SWAP]
    beside = "database/rlhf_audit/restore"
    assert [step.target for step in plan().steps] == [*[beside] * 3, "database/rlhf_audit"]
    assert all(NAMES.scratch in step.action for step in plan().steps)


def test_a_hold_on_what_any_step_changes_keeps_the_one_door_of_the_plan_closed() -> None:
    for step in plan().steps:
        assert covers(step.target, "database/rlhf_audit")
        assert is_within(step.target, "database/rlhf_audit")  # glass over it frees every step


def test_no_step_destroys_anything() -> None:
    assert all(step.destroys.startswith("nothing") for step in plan().steps)
    assert NAMES.quarantine in plan().steps[-1].action


def test_a_person_reads_backup_numbers_and_loss() -> None:
    summary = plan().summary
    for words in ("900 records", BACKUP.key, "100 from sealed segments"):
        assert words in summary
    assert BACKUP.sha256[:12] in plan().steps[0].action
    assert plan().will_be_lost.startswith(NUMBERS.will_be_lost)
    assert "known now: 2" in plan().will_be_lost
    assert "1000..1019" in plan().will_be_lost


def test_a_log_whose_head_covers_all_loses_nothing() -> None:
    covered = plan_numbers(BACKUP.log_size, 1000, table_end=1000, table_tail=0, acknowledged=1000)
    assert plan(numbers=covered).will_be_lost.startswith("no record: every acknowledged one")


def test_at_least_one_person_must_say_yes() -> None:
    assert plan().approvers_needed == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"incident": "INC-20260314-030012-a1b3"},
        {"choice": Choice(replace(BACKUP, sha256="ac" * 32))},
        {"choice": Choice(replace(BACKUP, key="database/other.dump"))},
        {"choice": replace(CHOICE, target=Target(TargetKind.BEFORE_DAMAGE))},
        {"choice": replace(CHOICE, replay_to=EXPIRES)},
        {"choice": replace(CHOICE, mended=True)},
        {"names": database_names("rlhf_audit", "INC-20260314-030012-ffff")},
        {"numbers": replace(NUMBERS, lost_at_most=3)},
        {"numbers": replace(NUMBERS, size_after=1021)},
        {"observed": OBSERVED | {"production_oid": 16_401}},
        {"observed": OBSERVED | {"signed_root": "ce" * 32}},
        {"expires_at": EXPIRES + timedelta(microseconds=1)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_changes_the_hash_that_a_person_approves(changes: dict[str, Any]) -> None:
    assert plan(**changes).hash != plan().hash


def test_the_plan_is_the_same_after_the_journal() -> None:
    assert Plan.from_json(plan().as_json()).hash == plan().hash


def test_a_dry_run_says_what_was_found_and_what_would_be_left() -> None:
    passed = (PassedOver("database/2026-03-15.dump", "poisoned: 1 records altered (7)"),)
    choice = replace(
        CHOICE,
        target=Target(TargetKind.BEFORE_DAMAGE),
        passed_over=passed,
        poisoned_at=TAKEN + timedelta(days=1),
    )
    assert dry_run(3, 1, choice, NUMBERS, 1000, NEEDED) == [
        "3 backups found, 1 of them unusable",
        "target: before-damage; chosen: database/2026-03-14.dump, inside it is clean",
        "passed over: database/2026-03-15.dump: poisoned: 1 records altered (7)",
        "the damage was done between 2026-03-14 02:00:00Z and 2026-03-15 02:00:00Z",
        (
            "the audit log is complete to its signed head; the other tables are as of 2026-03-14 "
            "02:00:00Z, when the dump was taken"
        ),
        "would carry newer rows of other tables over by rule, with a signed list of the others",
        "signed head: 1000 records; it contradicts no anchor that was kept",
        "would restore 900 records from database/2026-03-14.dump, 100 from sealed segments",
        "would carry over up to 20 unsigned records, 2 missing now",
        "size afterwards: 1020 records; no seq is used twice",
        (
            "it takes about 40 s to the proof (as this backup's own drill took), then the "
            "carry-over, other tables and the swap; 90 MB of disk here, 300 MB on the database "
            "server"
        ),
        *NOT_BROUGHT,
    ]
    assert "replication slots" in " ".join(NOT_BROUGHT)
    gone = replace(NUMBERS, database_exists=False)
    assert not set(NOT_BROUGHT) & set(dry_run(3, 1, choice, gone, 1000, NEEDED))


def test_a_plan_says_what_is_as_of_when_and_by_which_way() -> None:
    assert "The audit log is complete to its signed head; the other tables" in plan().summary
    base = replace(BACKUP, key="base/1", kind=Kind.BASE)
    replayed = plan(choice=Choice(base, replay_to=TAKEN))
    assert "and its WAL to 2026-03-14 02:00:00Z in a throw-away" in replayed.steps[0].action
    unsigned = plan(choice=Choice(replace(BACKUP, trusted=False, sha256="")))
    assert "(no digest) through a throw-away instance" in unsigned.steps[0].action
    assert "mended" in plan(choice=replace(CHOICE, mended=True)).steps[0].action
