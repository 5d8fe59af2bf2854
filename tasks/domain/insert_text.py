"""Lists of names and of values in the SQL that pg_dump writes: columns, and rows of an INSERT.

Only what pg_dump writes is read; anything else is refused. Source: dumpTableData_insert of
pg_dump.c, and the lexical rules of the PostgreSQL manual with standard_conforming_strings on.
"""

import re
from collections.abc import Iterator

from tasks.domain.errors import BadInput

Value = bytes | None
"""A string's content or a number as it is written; None for NULL, and for DEFAULT: generated."""

_NAME = rb'(?:"(?:[^"]|"")+"|[a-z_\x80-\xff][a-z0-9_$\x80-\xff]*)'
_NAMES = re.compile(rb"\((" + _NAME + rb"(?:, " + _NAME + rb")*)\)")
_ONE_NAME = re.compile(_NAME)
_DEFINED = re.compile(rb"^    (" + _NAME + rb") ", re.MULTILINE)
_VALUES = re.compile(rb"(?:OVERRIDING SYSTEM VALUE )?VALUES\s*\(")
_VALUE = re.compile(
    rb"(?:B?'(?P<text>[^']*(?:''[^']*)*)'|(?P<null>NULL|DEFAULT)"
    rb"|(?P<plain>-?[0-9][0-9.eE+-]*|true|false))"
    rb"(?P<after>, |\),\s*\(|(?P<last>\)(?:\s*ON CONFLICT DO NOTHING)?\Z))"
)


def names_in(text: bytes) -> tuple[str, ...]:
    """The names of `(a, "b c")`. Raises BadInput for anything else."""
    found = _NAMES.fullmatch(text)
    if found is None:
        raise BadInput(f"expected a list of columns, found {text[:200]!a}")
    return tuple(_unquoted(name) for name in _ONE_NAME.findall(found[1]))


def table_columns(statement: bytes) -> tuple[str, ...]:
    """The columns of a CREATE TABLE as pg_dump writes it, a line each; CONSTRAINT is no name."""
    return tuple(_unquoted(name) for name in _DEFINED.findall(statement))


def values_of(text: bytes) -> Iterator[list[Value]]:
    """The rows of an INSERT, from VALUES on. Raises BadInput for what is no plain value."""
    begun = _VALUES.match(text)
    at = begun.end() if begun else 0
    row: list[Value] = []
    while begun is not None and (value := _VALUE.match(text, at)) is not None:
        row.append(_content(value))
        at = value.end()
        if value["after"] == b", ":
            continue
        yield row
        row = []
        if value["last"] is not None:
            return
    raise _unread(text[at:])


def _content(value: re.Match[bytes]) -> Value:
    if value["null"] is not None:
        return None
    text = value["text"]
    return value["plain"] if text is None else text.replace(b"''", b"'")


def _unquoted(name: bytes) -> str:
    plain = name[1:-1].replace(b'""', b'"') if name.startswith(b'"') else name
    return plain.decode("utf-8", "replace")


def _unread(text: bytes) -> BadInput:
    return BadInput(f"expected plain values in an INSERT of the audit log, found {text[:60]!a}")
