"""The formats of a base backup: WAL pages, backup_manifest, tar headers; hostile ones too."""

import io
import json
import struct
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.base_manifest import read_base_manifest
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.tar_headers import read_header
from tasks.domain.wal import SEGMENT_BYTES, Segment, parse_lsn
from tasks.domain.wal_pages import FirstPage, check_segment, read_first_page

_LIKE = FirstPage(0xD118, 0, 0, 77, SEGMENT_BYTES)


def page(
    number: int = 5, *, magic: int = 0xD118, timeline: int = 1, system: int = 77, flags: int = 2
) -> bytes:
    position = number * SEGMENT_BYTES
    return struct.pack(
        "<HHIQIxxxxQII", magic, flags, timeline, position, 0, system, SEGMENT_BYTES, 8192
    )


def test_a_segments_first_page_says_whose_it_is() -> None:
    found = read_first_page(page(), "x")
    assert found == FirstPage(0xD118, 1, 5 * SEGMENT_BYTES, 77, SEGMENT_BYTES)
    check_segment(Segment(1, 5), SEGMENT_BYTES, found, _LIKE)
    check_segment(Segment(2, 5), SEGMENT_BYTES, found, _LIKE)  # a new timeline's copy


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (page(6), SEGMENT_BYTES),
        (page(timeline=2), SEGMENT_BYTES),
        (page(system=78), SEGMENT_BYTES),
        (page(magic=0xD116), SEGMENT_BYTES),
        (page(), SEGMENT_BYTES - 1),
        (page(), 2 * SEGMENT_BYTES),
    ],
)
def test_another_segment_than_its_name_says_is_refused(head: bytes, size: int) -> None:
    with pytest.raises(NotProven, match=Segment(1, 5).name()):
        check_segment(Segment(1, 5), size, read_first_page(head, "x"), _LIKE)


@pytest.mark.parametrize("head", [b"", b"\0" * 40, page()[:39], page(flags=0), page(magic=0x1234)])
def test_what_is_no_wal_is_refused(head: bytes) -> None:
    with pytest.raises(NotProven):
        read_first_page(head, "x")


def manifest(**changes: object) -> bytes:
    file = {"Path": "PG_VERSION", "Size": 3, "Checksum-Algorithm": "SHA256", "Checksum": "00"}
    ranges = [{"Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/3000120"}]
    whole: dict[str, object] = {
        "PostgreSQL-Backup-Manifest-Version": 2,
        "System-Identifier": 7_500_000_000_000_000_000,
        "Files": [file, file],
        "WAL-Ranges": ranges,
    }
    return json.dumps(whole | changes).encode()


def test_a_manifest_says_what_a_base_needs() -> None:
    found = read_base_manifest(manifest())
    assert (found.timeline, found.start, found.end) == (1, 0x2000028, parse_lsn("0/3000120"))
    assert (found.data_bytes, found.files, found.tablespaces, found.weak) == (6, 2, False, 0)
    assert found.system == 7_500_000_000_000_000_000
    assert found.own_segments(SEGMENT_BYTES) == [Segment(1, 2), Segment(1, 3)]


def test_a_manifest_tells_of_tablespaces_and_of_files_without_a_digest() -> None:
    elsewhere = {"Encoded-Path": b"pg_tblspc/1/x".hex(), "Size": 1, "Checksum-Algorithm": "CRC32C"}
    found = read_base_manifest(manifest(Files=[elsewhere]))
    assert found.tablespaces
    assert found.weak == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        manifest(Files=[]),
        manifest(Files=[{"Path": "x"}]),
        manifest(Files="many"),
        manifest(**{"WAL-Ranges": []}),
        manifest(**{"WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/3", "End-LSN": "0/2"}]}),
        manifest(**{"WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/3", "End-LSN": "FFFFFFFF/2"}]}),
        manifest(**{"PostgreSQL-Backup-Manifest-Version": 3}),
        manifest(**{"System-Identifier": "x"}),
    ],
)
def test_what_is_no_manifest_is_bad_input(text: bytes) -> None:
    with pytest.raises(BadInput):
        read_base_manifest(text)


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 5, link: str = "") -> bytes:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    return made.tobuf(tarfile.USTAR_FORMAT)[:512]


@given(
    st.lists(st.from_regex(r"[a-z0-9_.]{1,20}", fullmatch=True), min_size=1, max_size=4),
    st.integers(0, 2**33 - 1),
)
def test_headers_are_read_as_they_were_written(parts: list[str], size: int) -> None:
    if {".", ".."} & set(parts):
        return
    found = read_header(header("/".join(parts), size=size))
    assert found is not None
    assert (found.parts, found.size, found.is_directory) == (tuple(parts), size, False)
    assert found.padded % 512 == 0
    assert 0 <= found.padded - size < 512


def test_a_large_file_is_written_in_base_256() -> None:
    made = tarfile.TarInfo("base/1/2")
    made.size = 3 << 40
    found = read_header(made.tobuf(tarfile.GNU_FORMAT)[:512])
    assert found is not None
    assert found.size == 3 << 40


def test_zeros_end_the_tar() -> None:
    assert read_header(bytes(512)) is None


@pytest.mark.parametrize(
    "block",
    [
        header("../x"),
        header("a/../../x"),
        header("/etc/passwd"),
        header("a//b"),
        header("a/./b"),
        header("a\\b"),
        header("a\nb"),
        header("pg_tblspc/16385", tarfile.SYMTYPE, 0, "/etc"),
        header("x", tarfile.LNKTYPE, 0, "/etc/passwd"),
        header("x", tarfile.CHRTYPE, 0),
        header("x", tarfile.BLKTYPE, 0),
        header("x", tarfile.FIFOTYPE, 0),
        header("x", tarfile.XHDTYPE, 1 << 32),
        header("x", tarfile.GNUTYPE_LONGNAME, 1 << 32),
        header("x", tarfile.GNUTYPE_SPARSE),
        header("x")[:511],
        header("x")[:200] + b"!" + header("x")[201:],
        b"\xff" * 512,
    ],
)
def test_everything_but_files_and_directories_inside_is_refused(block: bytes) -> None:
    with pytest.raises(BadInput):
        read_header(block)


@given(st.binary(min_size=512, max_size=512))
def test_no_bytes_do_anything_but_read_or_be_refused(block: bytes) -> None:
    try:
        found = read_header(block)
    except BadInput:
        return
    assert found is None or ".." not in found.parts


def test_python_and_postgresql_agree_on_a_tar() -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("./global"))
    found = read_header(written.getvalue()[:512])
    assert found is not None
    assert found.parts == ("global",)
