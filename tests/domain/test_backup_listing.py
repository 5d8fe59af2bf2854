"""Which files of a listing are one backup, and that nobody hides a good one among them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.backup_listing import Item, Listed, Shape, file_time, items
from tasks.domain.backups import key_within
from tasks.domain.errors import BadInput

AT = datetime(2026, 11, 22, 2, tzinfo=UTC)


def listing(*names: str) -> list[Listed]:
    return [Listed(name, 10, AT + timedelta(seconds=at)) for at, name in enumerate(names)]


def shown(*names: str) -> dict[str, tuple[Shape, int, str]]:
    return {
        item.name: (item.shape, len(item.files), item.manifest) for item in items(listing(*names))
    }


def test_files_stand_for_themselves_and_take_their_manifest_with_them() -> None:
    found = shown("a.dump", "a.dump.manifest", "b.sql.gpg", "b.sql.gpg.sha256", "daily/")

    assert found == {
        "a.dump": (Shape.FILE, 1, "a.dump.manifest"),
        "b.sql.gpg": (Shape.FILE, 1, ""),
    }


def test_a_manifest_without_its_backup_is_shown() -> None:
    assert shown("a.dump.manifest") == {"a.dump.manifest": (Shape.FILE, 0, "a.dump.manifest")}


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (("d/toc.dat", "d/1.dat.gz", "d/blobs_7.toc", "d/blob_7.dat"), Shape.DIRECTORY),
        (("d/base.tar.gz", "d/pg_wal.tar.gz", "d/backup_manifest", "d/16384.tar"), Shape.DIRECTORY),
        (("d/PG_VERSION", "d/backup_label", "d/base/1/PG_VERSION", "d/x"), Shape.DIRECTORY),
        (("d/backup.info", "d/backup.info.copy", "d/20261122-020000F/x.gz"), Shape.REPOSITORY),
        (("d/archive.info", "d/18-1/0000000100000000/0"), Shape.REPOSITORY),
    ],
)
def test_a_directory_that_is_one_backup_is_shown_once(names: tuple[str, ...], shape: Shape) -> None:
    assert shown(*names) == {"d": (shape, len(names), "")}


def test_a_directorys_size_and_time_are_those_of_all_its_files() -> None:
    (item,) = items(listing("d/toc.dat", "d/1.dat"))

    assert item.size == 20
    assert item.modified == AT + timedelta(seconds=1)
    assert set(item.names) == {"toc.dat", "1.dat"}


def test_nobody_hides_good_backups_below_a_file_that_tells_of_something_else() -> None:
    good = ("daily/a.dump", "daily/a.dump.manifest")
    for telling in ("toc.dat", "base.tar", "PG_VERSION", "backup.info", "archive.info"):
        found = shown(*good, f"daily/{telling}", "daily/old/b.sql")

        assert found["daily/a.dump"] == (Shape.FILE, 1, "daily/a.dump.manifest")
    assert "daily/c.sql" in shown("daily/c.sql", "daily/toc.dat")
    assert "daily/c.sql" in shown("daily/c.sql", "daily/base.tar")


def test_two_dumps_beside_each_other_stay_two() -> None:
    assert list(shown("x/a/toc.dat", "x/a/1.dat", "x/b/toc.dat", "x/toc.dat")) == [
        "x",
        "x/a",
        "x/b",
    ]


_PART = st.sampled_from(
    ["a", "b.dump", "toc.dat", "1.dat", "PG_VERSION", "backup.info", "base.tar", "c.manifest", "é"]
)
_NAME = st.lists(_PART, min_size=1, max_size=4).map("/".join)


@given(st.sets(_NAME, max_size=15))
def test_every_file_is_in_exactly_one_item_or_lies_beside_one(names: set[str]) -> None:
    found = items(listing(*sorted(names)))

    members = [each.name for item in found for each in item.files]
    manifests = {item.manifest for item in found} | {f"{item.name}.manifest" for item in found}
    assert len(members) == len(set(members))
    assert names - set(members) <= manifests
    assert [item.name for item in found] == sorted(item.name for item in found)


def test_an_item_of_nothing_has_no_time() -> None:
    assert Item("a.manifest", Shape.FILE, ()).modified is None


def test_a_name_that_is_no_text_is_refused_like_any_other_odd_one() -> None:
    with pytest.raises(BadInput, match="found key"):
        key_within("", "\udcff.sql")


@given(st.one_of(st.integers(), st.floats(allow_nan=False)))
def test_whatever_time_a_file_says_is_one_of_the_calendar(seconds: float) -> None:
    found = file_time(seconds)
    assert datetime(1970, 1, 1, tzinfo=UTC) <= found
    found.astimezone(timezone(timedelta(hours=14)))  # later zones do not leave it either
    assert file_time(AT.timestamp()) == AT
