"""A plan never says less is lost than is lost, of the log or of other tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backups import Backup, Kind
from tasks.domain.recovery_plan import RECONCILE, dry_run, plan_database_recovery
from tasks.domain.recovery_target import Target
from tasks.domain.restore import RestoreNumbers, database_names, plan_numbers
from tasks.domain.restore_choice import Choice
from tasks.domain.restore_estimate import Estimate
from tasks.domain.restore_loss import keeps_to_target

TAKEN = datetime(2026, 11, 26, 2, tzinfo=UTC)
WANTED = "2026-11-26 14:05Z"
DUMP = Backup("d26", 10, "ab" * 32, 900, TAKEN, trusted=True)
BASE = replace(DUMP, key="base/1", kind=Kind.BASE, log_size=0)
CLEAN = Contents(Inside.CLEAN, 900)
WHOLE = plan_numbers(900, 1000, 1000, 0, 1000)
GONE = plan_numbers(900, 1000, 0, 0, 1000, table_readable=False, database_exists=False)
NEEDED = Estimate(40.0, 90_000_000, 300_000_000)


def at(text: str, backup: Backup = DUMP, replayed_to: datetime | None = None) -> Choice:
    contents = None if backup.kind is Kind.BASE else CLEAN
    return Choice(backup, Target.parse(text), contents, replay_to=replayed_to)


def lost(choice: Choice, numbers: RestoreNumbers = WHOLE) -> tuple[str, str]:
    """What the plan says is lost, and what it does to other tables."""
    names = database_names("rlhf_audit", "INC-1")
    plan = plan_database_recovery("INC-1", choice, names, numbers, {}, TAKEN)
    (step,) = (each for each in plan.steps if each.step == RECONCILE)
    return plan.will_be_lost, step.action


@pytest.mark.parametrize("target", ["latest", "before-damage", WANTED, "size:900"])
def test_without_the_living_database_every_newer_row_is_lost_and_no_list_names_it(
    target: str,
) -> None:
    said, action = lost(at(target), GONE)
    assert "nothing" not in said
    assert (
        "every change of other tables after the dump of 2026-11-26 02:00:00Z is lost and on no "
        "list: the living database is gone"
    ) in said
    assert action.startswith("leave other tables as of the dump of 2026-11-26 02:00:00Z: ")


@pytest.mark.parametrize("target", ["latest", "before-damage"])
def test_with_the_living_database_rows_come_over_and_the_others_are_listed(target: str) -> None:
    said, action = lost(at(target))
    assert said.startswith("no record: every acknowledged one is under the signed head; ")
    assert "what no rule carries over is lost, and on the signed list" in said
    assert action.startswith("carry newer rows of other tables over by rule")


@pytest.mark.parametrize("target", [WANTED, "size:950"])
def test_rows_between_the_dump_and_the_target_are_lost_and_that_is_said(target: str) -> None:
    choice = at(target)
    said, action = lost(choice)
    assert (
        "every change of other tables after the dump of 2026-11-26 02:00:00Z is left out and on "
        f"the signed list, those up to {choice.target} as well"
    ) in said
    assert action.startswith(
        "leave other tables as of the dump of 2026-11-26 02:00:00Z, short of the target"
    )


def test_wal_that_ends_before_the_target_leaves_rows_out_as_well() -> None:
    said, action = lost(at(WANTED, BASE, TAKEN + timedelta(hours=3)))
    assert "after 2026-11-26 05:00:00Z is left out" in said
    assert "as well" in said
    assert "short of the target" in action


@pytest.mark.parametrize(
    "choice",
    [
        at(WANTED, BASE, Target.parse(WANTED).time),
        at("2026-11-26 02:00Z"),
    ],
    ids=["wal", "dump"],
)
def test_a_moment_that_is_reached_is_said_to_be_the_target(choice: Choice) -> None:
    said, action = lost(choice)
    assert "left out, as was chosen, and on the signed list" in said
    assert action.startswith("leave other tables as of the target, with a signed list")


def test_a_dump_whose_time_nobody_knows_is_called_that() -> None:
    said, _ = lost(at("latest", replace(DUMP, taken_at=None)), GONE)
    assert "after the dump, whose time nobody knows, is lost" in said


def test_replaying_wal_says_that_damage_before_the_moment_comes_back() -> None:
    choice = at(WANTED, BASE, Target.parse(WANTED).time)
    names = database_names("rlhf_audit", "INC-1")
    numbers = plan_numbers(0, 1000, 1000, 0, 1000)
    summary = plan_database_recovery("INC-1", choice, names, numbers, {}, TAKEN).summary
    warned = "done up to 2026-11-26 14:05:00Z, damage included"
    lines = dry_run(1, 0, choice, numbers, 1000, NEEDED)

    assert warned in summary
    assert any(warned in line for line in lines)
    for text in (summary, *lines):
        assert "0 records from base/1" not in text
    assert "of 1000 signed records those that base/1 and its WAL bring" in summary
    assert not any(
        "damage included" in line for line in dry_run(1, 0, at("latest"), WHOLE, 1, NEEDED)
    )


@pytest.mark.parametrize(
    ("target", "keeps"),
    [("latest", False), ("before-damage", False), (WANTED, True), ("size:900", True)],
)
def test_a_moment_that_a_person_chose_is_kept_to(target: str, *, keeps: bool) -> None:
    assert keeps_to_target(Target.parse(target)) is keeps
