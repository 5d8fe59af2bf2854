"""Whether an archive is whole where pg_restore does not notice that it was cut off.

A tar that ends early, a directory whose uncompressed or empty data file ends early: pg_restore
(18) restores fewer rows, or none, and ends well. What it does notice is left to it: custom archives
and compressed data that was cut.
"""

import os
import re
from pathlib import Path
from typing import BinaryIO

from tasks.domain.backups import Format
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.tar_headers import BLOCK_BYTES, read_header

_MOST_MEMBERS = 1_000_000
_TABLE = re.compile(r"\d+\.dat(?:\.(?:gz|lz4|zst))?")
_END_OF_ROWS = b"\\.\n\n\n"


def require_whole(archive: Path, kind: Format) -> None:
    """Raises NotProven when it is damaged or cut off."""
    try:
        if kind is Format.TAR:
            with archive.open("rb") as file:
                _walk(file, archive.stat().st_size)
        elif kind is Format.DIRECTORY:
            for each in archive.iterdir():
                if _TABLE.fullmatch(each.name):
                    _require_rows(each)
    except BadInput as error:
        raise NotProven(
            f"backup corrupt: {archive.name}: {error}: choose an older backup; "
            "production is untouched"
        ) from error


def _walk(file: BinaryIO, size: int) -> None:
    """From header to header, to the end mark."""
    for _ in range(_MOST_MEMBERS):
        member = read_header(file.read(BLOCK_BYTES))
        if member is None:
            return
        if file.seek(member.padded, os.SEEK_CUR) > size:
            raise BadInput(f"expected the whole of {'/'.join(member.parts)}, found it cut off")
    raise BadInput(f"expected at most {_MOST_MEMBERS} files in a tar, found more")


def _require_rows(data: Path) -> None:
    """A table's data file has a last line even without rows; compressed ones are never empty."""
    size = data.stat().st_size
    if data.suffix == ".dat" and size >= len(_END_OF_ROWS):
        with data.open("rb") as file:
            file.seek(-len(_END_OF_ROWS), os.SEEK_END)
            if file.read() == _END_OF_ROWS:
                return
    elif data.suffix != ".dat" and size:
        return
    raise BadInput(f"expected rows to their end in {data.name}, found {size} bytes without it")
