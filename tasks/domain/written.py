"""TOML that a person wrote: bounded, typed, and every complaint names the table and the field."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Never, TypeVar

from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput

MAX_BYTES = 256 * 1024
"""Of one file."""

_MAX_DOTS = 100  # on a line: the standard library's parser is slow with deep dotted keys
_DURATION = re.compile(
    r"(?:(?P<weeks>\d{1,4})w)?(?:(?P<days>\d{1,4})d)?(?:(?P<hours>\d{1,6})h)?"
    r"(?:(?P<minutes>\d{1,6})m)?(?:(?P<seconds>\d{1,9})s)?"
)
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

Choice = TypeVar("Choice", bound=StrEnum)


def load(text: str) -> Mapping[str, Any]:
    """The document of a TOML text. BadInput has the line and column of what is no TOML."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise BadInput(f"expected at most {MAX_BYTES} bytes of TOML, found more")
    if max(line.count(".") for line in text.split("\n")) > _MAX_DOTS:
        raise BadInput(f"expected at most {_MAX_DOTS} dots on a line, found more")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected TOML: {clean(str(error), 200)}") from error


def tables(document: Mapping[str, Any], name: str, limit: int, text: str) -> list["Table"]:
    """The tables [[name]], at least one and at most `limit`, each with the line it begins on."""
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadInput(f"{name}: expected tables, written [[{name}]]")
    if not 0 < len(found) <= limit:
        raise BadInput(f"{name}: expected 1 to {limit} tables [[{name}]], found {len(found)}")
    lines = _lines_of(name, text)
    places = (
        f"{name}[{place}] (line {lines[place - 1]})"
        if len(lines) == len(found)
        else f"{name}[{place}]"
        for place in range(1, len(found) + 1)
    )
    return [Table(where, one) for where, one in zip(places, found, strict=True)]


def _lines_of(name: str, text: str) -> list[int]:
    """Where [[name]] stands at the beginning of a line; a text in a text can mislead it."""
    header = re.compile(rf"\s*\[\[\s*{re.escape(name)}\s*\]\]")
    return [at for at, line in enumerate(text.split("\n"), 1) if header.match(line)]


@dataclass(frozen=True, slots=True)
class Table:
    """One table: each method reads one field, or complains with `where` and the field's name."""

    where: str
    fields: Mapping[str, Any]

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def named(self, name: str) -> "Table":
        """The same table, which complaints call by its name too."""
        return Table(f'{self.where} "{name}"', self.fields)

    def over(self, defaults: Mapping[str, Any]) -> "Table":
        """The same table, with what it does not say taken from `defaults`."""
        return Table(self.where, {**defaults, **self.fields})

    def check_known(self, known: Collection[str]) -> None:
        """Refuse fields that nobody would read."""
        for field in self.fields:
            if field not in known:
                shown = clean(ascii(field), 60)
                self.complain(shown, f"one of {', '.join(sorted(known))}", "a field not known")

    def table(self, field: str) -> "Table":
        """A table within the table."""
        value = self.fields.get(field)
        if not isinstance(value, dict):
            self.complain(field, "a table", value)
        return Table(f"{self.where}.{field}", value)

    def text(self, field: str, limit: int) -> str:
        """A text of 1 to `limit` printable characters."""
        value = self.fields.get(field)
        if not isinstance(value, str) or not value or len(value) > limit or clean(value) != value:
            self.complain(field, f"a text of 1 to {limit} printable characters", value)
        return value

    def label(self, field: str, pattern: re.Pattern[str]) -> str:
        """A text that is wholly of the pattern's form."""
        value = self.fields.get(field)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.complain(field, f"a text of the form {pattern.pattern}", value)
        return value

    def one_of(self, field: str, known: Collection[str]) -> str:
        """One of a few texts."""
        value = self.fields.get(field)
        if not isinstance(value, str) or value not in known:
            self.complain(field, f"one of {', '.join(sorted(known))}", value)
        return value

    def choice(self, field: str, kind: type[Choice]) -> Choice:
        """One of an enumeration's values."""
        return kind(self.one_of(field, [each.value for each in kind]))

    def texts(self, field: str, limit: int) -> tuple[str, ...]:
        """A list of at most `limit` different texts, none of them empty."""
        value = self.fields.get(field)
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            self.complain(field, "a list of texts", value)
        if len(value) > limit or len(set(value)) != len(value):
            self.complain(field, f"at most {limit} texts, each once", f"{len(value)} texts")
        return tuple(value)

    def count(self, field: str, least: int, most: int) -> int:
        """A whole number."""
        value = self.fields.get(field)
        if type(value) is not int or not least <= value <= most:
            self.complain(field, f"a whole number from {least} to {most}", value)
        return value

    def flag(self, field: str) -> bool:
        """True or false."""
        value = self.fields.get(field)
        if not isinstance(value, bool):
            self.complain(field, "true or false", value)
        return value

    def duration(self, field: str, most: timedelta) -> timedelta:
        """A duration as Prometheus writes it, in whole seconds: 90s, 1h30m, 7d; 0s is none."""
        value = self.fields.get(field)
        found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if found is None:
            self.complain(field, "a duration such as 0s, 90s, 1h30m or 7d", value)
        length = timedelta(**{unit: int(number or 0) for unit, number in found.groupdict().items()})
        if length > most:
            self.complain(field, f"at most {duration_text(most)}", value)
        return length

    def complain(self, field: str, expected: str, found: object) -> Never:
        """Raise BadInput about a field."""
        shown = (
            "none" if found is None
            else clean(str(found), 80) if isinstance(found, str | int | float)
            else type(found).__name__
        )  # fmt: skip
        raise BadInput(f"{self.where}: {field}: expected {expected}, found {shown}")


def duration_text(length: timedelta) -> str:
    """A duration as Prometheus writes it, to the second; the inverse of `Table.duration`."""
    rest = int(length.total_seconds())
    parts = []
    for unit, seconds in _UNITS:
        number, rest = divmod(rest, seconds)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
