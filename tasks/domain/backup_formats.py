"""What a backup is, told by its first bytes: its name says nothing reliable.

`backup_2026-11-22.sql` may be an archive of `pg_restore`, compressed, encrypted, or all three. The
order of the questions is that of `pg_restore` itself, so that a file which looks like two things is
taken for the one that `pg_restore` would read. Nothing here is unpacked beyond a few KiB.

Sources: pg_backup_archiver.c and pg_backup_tar.c (archives), RFC 1952 (gzip), RFC 8878 (zstd), RFC
9580 and 4880 (OpenPGP), the PostgreSQL manual on pg_basebackup, pgBackRest's repository layout.
"""

import io
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import zstandard

from tasks.domain.backups import Format, Kind, Layer
from tasks.domain.openpgp import begins_message

HEAD_BYTES = 16 * 1024
"""What suffices nearly always."""

MOST_BYTES = 512 * 1024
"""What suffices for any first block: zstd's longest block, compressed badly, in another layer."""

_MOST_LAYERS = 4
_UNPACKED = 8 * 1024  # bytes of a layer's content that are looked at
_MOST_WINDOW = 128 * 1024 * 1024  # zstd's own default limit; a bomb declares more

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
_ARCHIVE = b"PGDMP"
_ARCHIVE_FORMAT_AT = 10  # after the magic, three bytes of version, two of sizes
_TOC = b"\x03"  # archTar of pg_backup.h: a directory says it too, so that it can be packed by tar
_SQL = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:--[^\r\n]*)?\r?\n){0,50}?"
    rb"-- PostgreSQL database (?P<cluster>cluster )?dump\r?\n"
)
_TAR_BLOCK = 512
_OTHERS = (
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"PK\x03\x04", "a zip file"),
    (b"Salted__", "encrypted by openssl"),
    (b"age-encryption.org/", "encrypted by age"),
)
_BASE_TAR = re.compile(r"base\.tar(\.(gz|zst|lz4))?")


@dataclass(frozen=True, slots=True)
class Recognised:
    """`layers` from the outside in; `why` says what it is instead when the format is unknown."""

    format: Format
    layers: tuple[Layer, ...] = ()
    kind: Kind = Kind.DUMP
    why: str = ""

    @property
    def sealed(self) -> bool:
        """Encrypted: nobody can say what is inside before it is opened."""
        return Layer.GPG in self.layers

    def __str__(self) -> str:
        """For people: `custom archive`, `plain SQL in gzip in gpg`, or what it is instead."""
        name = {
            (Kind.CLUSTER_DUMP, Format.PLAIN): "plain SQL of a cluster",
            (Kind.BASE, Format.TAR): "base backup",
            (Kind.BASE, Format.DIRECTORY): "base backup",
            (Kind.REPOSITORY, Format.UNKNOWN): str(Kind.REPOSITORY),
        }.get((self.kind, self.format), str(self.format))
        if self.format is Format.UNKNOWN and self.why:
            name = self.why
        return " in ".join([name, *reversed(self.layers)])


def recognise(head: bytes, read_more: Callable[[int], bytes] | None = None) -> Recognised:
    """What a file is by its first bytes (HEAD_BYTES of them).

    `read_more(size)` gives its first `size` bytes; it is asked once, when a layer's first block is
    longer than the head.
    """
    found, starved = _through_layers(head)
    if starved and read_more is not None and len(head) < MOST_BYTES:
        found, _ = _through_layers(read_more(MOST_BYTES))
    return found


def recognise_directory(names: Collection[str], head_of: Callable[[str], bytes]) -> Recognised:
    """What a directory is by the names of its files, and by the first bytes of the telling one."""
    base = next((name for name in sorted(names) if _BASE_TAR.fullmatch(name)), "")
    if "toc.dat" in names and "PG_VERSION" not in names:
        found = Recognised(Format.DIRECTORY)
        if not _is_toc(head_of("toc.dat")):
            found = _unknown("its toc.dat is none of pg_dump's directory format")
    elif base and "PG_VERSION" not in names:
        found = recognise(head_of(base))
        if found.kind is not Kind.BASE and not found.sealed:
            found = _unknown(f"its {base} is none of pg_basebackup's: {found}")
    elif "PG_VERSION" in names and "backup_label" in names:
        found = Recognised(Format.DIRECTORY, kind=Kind.BASE)
    elif "PG_VERSION" in names:
        found = _unknown("a data directory without backup_label: a bare copy")
    else:
        found = _unknown("nothing that tells what it is")
    return found


