"""What a file is, by its first bytes: tables, laws, and input that was made to mislead."""

import gzip
import io
import os
import tarfile
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.backup_formats import (
    HEAD_BYTES,
    MOST_BYTES,
    Recognised,
    recognise,
    recognise_directory,
)
from tasks.domain.backups import Format, Kind, Layer
from tasks.domain.openpgp import begins_message

CUSTOM = b"PGDMP\x01\x10\x00\x04\x08\x01" + bytes(200)
TOC = b"PGDMP\x01\x10\x00\x04\x08\x03" + bytes(200)
PLAIN = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET lock_timeout = 0;\n"
CLUSTER = b"--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE postgres;\n"


def tar(*members: tuple[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


DUMP_TAR = tar(("toc.dat", TOC), ("2.dat", b"rows"))
BASE_TAR = tar(("backup_label", b"START WAL LOCATION: 0/2000028"), ("PG_VERSION", b"18\n"))

FORMATS = {
    "custom": (CUSTOM, Kind.DUMP, Format.CUSTOM),
    "plain": (PLAIN, Kind.DUMP, Format.PLAIN),
    "cluster": (CLUSTER, Kind.CLUSTER_DUMP, Format.PLAIN),
    "tar": (DUMP_TAR, Kind.DUMP, Format.TAR),
    "base": (BASE_TAR, Kind.BASE, Format.TAR),
}
LAYERS = {
    (): lambda data: data,
    (Layer.GZIP,): gzip.compress,
    (Layer.ZSTD,): zstandard.compress,
    (Layer.ZSTD, Layer.GZIP): lambda data: zstandard.compress(gzip.compress(data)),
    (Layer.GZIP, Layer.GZIP): lambda data: gzip.compress(gzip.compress(data)),
}


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognised_through_each_layer(name: str, layers: tuple[Layer, ...]) -> None:
    data, kind, form = FORMATS[name]

    assert recognise(LAYERS[layers](data)) == Recognised(form, layers, kind)


@pytest.mark.parametrize(
    "before",
    [b"\xef\xbb\xbf", b"\n\n", b"-- taken by cron\r\n", b"-- Dumped on Sunday\n--\n \t\n"],
)
def test_plain_sql_is_recognised_below_comments_and_blank_lines(before: bytes) -> None:
    assert recognise(before + PLAIN).format is Format.PLAIN
    assert recognise(before + PLAIN.replace(b"\n", b"\r\n")).format is Format.PLAIN


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (bytes(4096), "zero bytes"),
        (b"SELECT 1;\n-- PostgreSQL database dump\n", "without the heading"),
        (b"\x00\x01binary", "no format"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PK\x03\x04", "zip"),
        (b"Salted__12345678", "openssl"),
        (TOC, "table of contents without its data"),
        (tar(("toc.dat", b"PGDMP?")), "none of pg_dump's"),
        (tar(("etc/passwd", b"root")), "none of pg_dump or pg_basebackup"),
        (gzip.compress(b"", mtime=0), "gzip without content"),
        (gzip.compress(PLAIN, mtime=0)[:8], "gzip without content"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 60, "damaged gzip"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 60, "damaged zstd"),
        (gzip.compress(b"hello", mtime=0), "without the heading of pg_dump in gzip"),
    ],
)
def test_what_is_no_backup_says_what_it_is_instead(data: bytes, said: str) -> None:
    found = recognise(data)

    assert found.format is Format.UNKNOWN
    assert said in str(found)
    assert not found.sealed


def test_a_tar_whose_checksum_is_wrong_is_none() -> None:
    damaged = bytearray(DUMP_TAR)
    damaged[110] ^= 1

    assert recognise(bytes(damaged)).format is Format.UNKNOWN


def test_a_file_that_looks_like_two_things_is_what_pg_restore_takes_it_for() -> None:
    named = tar(("PGDMP\x01\x10", b""), ("toc.dat", TOC))
    commented = tar(("--\n-- PostgreSQL database dump\n", b""))
    inside = gzip.compress(CUSTOM) + PLAIN

    assert recognise(named).format is Format.CUSTOM
    assert recognise(commented).format is Format.PLAIN
    assert recognise(inside) == Recognised(Format.CUSTOM, (Layer.GZIP,))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_bomb_is_not_unpacked(compress: object) -> None:
    assert callable(compress)
    bomb = compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        found = recognise(bomb[:MOST_BYTES])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "zero bytes" in str(found)
    assert most < 5_000_000


def test_bombs_in_bombs_end_at_a_few_layers() -> None:
    data = CUSTOM
    for _ in range(200):
        data = gzip.compress(data, 1)

    found = recognise(data)

    assert found.why == "too many layers"
    assert len(found.layers) < 10


def test_zstd_that_asks_for_gigabytes_of_memory_is_refused() -> None:
    header = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0xFF])  # the largest window there is

    assert "damaged zstd" in str(recognise(header + CUSTOM))


@pytest.mark.parametrize(("descriptor", "known"), [(0x88, True), (0x90, False)])
def test_zstd_may_ask_for_128_mib_of_memory_and_no_more(descriptor: int, *, known: bool) -> None:
    block = (len(CUSTOM) << 3 | 1).to_bytes(3, "little") + CUSTOM  # the last one, as it is
    found = recognise(b"\x28\xb5\x2f\xfd\x00" + bytes([descriptor]) + block)
    assert (found.format is Format.CUSTOM) is known
    assert known or "damaged zstd" in str(found)


