"""What somebody made odd in a place fails alone: nothing else is hidden, nothing is written out."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.clients.errors import Transient
from tasks.domain.backup_listing import Listed
from tasks.domain.backups import Backup, Format, Kind, Place
from tasks.domain.errors import NotProven
from tasks.domain.ledger import NoteSigner, sign_note
from tasks.work.backup_places import BackupPlace, DirectoryPlace
from tasks.work.catalogue import list_places, look_at
from tasks.work.fetching import fetch

AT = datetime(2026, 11, 22, 2, tzinfo=UTC)
TOC = b"PGDMP\x01\x10\x00\x04\x08\x03" + bytes(100)
PLAIN = b"--\n-- PostgreSQL database dump\n--\n"
SIGNER = NoteSigner.from_seed("sealer.test", b"s" * 32)


@dataclass
class Shelf(BackupPlace):
    """A place whose names are whatever it says."""

    files: Mapping[str, bytes]
    newer: str = "junk"
    away: frozenset[str] = frozenset()
    place: Place = field(default=Place.STORE, init=False)
    root: str = "bucket"
    prefix: str = "daily/"

    def listed(self) -> list[Listed]:
        return [
            Listed(name, len(data), AT + timedelta(days=name.startswith(self.newer)))
            for name, data in self.files.items()
        ]

    def head(self, name: str, size: int) -> bytes:
        if name in self.away:
            raise Transient(f"{name}: time ran out")
        return self.files[name][:size]

    def pieces(self, name: str, limit: int) -> Iterator[bytes]:
        yield self.files[name][:limit]


def listed(*places: BackupPlace) -> dict[str, Backup]:
    found = list_places(places, [SIGNER.verifier], {}, opens_gpg=False)
    return {each.key: each for each in found}


def signed(key: str) -> dict[str, bytes]:
    text = Backup(f"daily/{key}", len(PLAIN), "ab" * 32, 900, AT).manifest_text()
    return {key: PLAIN, f"{key}.manifest": sign_note(text, SIGNER).encode()}


@pytest.mark.parametrize("outside", ["{victim}/keys", "../../keys", "base/1/1", "./1.dat"])
@pytest.mark.parametrize("telling", ["PG_VERSION", "1.dat"])
def test_no_name_in_a_directory_is_written_elsewhere_than_in_its_copy(
    tmp_path: Path, outside: str, telling: str
) -> None:
    victim = tmp_path / "home"
    victim.mkdir()
    member = outside.format(victim=victim)
    shelf = Shelf({"x/toc.dat": TOC, f"x/{telling}": b"18\n", f"x/{member}": b"EVIL\n"})

    for each in listed(shelf).values():
        if not each.unusable:
            fetch(each, tmp_path / "scratch" / "here", places=[shelf])

    assert not list(victim.iterdir())
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {"toc.dat", "1.dat"}


def test_a_place_that_names_other_files_when_it_is_fetched_is_corrupt(tmp_path: Path) -> None:
    honest = Shelf({"x/toc.dat": TOC, "x/1.dat": b"rows"})
    (backup,) = listed(honest).values()
    other = Shelf({"x/toc.dat": TOC, "x/PG_VERSION": b"", f"x/{tmp_path}/keys": b"EVIL"})

    with pytest.raises(NotProven, match="expected files of pg_dump alone"):
        fetch(backup, tmp_path / "scratch", places=[other])

    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_data_directory_with_a_toc_in_it_is_no_dump() -> None:
    (found,) = listed(Shelf({"x/PG_VERSION": b"18\n", "x/toc.dat": TOC})).values()
    assert (found.format, found.kind) == (Format.UNKNOWN, Kind.DUMP)
    assert "bare copy" in found.unusable


def test_a_name_that_is_no_text_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "good.sql").write_bytes(PLAIN)
    (tmp_path / os.fsdecode(b"\xff\x1b.sql")).write_bytes(PLAIN)

    found = listed(DirectoryPlace(tmp_path))

    assert found.pop("good.sql").unusable == ""
    ((key, odd),) = found.items()
    assert key.isprintable()
    assert odd.unusable


@pytest.mark.parametrize("seconds", [-(10**11), 10**12, 2**60])
def test_a_file_of_no_time_hides_no_other(tmp_path: Path, seconds: int) -> None:
    (tmp_path / "good.sql").write_bytes(PLAIN)
    odd = tmp_path / "odd.sql"
    odd.write_bytes(PLAIN)
    try:
        os.utime(odd, (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("this file system keeps no such time")

    found = listed(DirectoryPlace(tmp_path))

    assert {key for key, each in found.items() if not each.unusable} == {"good.sql", "odd.sql"}
    assert all(each.taken_at is not None for each in found.values())


def test_an_error_that_nobody_thought_of_takes_one_place_away_only(tmp_path: Path) -> None:
    @dataclass
    class Broken(Shelf):
        def listed(self) -> list[Listed]:
            raise OSError("the disk is on fire")

    (tmp_path / "good.sql").write_bytes(PLAIN)

    found = listed(Broken({}), DirectoryPlace(tmp_path))

    assert found["good.sql"].unusable == ""
    assert "on fire" in found["daily/"].unusable


def test_a_file_that_does_not_answer_is_away_alone() -> None:
    found = listed(Shelf({"a.sql": PLAIN, "b.sql": PLAIN}, away=frozenset({"b.sql"})))
    assert (found["daily/a.sql"].unusable, found["daily/a.sql"].away) == ("", False)
    assert found["daily/b.sql"].away
    assert "does not answer" in found["daily/b.sql"].unusable


def test_a_place_none_of_whose_files_answers_is_away() -> None:
    names = [f"{number}.sql" for number in range(100)]
    with pytest.raises(Transient):
        look_at(Shelf(dict.fromkeys(names, PLAIN), away=frozenset(names)), [])


def test_two_thousand_newer_files_hide_no_signed_backup() -> None:
    junk = {f"junk{number}": b"j" for number in range(2_000)}
    found = listed(Shelf({**signed("good.sql"), "old.sql": PLAIN, **junk}))
    assert (found["daily/good.sql"].unusable, found["daily/good.sql"].trusted) == ("", True)
    assert "not looked into" in found["daily/old.sql"].unusable
