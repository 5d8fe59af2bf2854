"""Looking into a backup without a server: nothing in it is run, nothing is written.

An archive's rows come out of `pg_restore --file=-` as text, a plain dump is text already. Each
record is compared with its signed leaf, so that a backup which contains the tampering is found
before an hour is spent on restoring it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.clients import dump_tools
from tasks.clients.errors import ClientError
from tasks.domain.backup_contents import Contents, Inside, inspect
from tasks.domain.backups import Format
from tasks.domain.copy_text import CopiedRow, NoLogError, copied_rows
from tasks.domain.errors import BadInput
from tasks.work.log_heads import Head, stored_sizes
from tasks.work.log_store import LogStore
from tasks.work.signed_tree import signed_leaves

LOOK_SECONDS = 3600.0
_CHUNK = 1024 * 1024
_TABLE = "audit_records"
_ARCHIVES = frozenset({Format.CUSTOM, Format.DIRECTORY, Format.TAR})
_WHY_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Signed:
    """What backups are compared with: all signed leaves (32 bytes each), and the heads' sizes."""

    leaves: bytes
    heads: tuple[int, ...]


def signed_by(log: LogStore, head: Head) -> Signed:
    """The leaves under the head. Raises NotProven unless they give the signed root."""
    sizes = (size for size in stored_sizes(log) if size <= head.checkpoint.size)
    return Signed(signed_leaves(log, head.checkpoint), tuple(sizes))


def look_inside(
    dump: Path | Iterator[bytes],
    kind: Format,
    signed: Signed,
    *,
    database: str = "",
    at_least: int = 0,
    binaries: Path | None = None,
) -> Contents:
    """Compare the audit records of a fetched backup, its layers taken off, with the signed ones.

    `dump`: a file, a directory or, of a plain one, its bytes as they come out of the layers.
    `database` is the one that counts in a dump of several; `at_least` the records that a signed
    manifest promises. What cannot be read is an answer, not an error.
    """
    try:
        with _text_of(dump, kind, binaries) as text:
            found = _inspected(copied_rows(text, database), signed, at_least)
    except (BadInput, ClientError, OSError) as error:
        return Contents(Inside.UNREADABLE, why=str(error)[:_WHY_LIMIT])
    return found


def _inspected(rows: Iterator[CopiedRow], signed: Signed, at_least: int) -> Contents:
    """What the rows say; without a log that stands only if pg_restore did not fail in the end."""
    try:
        return inspect(rows, signed.leaves, at_least=at_least, heads=signed.heads)
    except NoLogError as error:
        return Contents(Inside.NO_LOG, why=str(error)[:_WHY_LIMIT])


@contextmanager
def _text_of(
    dump: Path | Iterator[bytes], kind: Format, binaries: Path | None
) -> Iterator[Iterator[bytes]]:
    """The dump's SQL text in chunks."""
    if not isinstance(dump, Path):
        yield dump
    elif kind is Format.PLAIN:
        with dump.open("rb") as file:
            yield _chunks(file)
    elif kind in _ARCHIVES:
        with dump_tools.table_as_text(
            dump, _TABLE, timeout_seconds=LOOK_SECONDS, binaries=binaries
        ) as text:
            yield _chunks(text)
    else:
        raise BadInput(f"expected a dump, found the format {kind}")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")
