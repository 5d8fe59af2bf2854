"""A base backup's tar onto the disk: nothing outside of the directory, nothing without bound."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tasks.domain.errors import NotProven, Refused
from tasks.work.unpacking import unpack
from tasks.work.unwrapping import decompressed

_LIMIT = 1 << 20
_FILES = 10


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, link
            archive.addfile(info, io.BytesIO(content))
    return written.getvalue()


def pieces(content: bytes, size: int = 700) -> Iterator[bytes]:
    yield from (content[at : at + size] for at in range(0, len(content), size))


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(directory)): each.read_bytes()
        for each in directory.rglob("*")
        if each.is_file()
    }


_GOOD = tar(("base/1/2619", b"x" * 8192), ("global/pg_control", b"c" * 300), ("empty", b""))


@pytest.mark.parametrize(
    "content", [_GOOD, gzip.compress(_GOOD), zstandard.compress(_GOOD)], ids=["plain", "gz", "zst"]
)
def test_files_come_out_as_they_went_in_whatever_is_around_them(
    content: bytes, tmp_path: Path
) -> None:
    told: list[int] = []
    unpack(
        decompressed(pieces(content), "base"),
        tmp_path,
        limit=_LIMIT,
        files=_FILES,
        tell=told.append,
    )
    assert files_in(tmp_path) == {
        "base/1/2619": b"x" * 8192,
        "global/pg_control": b"c" * 300,
        "empty": b"",
    }
    assert told == sorted(told)
    assert {each.stat().st_mode & 0o077 for each in tmp_path.rglob("*")} == {0}


def test_what_is_left_out_is_not_written(tmp_path: Path) -> None:
    content = tar(("postgresql.auto.conf", b"evil"), ("PG_VERSION", b"18\n"))
    unpack(
        pieces(content), tmp_path, limit=_LIMIT, files=_FILES, leave_out={"postgresql.auto.conf"}
    )
    assert files_in(tmp_path) == {"PG_VERSION": b"18\n"}


@pytest.mark.parametrize(
    "content",
    [
        tar(("../outside", b"x")),
        tar(("/tmp/outside", b"x")),
        tar(("inside/../../outside", b"x")),
        tar(("pg_wal", b""), kind=tarfile.SYMTYPE, link="/tmp"),
        tar(("hard", b""), kind=tarfile.LNKTYPE, link="/etc/passwd"),
        tar(("device", b""), kind=tarfile.CHRTYPE),
        tar(("twice", b"1"), ("twice", b"2")),
        tar(("file", b"1"), ("file/below", b"2")),
        _GOOD[:-10240],
        _GOOD[:1000],
        b"",
        b"no tar" * 1000,
        tar(("large", bytes(_LIMIT + 1))),
        zstandard.compress(tar(("bomb", bytes(64 << 20)))),
        gzip.compress(_GOOD)[:-4],
    ],
)
def test_hostile_and_damaged_tars_are_refused_and_write_nothing_outside(
    content: bytes, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(NotProven):
        unpack(decompressed(pieces(content), "base"), inside, limit=_LIMIT, files=_FILES)
    assert list(tmp_path.iterdir()) == [inside]
    assert not Path("/tmp/outside").exists()
    assert not any(each.is_symlink() for each in inside.rglob("*"))


def test_a_link_that_lies_there_already_is_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    (inside / "file").symlink_to(outside)
    with pytest.raises(NotProven):
        unpack(pieces(tar(("file", b"x"))), inside, limit=_LIMIT, files=_FILES)
    assert not outside.exists()


def test_more_files_than_the_manifest_lists_are_not_written(tmp_path: Path) -> None:
    many = tar(*((f"d/{number}", b"") for number in range(10_020)))
    with pytest.raises(NotProven, match="at most 10 files"):
        unpack(pieces(many, 1 << 20), tmp_path, limit=1 << 30, files=_FILES)
    assert len(list((tmp_path / "d").iterdir())) <= 10_010


def test_what_watches_the_unpacking_can_stop_it(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise Refused("the disk is nearly full")

    with pytest.raises(Refused, match="nearly full"):
        unpack(pieces(_GOOD), tmp_path, limit=_LIMIT, files=_FILES, tell=stop)
