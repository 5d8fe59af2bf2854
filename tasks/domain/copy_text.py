r"""The rows of the audit log in the SQL text of a dump, found without running any of it.

`pg_restore --file=-` and plain dumps write a table as a COPY block (a header with the columns, a
line a row with tabs between the values, `\.` at the end) or, asked to, as INSERT statements. The
text is cut as psql would cut it, so that what stands in a string or in the body of a function is no
block. It may be an attacker's: whatever could be read in two ways is refused, not guessed.
"""

from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.domain.dump_statements import connected
from tasks.domain.errors import BadInput
from tasks.domain.insert_text import Value, names_in, table_columns, values_of
from tasks.domain.sql_script import Command, Data, DataEnd, Piece, Script, Statement

ROW_BYTES = 8 * 1024 * 1024
"""Longest row that is read whole: a record of 1 MiB in hex, and what is derived from it."""

_TABLE = b"public.audit_records"
_COPY, _INSERT = b"COPY " + _TABLE + b" ", b"INSERT INTO " + _TABLE + b" "
_CREATE = b"CREATE TABLE " + _TABLE + b" ("
_FROM = b" FROM stdin"
_NULL = b"\\N"
_HEX = b"\\x"
_SEQ_DIGITS = 19


@dataclass(frozen=True, slots=True)
class CopiedRow:
    """One row as it stands in the dump; None where it says NULL, or the column is not there."""

    seq: int
    record: bytes | None
    leaf: bytes | None


class NoLogError(BadInput):
    """The dump has no audit log in it."""


def copied_rows(text: Iterable[bytes], database: str = "") -> Iterator[CopiedRow]:
    """The log's rows in the dump's order; `text` is the dump in chunks of any length.

    In a dump of several databases only the rows of `database` count. Raises BadInput for text that
    cannot be read in one way, or that ends in the middle; NoLogError without the table.
    """
    pieces = Script(text).pieces()
    defined: tuple[str, ...] = ()
    found, counts = False, True
    for piece in pieces:
        if isinstance(piece, Command):
            name = connected(piece.text)
            counts = counts if name is None else not database or name == database
        elif isinstance(piece, Statement) and piece.takes_data:
            if counts and piece.text.startswith(_COPY):
                found = True
                columns = _Columns.of(_header(piece.text))
                yield from map(columns.copied, _lines(pieces))
            else:
                _skip(pieces)
        elif isinstance(piece, Statement) and counts:
            if piece.text.startswith(_CREATE):
                defined = table_columns(piece.text)
            elif piece.text.startswith(_INSERT):
                found = True
                yield from _inserted(piece.text, defined)
    if not found:
        raise NoLogError("expected the table public.audit_records in the dump, found none")


def _skip(pieces: Iterator[Piece]) -> None:
    """Another table's data."""
    for piece in pieces:
        if isinstance(piece, DataEnd):
            break


def _lines(pieces: Iterator[Piece]) -> Iterator[bytes]:
    """Lines of a table's data without their line feeds, up to its end mark."""
    rest = b""
    for piece in pieces:
        if isinstance(piece, DataEnd):
            break
        if isinstance(piece, Data):
            *whole, rest = (rest + piece.lines).split(b"\n")
            yield from whole
            if len(rest) > ROW_BYTES:
                raise BadInput(f"expected rows of at most {ROW_BYTES} bytes, found a longer one")
    if rest:
        yield rest


def _header(statement: bytes) -> tuple[str, ...]:
    """The columns that a COPY statement names."""
    columns = statement.removeprefix(_COPY)
    if not columns.endswith(_FROM):
        raise _no_columns(statement)
    return names_in(columns.removesuffix(_FROM))


def _inserted(statement: bytes, defined: tuple[str, ...]) -> Iterator[CopiedRow]:
    """The rows of an INSERT; its columns are those of the table when it names none."""
    rest = statement.removeprefix(_INSERT)
    named: tuple[str, ...] = ()
    if rest.startswith(b"("):
        names, end, rest = rest.partition(b")")
        named = names_in(names + end)
        rest = rest.lstrip()
    columns = _Columns.of(named or defined)
    yield from map(columns.inserted, values_of(rest))


@dataclass(frozen=True, slots=True)
class _Columns:
    count: int
    seq: int
    record: int
    leaf: int | None

    @classmethod
    def of(cls, names: tuple[str, ...]) -> "_Columns":
        if names.count("seq") != 1 or names.count("record") != 1 or names.count("leaf") > 1:
            raise _no_columns(", ".join(names).encode())
        leaf = names.index("leaf") if "leaf" in names else None
        return cls(len(names), names.index("seq"), names.index("record"), leaf)

    def copied(self, line: bytes) -> CopiedRow:
        """A row of a COPY, which doubles the backslash that bytea in hex begins with."""
        values = line.split(b"\t")
        self._check(len(values), line)
        leaf = None if self.leaf is None else _copied(values[self.leaf])
        return CopiedRow(_seq(values[self.seq]), _copied(values[self.record]), leaf)

    def inserted(self, values: list[Value]) -> CopiedRow:
        """A row of an INSERT."""
        self._check(len(values), b", ".join(each or b"NULL" for each in values))
        leaf = None if self.leaf is None else _bytea(values[self.leaf])
        return CopiedRow(_seq(values[self.seq] or b""), _bytea(values[self.record]), leaf)

    def _check(self, count: int, line: bytes) -> None:
        if count != self.count:
            raise BadInput(
                f"expected {self.count} values a row in the audit log, found {count} in "
                f"{line[:60]!a}: the dump is cut off or damaged"
            )


def _no_columns(found: bytes) -> BadInput:
    return BadInput(
        "expected rows of public.audit_records with its columns seq and record, found "
        f"{found[:200]!a}"
    )


def _seq(value: bytes) -> int:
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > _SEQ_DIGITS:
        raise BadInput(f"expected a number as seq of a record, found {value[:40]!a}")
    return int(value)


def _copied(value: bytes) -> bytes | None:
    if value == _NULL:
        return None
    return _bytea(value[1:] if value.startswith(b"\\") else value)


def _bytea(value: Value) -> bytes | None:
    if value is None:
        return None
    if not value.startswith(_HEX):
        raise BadInput(f"expected bytea in hex in the audit log, found {value[:40]!a}")
    try:
        return unhexlify(value[len(_HEX) :])
    except HexError as error:
        raise BadInput(f"expected bytea in hex in the audit log, found {value[:40]!a}") from error