def _unknown(why: str, layers: Sequence[Layer] = ()) -> Recognised:
    return Recognised(Format.UNKNOWN, tuple(layers), why=why)


def _through_layers(data: bytes) -> tuple[Recognised, bool]:
    """What it is, and whether it is unknown only because `data` is too short."""
    layers: list[Layer] = []
    while len(layers) <= _MOST_LAYERS:
        layer = _layer(data)
        if layer is None:
            found = replace(_innermost(data), layers=tuple(layers))
            short = bool(layers) and len(data) < 2 * _TAR_BLOCK
            return found, short and found.format is Format.UNKNOWN
        layers.append(layer)
        if layer is Layer.GPG:
            return Recognised(Format.UNKNOWN, tuple(layers)), False
        try:
            data = _gunzip(data) if layer is Layer.GZIP else _unzstd(data)
        except (zlib.error, zstandard.ZstdError) as error:
            return _unknown(f"damaged {layer}: {str(error)[:100]}", layers), False
        if not data:
            return _unknown(f"{layer} without content", layers), True
    return _unknown("too many layers", layers), False


def _layer(data: bytes) -> Layer | None:
    if data.startswith(_GZIP):
        return Layer.GZIP
    if data.startswith(_ZSTD) or _ZSTD_SKIPPABLE.match(data):
        return Layer.ZSTD
    return Layer.GPG if begins_message(data) else None


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data, _UNPACKED)


def _unzstd(data: bytes) -> bytes:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
    with unpacker.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        return reader.read(_UNPACKED)


def _innermost(data: bytes) -> Recognised:
    if data.startswith(_ARCHIVE):
        if _is_toc(data):
            return _unknown("a table of contents without its data")
        return Recognised(Format.CUSTOM)
    sql = _SQL.match(data)
    if sql is not None:
        kind = Kind.CLUSTER_DUMP if sql["cluster"] else Kind.DUMP
        return Recognised(Format.PLAIN, kind=kind)
    member = _first_member(data)
    if member is not None:
        return _tar(member, data[_TAR_BLOCK:])
    return _unknown(_something_else(data))


def _is_toc(data: bytes) -> bool:
    """Whether it is a table of contents whose data lie in other files."""
    return data.startswith(_ARCHIVE) and data[_ARCHIVE_FORMAT_AT : _ARCHIVE_FORMAT_AT + 1] == _TOC


def _first_member(data: bytes) -> str | None:
    """The first member's name if `data` begins like a tar: the checksum decides, as in pg_dump."""
    block = data[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not block[0]:
        return None
    written = re.fullmatch(rb"[ \x00]*([0-7]{1,7})[ \x00]*", block[148:156])
    if written is None or int(written[1], 8) != sum(block[:148] + b" " * 8 + block[156:]):
        return None
    return block[:100].partition(b"\x00")[0].decode("utf-8", "replace")


def _tar(member: str, content: bytes) -> Recognised:
    name = member.removeprefix("./")
    if name == "toc.dat":
        if _is_toc(content):
            return Recognised(Format.TAR)
        return _unknown("a tar whose toc.dat is none of pg_dump's")
    if name in {"backup_label", "tablespace_map"}:
        return Recognised(Format.TAR, kind=Kind.BASE)
    return _unknown("a tar that is none of pg_dump or pg_basebackup")


def _something_else(data: bytes) -> str:
    if not data:
        return "empty"
    if not data.strip(b"\x00"):
        return "nothing but zero bytes"
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return name
    text = data[:1024]
    if b"\x00" not in text and all(byte >= 32 or byte in b"\t\r\n\f" for byte in text):  # noqa: PLR2004  controls
        return "text without the heading of pg_dump"
    return "no format that is known here"
