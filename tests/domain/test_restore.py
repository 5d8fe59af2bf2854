"""Which backup is chosen, what manifests and keys are refused, and the plan's numbers."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.domain.backups import Backup, key_within, read_manifest
from tasks.domain.errors import BadInput
from tasks.domain.recovery_plan import dry_run, plan_database_recovery
from tasks.domain.restore import database_names, incident_suffix, plan_numbers
from tasks.domain.restore_choice import Choice
from tasks.domain.restore_estimate import Estimate

AT = datetime(2026, 3, 14, 2, 0, tzinfo=UTC)
NEEDED = Estimate(40.0, here_bytes=1, server_bytes=1)
GOOD = Backup("database/daily/a.dump", 9_000, "ab" * 32, 42_000, AT, trusted=True)


def backup(name: str, log_size: int, unusable: str = "") -> Backup:
    return replace(GOOD, key=f"database/{name}.dump", log_size=log_size, unusable=unusable)


def test_a_manifest_reads_back_as_the_backup_it_was_made_of() -> None:
    assert read_manifest(GOOD.manifest_text(), GOOD.key) == GOOD


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rlhf-audit-backup/v1", "rlhf-audit-backup/v2", "headed"),
        ("a.dump", "b.dump", "another file"),
        ("ab" * 32, "AB" * 32, "SHA-256"),
        ("9000", "9_000", "whole numbers"),
        ("42000", "-1", "whole numbers"),
        ("42000", "9" * 19, "whole numbers"),
        ("2026-03-14T02:00:00+00:00", "yesterday", "a time"),
        ("2026-03-14T02:00:00+00:00", "2026-03-14T02:00:00", "zone"),
        ("\n9000", "\n9000\n9000", "six lines"),
    ],
)
def test_a_manifest_that_differs_from_the_format_is_refused(old: str, new: str, said: str) -> None:
    text = GOOD.manifest_text().replace(old, new)

    with pytest.raises(BadInput, match=said):
        read_manifest(text, GOOD.key)


@pytest.mark.parametrize(
    "key",
    [
        "other/a.dump",
        "database/",
        "database/../secrets.dump",
        "database//a.dump",
        "database/./a.dump",
        "database/a\x00.dump",
        "database/a\nb.dump",
        "database/..\\a.dump",
        "database/" + "a" * 1100,
        "/database/a.dump",
    ],
)
def test_a_key_that_points_outside_the_prefix_is_refused(key: str) -> None:
    with pytest.raises(BadInput, match="refused"):
        key_within("database/", key)


def test_a_plain_key_gives_its_name_below_the_prefix() -> None:
    assert key_within("database/", "database/daily/a.dump") == "daily/a.dump"


def test_numbers_count_backup_segments_and_the_unsigned_tail() -> None:
    numbers = plan_numbers(
        GOOD.log_size, 50_000, table_end=50_600, table_tail=598, acknowledged=50_603
    )

    assert (numbers.from_backup, numbers.from_segments) == (42_000, 8_000)
    assert (numbers.unsigned_tail, numbers.size_after, numbers.lost_at_most) == (603, 50_603, 5)
    assert "50000..50602" in numbers.will_be_lost


def test_a_log_that_is_signed_to_its_end_loses_nothing() -> None:
    numbers = plan_numbers(GOOD.log_size, 50_000, table_end=0, table_tail=0, acknowledged=50_000)

    assert numbers.will_be_lost.startswith("no record:")
    assert numbers.size_after == 50_000


@pytest.mark.parametrize(
    ("table_end", "table_tail", "readable", "said", "approvers"),
    [
        (50_600, 598, True, "600 unsigned records 50000..50599", 1),
        (50_000, 0, True, "holds none after it", 1),
        (0, 0, False, "gone, unlisted", 2),
    ],
)
def test_a_plan_whose_writers_could_not_be_asked_says_so_and_never_nothing(
    table_end: int, table_tail: int, readable: bool, said: str, approvers: int
) -> None:
    numbers = plan_numbers(
        GOOD.log_size, 50_000, table_end, table_tail, None, table_readable=readable
    )

    names = database_names("rlhf_audit", "INC-1")
    plan = plan_database_recovery("INC-1", Choice(GOOD), names, numbers, {}, AT)
    assert plan.will_be_lost.startswith("unknown: the writers could not be asked")
    assert said in plan.will_be_lost
    assert plan.approvers_needed == approvers
    assert any(
        "could not be asked" in line
        for line in dry_run(1, 0, Choice(GOOD), numbers, 50_000, NEEDED)
    )


def test_writers_who_could_be_asked_need_one_approver_and_no_such_line() -> None:
    numbers = plan_numbers(GOOD.log_size, 50_000, 0, 0, 50_000, table_readable=False)

    assert numbers.approvers_needed == 1
    assert not any(
        "could not be asked" in line
        for line in dry_run(1, 0, Choice(GOOD), numbers, 50_000, NEEDED)
    )


@pytest.mark.parametrize(
    ("acknowledged", "readable", "exists", "doubt", "approvers"),
    [
        (50_000, True, True, "", 1),
        (50_000, False, True, "", 1),
        (50_000, False, False, "", 2),
        (None, True, True, "", 1),
        (None, False, True, "", 2),
        (None, True, True, "401", 2),
    ],
)
def test_two_must_say_yes_where_something_may_vanish_of_which_no_list_knows(
    acknowledged: int | None, *, readable: bool, exists: bool, doubt: str, approvers: int
) -> None:
    numbers = plan_numbers(
        *(GOOD.log_size, 50_000, 50_000 if readable else 0, 0, acknowledged),
        table_readable=readable,
        database_exists=exists,
        doubt=doubt,
    )
    names = database_names("rlhf_audit", "INC-1")
    plan = plan_database_recovery("INC-1", Choice(GOOD), names, numbers, {}, AT)
    assert plan.approvers_needed == approvers
    lines = dry_run(1, 0, Choice(GOOD), numbers, 50_000, NEEDED)
    assert any("no head of theirs: 401" in line for line in lines) is bool(doubt)


def test_database_names_hold_the_incident_and_fit_into_postgresql() -> None:
    names = database_names("rlhf_audit", "INC-20260314-030012-a1b2")

    assert names.scratch == "rlhf_audit_restore_inc_20260314_030012_a1b2"
    assert names.quarantine == "rlhf_audit_quarantine_inc_20260314_030012_a1b2"
    longest = database_names("a" * 19, "x" * 500)
    assert len(longest.quarantine) == 63


def test_incidents_that_a_name_cannot_tell_apart_get_different_names() -> None:
    odd = {"a-b", "a_b", "a b", "a--b", "a/b", "ä-b", "x" * 40 + "1", "x" * 40 + "2"}

    assert len({incident_suffix(incident) for incident in odd}) == len(odd)


@pytest.mark.parametrize("name", ["", "Prod", "a-b", "x" * 20, "prod=1", "prod; drop"])
def test_a_production_name_that_needs_quoting_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="RUNBOOK_DATABASE__NAME"):
        database_names(name, "INC-1")
