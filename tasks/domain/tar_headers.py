"""Headers of the tar files that pg_basebackup writes, and nothing else that a tar can hold.

PostgreSQL writes plain ustar: regular files, directories, and links for tablespaces. Python's
tarfile reads far more (long names, PAX attributes, devices, sparse files), and each is a way for a
hostile archive to write elsewhere or to fill memory. So everything but the first two is refused.
"""

from dataclasses import dataclass

from tasks.domain.errors import BadInput

BLOCK_BYTES = 512

_SIZE, _CHECKSUM, _KIND, _LINK = slice(124, 136), slice(148, 156), 156, slice(157, 257)
_MAGIC, _PREFIX = slice(257, 262), slice(345, 500)
_FILE, _DIRECTORY, _SYMLINK = b"0", b"5", b"2"
_MAX_SIZE = 1 << 50


@dataclass(frozen=True, slots=True)
class Member:
    """A file or directory: `parts` of its path, each a plain name; `size` in bytes."""

    parts: tuple[str, ...]
    is_directory: bool
    size: int

    @property
    def padded(self) -> int:
        """Bytes that its content takes in the tar: whole blocks."""
        return -(-self.size // BLOCK_BYTES) * BLOCK_BYTES


def read_header(block: bytes) -> Member | None:
    """The member that a header announces, None for the block of zeros at the end.

    Raises BadInput for a damaged header, a path that leads outside, and every other kind.
    """
    if len(block) != BLOCK_BYTES:
        raise BadInput(f"expected a tar header of 512 bytes, found {len(block)}: it is cut off")
    if not any(block):
        return None
    written = _octal(block[_CHECKSUM], "checksum")
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    if block[_MAGIC] != b"ustar" or sum(blank) != written:
        raise BadInput("expected a tar header with its checksum, found other bytes: it is damaged")
    name, prefix = _text(block[:100]), _text(block[_PREFIX])
    path = f"{prefix}/{name}" if prefix else name
    kind = block[_KIND : _KIND + 1]
    if kind == _SYMLINK:
        raise BadInput(
            f"expected files and directories, found the link {path[:100]!r} to "
            f"{_text(block[_LINK])[:100]!r}: bases with tablespaces or links are restored by hand"
        )
    if kind not in (_FILE, b"\0", _DIRECTORY):
        raise BadInput(f"expected files and directories, found {path[:100]!r} of kind {kind!r}")
    size = _number(block[_SIZE])
    return Member(_parts(path), kind == _DIRECTORY, 0 if kind == _DIRECTORY else size)


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(part for part in path.removeprefix("./").rstrip("/").split("/"))
    plain = all(part not in ("", ".", "..") and part.isprintable() for part in parts)
    if path.rstrip("/") in (".", ""):
        return ()
    if not plain or path.startswith("/") or "\\" in path:
        raise BadInput(f"expected a path inside the backup, found {path[:100]!r}: refused")
    return parts


def _text(field: bytes) -> str:
    try:
        return field.split(b"\0", 1)[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"expected a name in UTF-8, found {field[:100]!r}") from error


def _number(field: bytes) -> int:
    """Octal digits, or base 256 for files of 8 GiB and more."""
    size = int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field, "size")  # noqa: PLR2004
    if size > _MAX_SIZE:
        raise BadInput(f"expected a file of at most {_MAX_SIZE} bytes, found {size}")
    return size


def _octal(field: bytes, what: str) -> int:
    digits = field.strip(b" \0")
    if not digits.isdigit() or set(digits) - set(b"01234567"):
        raise BadInput(f"expected the {what} in octal digits, found {field!r}")
    return int(digits, 8)