def test_a_comment_of_endless_lines_is_no_dump_and_takes_no_time() -> None:
    assert recognise(b"--\r\n" * 200_000).format is Format.UNKNOWN
    assert recognise((b" " * 5000 + b"\n") * 100).format is Format.UNKNOWN


def test_a_first_block_that_is_longer_than_the_head_is_asked_for() -> None:
    noise = CUSTOM + os.urandom(60 * 1024).hex().encode()
    whole = zstandard.compress(noise)
    asked: list[int] = []

    def read_more(size: int) -> bytes:
        asked.append(size)
        return whole[:size]

    assert recognise(whole[:HEAD_BYTES], read_more).format is Format.CUSTOM
    assert asked == [MOST_BYTES]
    assert recognise(CUSTOM, read_more).format is Format.CUSTOM
    assert len(asked) == 1


@given(st.binary(max_size=2000))
def test_any_bytes_are_something_and_raise_nothing(data: bytes) -> None:
    for prefix in (b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PGDMP", b"\x85", b"\xc1"):
        found = recognise(prefix + data)
        assert found.format is not Format.UNKNOWN or found.sealed or found.why


@given(st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(LAYERS)), st.integers(0, 600))
def test_a_truncated_backup_is_never_taken_for_another_format(
    name: str, layers: tuple[Layer, ...], length: int
) -> None:
    data, kind, form = FORMATS[name]

    found = recognise(LAYERS[layers](data)[:length])

    assert found.format in {form, Format.UNKNOWN}
    assert found.format is Format.UNKNOWN or found.kind is kind


@pytest.mark.parametrize(
    ("data", "is_message"),
    [
        (b"-----BEGIN PGP MESSAGE-----\n\nhQ", True),
        (b"\n-----BEGIN PGP MESSAGE-----\r\n", True),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", False),
        (bytes.fromhex("85010c03") + bytes(60), True),  # a session key for RSA 2048
        (bytes.fromhex("845e03") + bytes(60), True),  # for elliptic curves
        (bytes.fromhex("c15e03") + bytes(60), True),  # with the new kind of length
        (bytes.fromhex("c1c0cd03") + bytes(60), True),  # of two bytes
        (bytes.fromhex("8c0d04") + bytes(60), True),  # by a passphrase
        (bytes.fromhex("c32e04") + bytes(60), True),
        (bytes.fromhex("ca03504750845e03") + bytes(60), True),  # after a marker
        (bytes.fromhex("d2c00101") + bytes(60), True),  # encrypted data alone
        (bytes.fromhex("a30178"), True),  # compressed, as gpg --sign makes it
        (bytes.fromhex("99010d04") + bytes(60), False),  # a public key
        (bytes.fromhex("85010c09") + bytes(60), False),  # a version that is none
        (bytes.fromhex("86ffffffff03") + bytes(60), False),  # a key of four gigabytes
        (b"\x85", False),
        (b"", False),
    ],
)
def test_an_openpgp_message_is_told_by_its_first_packet(data: bytes, is_message: bool) -> None:
    assert begins_message(data) is is_message
    assert recognise(data).sealed is is_message


def test_what_is_encrypted_stays_unknown_and_says_so() -> None:
    found = recognise(gzip.compress(bytes.fromhex("845e03") + bytes(60)))

    assert found == Recognised(Format.UNKNOWN, (Layer.GZIP, Layer.GPG))
    assert str(found) == "unknown in gpg in gzip"


@pytest.mark.parametrize(
    ("files", "kind", "form", "said"),
    [
        ({"toc.dat": TOC, "3.dat.gz": b""}, Kind.DUMP, Format.DIRECTORY, ""),
        ({"toc.dat": CUSTOM}, Kind.DUMP, Format.UNKNOWN, "none of pg_dump's directory"),
        ({"toc.dat": b""}, Kind.DUMP, Format.UNKNOWN, "none of pg_dump's directory"),
        ({"base.tar": BASE_TAR, "pg_wal.tar": b""}, Kind.BASE, Format.TAR, ""),
        ({"base.tar.gz": gzip.compress(BASE_TAR)}, Kind.BASE, Format.TAR, ""),
        ({"base.tar.zst": b"nonsense"}, Kind.DUMP, Format.UNKNOWN, "none of pg_basebackup's"),
        ({"PG_VERSION": b"18", "backup_label": b"S"}, Kind.BASE, Format.DIRECTORY, ""),
        ({"PG_VERSION": b"18"}, Kind.DUMP, Format.UNKNOWN, "a bare copy"),
        ({"readme": b""}, Kind.DUMP, Format.UNKNOWN, "nothing that tells"),
    ],
)
def test_a_directory_is_told_by_its_telling_file(
    files: dict[str, bytes], kind: Kind, form: Format, said: str
) -> None:
    found = recognise_directory(files, lambda name: files[name])

    assert (found.kind, found.format) == (kind, form)
    assert said in found.why


@given(st.binary(min_size=1, max_size=300), st.integers(1, 9))
def test_gzip_of_any_level_gives_the_same_answer(data: bytes, level: int) -> None:
    packed = zlib.compressobj(level, wbits=31)
    layered = packed.compress(data) + packed.flush()

    plain = recognise(data)

    if len(plain.layers) < 4:
        assert recognise(layered).layers == (Layer.GZIP, *plain.layers)
        assert recognise(layered).format is plain.format
