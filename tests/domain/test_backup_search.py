"""The search comes to the newest clean backup in few looks, and nothing newer goes unsaid."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.backup_contents import Contents, Inside
from tasks.domain.backup_search import MOST_LOOKED_INTO, age, in_order
from tasks.domain.backups import Backup, Format, Kind
from tasks.domain.errors import NotProven
from tasks.domain.recovery_target import Target, TargetKind
from tasks.domain.restore_choice import Choice, choose, first_looked_into

START = datetime(2026, 11, 1, 2, tzinfo=UTC)
NOW = START + timedelta(days=400)
LATEST, BEFORE = Target(), Target(TargetKind.BEFORE_DAMAGE)
HEAD = 100_000

POISONED = Contents(Inside.POISONED, altered_records=1)
CUT_OFF = Contents(Inside.UNREADABLE, why="cut off")


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def dump(day: float, size: int, key: str = "", **changes: object) -> Backup:
    made = Backup(key or f"{day}.dump", 9_000, "ab" * 32, size, at(day), trusted=True)
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields, some of them given


def unsigned(day: float, key: str = "copied.sql") -> Backup:
    return Backup(key, 9_000, taken_at=at(day), format=Format.PLAIN)


def clean(size: int, day: float | None = None) -> Contents:
    return Contents(Inside.CLEAN, size, last_at=None if day is None else at(day))


def looks(inside: dict[str, Contents]) -> Callable[[Backup], Contents]:
    return lambda backup: inside.get(backup.key, clean(backup.log_size))


def chosen(
    backups: Sequence[Backup], inside: dict[str, Contents] | None = None, target: Target = LATEST
) -> Choice:
    found = choose(target, backups, HEAD, looks(inside or {}), NOW)
    assert found == choose(target, backups[::-1], HEAD, looks(inside or {}), NOW)
    return found


# unsigned ones


def test_an_old_dump_that_was_copied_today_is_no_newer_than_its_last_signed_record() -> None:
    copied, nightly = unsigned(26.5, "copied.sql"), unsigned(26, "nightly.sql")
    inside = {"copied.sql": clean(100, 1), "nightly.sql": clean(990, 25.9)}

    found = chosen([copied, nightly], inside)

    assert (found.backup, found.as_of) == (nightly, at(25.9))
    assert "as of 2026-11-26 23:36:00Z, the time of its last signed record" in found.tables
    assert [(each.key, each.why) for each in found.passed_over] == [
        ("copied.sql", "nobody signed it, and its records end no later")
    ]


def test_an_unsigned_one_is_no_newer_than_its_file() -> None:
    found = chosen([unsigned(5)], {"copied.sql": clean(900, 9)})
    assert found.as_of == at(5)


def test_unsigned_ones_whose_files_are_older_than_what_was_found_are_not_fetched() -> None:
    looked: list[str] = []

    def look(backup: Backup) -> Contents:
        looked.append(backup.key)
        return clean(900, 8)

    backups = [unsigned(9, "new.sql"), unsigned(8.5, "between.sql"), unsigned(7, "old.sql")]
    assert choose(LATEST, backups, HEAD, look, NOW).backup.key == "new.sql"
    assert looked == ["new.sql", "between.sql"]


def test_an_unsigned_one_without_a_record_is_as_of_nobody_knows_when() -> None:
    empty, older = unsigned(9, "empty.sql"), unsigned(5, "older.sql")
    inside = {"empty.sql": clean(0), "older.sql": clean(500, 4)}

    assert chosen([empty, older], inside).backup == older
    assert "nobody knows" in chosen([empty], inside).tables
    with pytest.raises(NotProven, match="nobody knows of when it is"):
        chosen([empty], inside, Target(TargetKind.TIME, time=at(20)))
    with pytest.raises(NotProven, match="nobody knows of when it is"):  # not to be mended either
        chosen([empty], {"empty.sql": POISONED}, Target(TargetKind.TIME, time=at(20)))


def test_the_time_of_an_unsigned_file_says_nothing_about_when_damage_was_done() -> None:
    found = chosen([unsigned(9), dump(5, 500)], {"copied.sql": POISONED}, BEFORE)
    assert found.bracket == "the damage was done after 2026-11-06 02:00:00Z"
    both = [unsigned(9), unsigned(8, "good.sql")]
    found = chosen(both, {"copied.sql": POISONED, "good.sql": clean(300, 3)}, BEFORE)
    assert found.bracket == "the damage was done after 2026-11-04 02:00:00Z"
    poisoned = {"signed.dump": POISONED, "copied.sql": clean(300, 3)}
    late = chosen([dump(8, 800, "signed.dump"), unsigned(9)], poisoned, BEFORE)
    assert late.bracket == (
        "the damage was done between 2026-11-04 02:00:00Z and 2026-11-09 02:00:00Z"
    )


# nothing in silence


def test_everything_newer_than_the_choice_is_named_with_its_reason() -> None:
    backups = [
        dump(20, 300),
        dump(26, 900, "bad", unusable="bad manifest: signature"),
        dump(25, 900_000, "long"),
        unsigned(24, "unsigned"),
        dump(23, 10, "cut"),
        replace(dump(1, 0, "base"), kind=Kind.BASE, covers_until=at(27)),
        Backup("away/", unusable="cannot be listed: refused"),
        dump(3, 100, "older"),
        unsigned(2, "older.sql"),
        dump(2, 100, "older bad", unusable="bad manifest: signature"),
    ]
    found = chosen(backups)
    assert found.backup.key == "20.dump"
    assert {each.key: each.why for each in found.passed_over} == {
        "bad": "bad manifest: signature",
        "long": "900000 records, only 100000 are signed",
        "unsigned": "nobody signed it, and a signed one is there",
        "cut": "shorter than an older one: 10 records after 300",
        "base": "its WAL replays the damage too: choose a moment before that to have it",
        "away/": "cannot be listed: refused",
    }


def test_what_lies_behind_the_target_is_not_called_newer() -> None:
    backups = [dump(day, 100 * day) for day in range(1, 9)]
    bad = dump(4.2, 420, "bad", unusable="bad manifest")
    late = dump(7.5, 750, "late", unusable="bad manifest")
    by_time = chosen([*backups, bad, late], target=Target(TargetKind.TIME, time=at(4.5)))
    by_size = chosen([*backups, bad, late], target=Target(TargetKind.SIZE, size=450))
    for found in (by_time, by_size):
        assert found.backup.key == "4.dump"
        assert [each.key for each in found.passed_over] == ["bad"]


def test_a_second_base_that_reaches_the_same_moment_is_no_nearer() -> None:
    bases = [
        replace(dump(day, 0, f"base{day}"), kind=Kind.BASE, covers_until=at(27)) for day in (1, 3)
    ]
    found = chosen(bases, target=Target(TargetKind.TIME, time=at(9)))
    assert (found.backup.key, found.passed_over) == ("base3", ())


def test_many_that_are_passed_over_are_counted() -> None:
    found = chosen([dump(1, 100), *(unsigned(2 + n, f"{n}.sql") for n in range(50))])
    assert len(found.passed_over) == 21
    assert found.passed_over[-1].key == "30 more"


# how many are looked into


def hourly(count: int) -> list[Backup]:
    return [dump(n / 24, 100 + n, f"h{n:04}") for n in range(count)]


@given(st.integers(1, 2_000), st.integers(0, 2_000))
def test_the_last_clean_one_is_found_however_long_the_log_was_poisoned(
    count: int, first_bad: int
) -> None:
    looked: list[str] = []

    def look(backup: Backup) -> Contents:
        looked.append(backup.key)
        bad = int(backup.key[1:]) >= first_bad
        return replace(POISONED, size=backup.log_size) if bad else clean(backup.log_size)

    found = choose(BEFORE, hourly(count), HEAD, look, NOW)

    assert len(looked) == len(set(looked)) <= MOST_LOOKED_INTO
    if first_bad == 0:
        assert found.mended
        assert found.backup.key == f"h{count - 1:04}"
    else:
        assert found.backup.key == f"h{min(first_bad, count) - 1:04}"
        assert not found.mended
    if 0 < first_bad < count:
        good, bad = at((first_bad - 1) / 24), at(first_bad / 24)
        assert found.bracket == (
            f"the damage was done between {good:%Y-%m-%d %H:%M:%S}Z and {bad:%Y-%m-%d %H:%M:%S}Z"
        )


def test_that_none_is_clean_is_said_only_when_all_were_looked_into() -> None:
    backups = hourly(60)
    inside = {each.key: POISONED for each in backups}
    few = chosen(backups[:30], inside, BEFORE)
    many = chosen(backups, inside, BEFORE)
    assert few.note.startswith("no backup is clean inside: this is the newest")
    assert many.note.startswith(
        "none of the 32 backups that were looked into is clean inside, and 28 were not looked into"
    )
    assert (few.mended, many.mended, many.backup.key) == (True, True, "h0059")


def test_unsigned_ones_are_looked_into_though_many_signed_ones_are_poisoned() -> None:
    backups = hourly(200)
    inside = {each.key: POISONED for each in backups} | {"copied.sql": clean(150, 2)}
    assert chosen([*backups, unsigned(3)], inside, BEFORE).backup.key == "copied.sql"


# the order


@pytest.mark.parametrize("bad", [CUT_OFF, POISONED, Contents(Inside.NO_LOG)])
def test_a_longer_one_that_is_not_clean_itself_hides_no_newer_one(bad: Contents) -> None:
    longer, newer, old = dump(20, 950, "longer"), dump(26, 900, "newer"), dump(1, 10, "old")
    assert chosen([longer, newer, old], {"longer": bad}).backup == newer
    assert chosen([longer, newer, old]).backup == longer


def test_a_longer_poisoned_one_that_is_older_says_nothing_about_when_damage_was_done() -> None:
    backups = [dump(20, 950, "other"), dump(26, 900), dump(28, 960, "bad")]
    found = chosen(backups, {"other": POISONED, "bad": POISONED}, BEFORE)
    assert found.bracket == (
        "the damage was done between 2026-11-27 02:00:00Z and 2026-11-29 02:00:00Z"
    )


def test_a_dump_of_all_databases_stands_among_the_others_by_its_time() -> None:
    cluster = dump(5, 0, "cluster", kind=Kind.CLUSTER_DUMP)
    assert [each.key for each in in_order([dump(4, 400), cluster, dump(6, 600)])] == [
        *("6.dump", "cluster", "4.dump"),
    ]


@given(st.lists(st.builds(dump, st.integers(1, 99), st.integers(0, 99)), max_size=20))
def test_no_signed_one_is_wanted_before_one_that_is_both_longer_and_newer(
    backups: list[Backup],
) -> None:
    found = in_order(backups)
    assert sorted(found, key=age) == sorted(backups, key=age)
    for one, other in pairwise(found):
        assert not (other.log_size > one.log_size and age(other) > age(one))


def test_the_first_to_be_fetched_is_known_before() -> None:
    backups = [dump(1, 100), dump(9, 900), unsigned(30)]
    base = replace(dump(1, 0, "base"), kind=Kind.BASE, covers_until=at(27))
    assert first_looked_into(LATEST, backups, HEAD) == backups[1]
    assert first_looked_into(LATEST, [unsigned(30)], HEAD) is None
    assert first_looked_into(LATEST, [base], HEAD) is None
    reached = Target(TargetKind.TIME, time=at(5))
    assert first_looked_into(reached, [*backups, base], HEAD) is None
    assert first_looked_into(reached, backups, HEAD) == backups[0]


def test_a_size_that_only_looking_shows_counts() -> None:
    target = Target(TargetKind.SIZE, size=400)
    backups = [unsigned(9), dump(3, 300)]
    found = choose(target, backups[:1], HEAD, looks({"copied.sql": clean(400, 8)}), NOW)
    assert found.backup.key == "copied.sql"
    with pytest.raises(NotProven, match="401 records inside"):
        choose(target, backups[:1], HEAD, looks({"copied.sql": clean(401, 8)}), NOW)
    poisoned = looks({"copied.sql": replace(POISONED, size=401), "3.dump": CUT_OFF})
    with pytest.raises(NotProven, match="401 records inside"):  # not to be mended either
        choose(target, backups, HEAD, poisoned, NOW)
