"""Which backup is chosen: signed before unsigned, clean before poisoned, the nearest in time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.backup_contents import Contents, Inside, Span
from tasks.domain.backup_search import MOST_LOOKED_INTO
from tasks.domain.backups import Backup, Kind
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.restore_choice import Choice, choose

START = datetime(2026, 11, 20, 2, tzinfo=UTC)
NOW = START + timedelta(days=30)
DAY = timedelta(days=1)
CLEAN = Contents(Inside.CLEAN)
POISONED = Contents(Inside.POISONED, altered=(Span(7, 1),), altered_records=1)
CUT_OFF = Contents(Inside.UNREADABLE, why="cut off")
NO_LOG = Contents(Inside.NO_LOG)


def dump(day: int, **changes: object) -> Backup:
    """Taken at 02:00 on a day, when the log had a thousand records a day."""
    known = (f"database/{day}.dump", 9_000, "ab" * 32, 1_000 * day, START + day * DAY)
    return replace(Backup(*known, trusted=True), **changes)  # type: ignore[arg-type]  # its fields


def base(day: int, until: float, **changes: object) -> Backup:
    made = dump(day, key=f"base/{day}", kind=Kind.BASE, covers_until=START + until * DAY)
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields, some of them given


def at(day: float) -> Target:
    return Target(TargetKind.TIME, time=START + day * DAY)


def chosen(
    target: Target,
    backups: Sequence[Backup],
    inside: Mapping[str, Contents] | None = None,
    head: int = 100_000,
) -> Choice:
    known = inside or {}

    def look(backup: Backup) -> Contents:
        assert backup.kind is not Kind.BASE, "a base backup cannot be looked into"
        return replace(known.get(backup.key, CLEAN), size=backup.log_size)

    return choose(target, backups, head, look, NOW)


LATEST, BEFORE = Target(), Target(TargetKind.BEFORE_DAMAGE)
DAYS = [dump(day) for day in range(1, 6)]


@pytest.mark.parametrize(
    ("target", "backups", "inside", "key", "replay_to"),
    [
        (LATEST, DAYS, {}, "database/5.dump", None),
        (LATEST, [dump(5, trusted=False), dump(3)], {}, "database/3.dump", None),
        (LATEST, [dump(5, unusable="bad manifest"), dump(3)], {}, "database/3.dump", None),
        (LATEST, [dump(5, log_size=200_000), dump(3)], {}, "database/3.dump", None),
        (LATEST, [dump(5, log_size=0), dump(3)], {}, "database/3.dump", None),
        (LATEST, [dump(3), base(1, 9)], {}, "database/3.dump", None),
        (LATEST, [base(1, 9), base(2, 8)], {}, "base/1", START + 9 * DAY),
        (LATEST, DAYS, {"database/5.dump": CUT_OFF}, "database/4.dump", None),
        (LATEST, DAYS, {"database/5.dump": NO_LOG}, "database/4.dump", None),
        (BEFORE, DAYS, {"database/5.dump": POISONED}, "database/4.dump", None),
        (
            BEFORE,
            DAYS,
            {f"database/{day}.dump": POISONED for day in (3, 4, 5)},
            "database/2.dump",
            None,
        ),
        (at(3.5), DAYS, {}, "database/3.dump", None),
        (at(3), DAYS, {}, "database/3.dump", None),
        (at(3.5), DAYS, {"database/3.dump": POISONED}, "database/2.dump", None),
        (at(3.5), [*DAYS, base(1, 9)], {}, "base/1", START + 3.5 * DAY),
        (at(3.5), [*DAYS, base(1, 9), base(3, 9)], {}, "base/3", START + 3.5 * DAY),
        (at(3.5), [base(3, 9, trusted=False), base(1, 9)], {}, "base/1", START + 3.5 * DAY),
        (at(3.5), [*DAYS, base(1, 3.2)], {}, "base/1", START + 3.2 * DAY),
        (at(3.5), [*DAYS, base(1, 2.8)], {}, "database/3.dump", None),
        (at(3.5), [*DAYS, base(4, 9)], {}, "database/3.dump", None),
        (Target(TargetKind.SIZE, size=3_999), DAYS, {}, "database/3.dump", None),
        (Target(TargetKind.SIZE, size=3_000), DAYS, {}, "database/3.dump", None),
    ],
)
def test_the_backup_for_the_target(
    target: Target,
    backups: Sequence[Backup],
    inside: Mapping[str, Contents],
    key: str,
    replay_to: datetime | None,
) -> None:
    for order in (backups, backups[::-1]):
        found = chosen(target, order, inside)
        assert (found.backup.key, found.replay_to, found.mended) == (key, replay_to, False)


def test_who_restores_before_the_damage_is_told_when_it_was_done() -> None:
    inside = {f"database/{day}.dump": POISONED for day in (4, 5)}
    found = chosen(BEFORE, DAYS, inside)
    assert found.bracket == (
        "the damage was done between 2026-11-23 02:00:00Z and 2026-11-24 02:00:00Z"
    )
    assert [each.key for each in found.passed_over] == ["database/5.dump", "database/4.dump"]
    assert "1 records altered (7)" in found.passed_over[0].why
    assert chosen(BEFORE, DAYS).bracket == "the damage was done after 2026-11-25 02:00:00Z"


def test_if_all_are_poisoned_the_newest_is_mended_and_the_choice_says_so() -> None:
    found = chosen(BEFORE, DAYS, {each.key: POISONED for each in DAYS})
    assert (found.backup.key, found.mended) == ("database/5.dump", True)
    assert "replaced from sealed segments" in found.note
    assert found.bracket == ""


def test_an_unsigned_clean_one_comes_before_a_signed_poisoned_one() -> None:
    found = chosen(BEFORE, [dump(5), dump(2, trusted=False)], {"database/5.dump": POISONED})
    assert (found.backup.key, found.note) == ("database/2.dump", "nobody signed this backup")


def test_a_dump_is_never_called_the_moment_that_was_asked_for() -> None:
    said = chosen(at(3.5), DAYS).tables
    assert "as of 2026-11-23 02:00:00Z, when the dump was taken" in said
    assert "not as of 2026-11-23 14:00:00Z" in said
    assert "not as of" not in chosen(at(3.5), [*DAYS, base(1, 9)]).tables


def test_wal_that_ends_too_early_says_where_it_ends() -> None:
    found = chosen(at(3.5), [base(1, 3.2)])
    assert "ends before 2026-11-23 14:00:00Z" in found.note
    assert "as of 2026-11-23 06:48:00Z" in found.tables


def test_a_hole_in_the_wal_is_named_with_the_latest_moment_before_it() -> None:
    lost = "0000000100000000000000A7"
    found = chosen(at(3.5), [base(1, 3.2, wal_hole=lost)])
    assert f"WAL segment {lost} is missing" in found.note
    assert "the latest moment that can be reached is 2026-11-23 06:48:00Z" in found.note
    assert found.replay_to == START + 3.2 * DAY
    assert lost in chosen(LATEST, [base(1, 9, wal_hole=lost)]).note
    assert chosen(at(3.1), [base(1, 3.2, wal_hole=lost)]).note == ""


def test_a_shorter_backup_than_an_older_one_was_cut_and_is_named() -> None:
    found = chosen(BEFORE, [dump(3), dump(4, log_size=10)])
    assert found.backup.key == "database/3.dump"
    assert found.passed_over[0].why == "shorter than an older one: 10 records after 3000"


@pytest.mark.parametrize(
    ("target", "backups", "said"),
    [
        (LATEST, [], "found none"),
        (LATEST, [dump(1, unusable="bad manifest")], "bad manifest"),
        (LATEST, [dump(1, log_size=200_000)], "only 100000 are signed"),
        (at(0.5), DAYS, "the oldest is of 2026-11-21 02:00:00Z"),
        (Target(TargetKind.SIZE, size=10), DAYS, "for the target size:10"),
        (BEFORE, [base(1, 9)], "may be had as of a time"),
    ],
)
def test_without_a_fitting_backup_every_reason_is_named(
    target: Target, backups: Sequence[Backup], said: str
) -> None:
    with pytest.raises(NotProven, match=said):
        chosen(target, backups)


def test_a_backup_that_cannot_be_restored_is_never_the_last_resort() -> None:
    with pytest.raises(NotProven, match=r"4.dump: unreadable: cut off.*3.dump: no audit log"):
        chosen(LATEST, [dump(3), dump(4)], {"database/4.dump": CUT_OFF, "database/3.dump": NO_LOG})


def test_a_moment_that_has_not_come_is_refused() -> None:
    with pytest.raises(BadInput, match="a moment that is past"):
        chosen(at(31), DAYS)


def test_the_size_inside_counts_where_nobody_says_it_outside() -> None:
    unknown = dump(5, trusted=False, log_size=0)
    looks = {unknown.key: Contents(Inside.CLEAN, size=5_000)}
    found = choose(
        Target(TargetKind.SIZE, size=4_000),
        [unknown, dump(3)],
        9_000,
        lambda backup: looks.get(backup.key, CLEAN),
        NOW,
    )
    assert found.backup.key == "database/3.dump"


def test_no_more_than_a_bounded_number_of_dumps_is_fetched() -> None:
    looked = []

    def look(backup: Backup) -> Contents:
        looked.append(backup.key)
        return POISONED

    many = [dump(day) for day in range(1, 29)] + [dump(day, trusted=False) for day in range(1, 29)]
    assert choose(LATEST, many, 100_000, look, NOW).mended
    assert len(looked) == MOST_LOOKED_INTO


_BACKUPS = st.lists(
    st.builds(
        dump,
        st.integers(1, 28),
        trusted=st.booleans(),
        unusable=st.sampled_from(["", "", "gone"]),
        kind=st.sampled_from(Kind),
    ),
    max_size=8,
)
_TARGETS = st.sampled_from([LATEST, BEFORE, at(3.5), at(20), Target(TargetKind.SIZE, size=9_000)])


@given(_TARGETS, _BACKUPS, st.sampled_from([CLEAN, POISONED, CUT_OFF]))
def test_a_choice_is_usable_and_never_later_than_asked(
    target: Target, backups: list[Backup], inside: Contents
) -> None:
    try:
        found = choose(target, backups, 28_000, lambda _: inside, NOW)
    except NotProven:
        return
    assert not found.backup.unusable
    assert found.backup.kind is not Kind.REPOSITORY
    assert found.mended is (inside is POISONED and found.contents is not None)
    if target.time is not None:
        assert found.as_of is not None
        assert found.as_of <= target.time
