"""Decoded JSON of another system, read field by field with types and bounds.

A field that is missing or null is its default (Go omits what is empty); one of another type is
BadInput that names its path, so that nonsense is never taken for "nothing there".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput

_LARGEST = 2**63
_PAIRS = 512
_EXACT = re.compile(r"[!-~]{0,512}")
_EXCERPT = 60


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of the answer; `where` is its path for messages."""

    where: str
    value: Mapping[str, Any]

    @classmethod
    def of(cls, where: str, value: object) -> "Fields":
        """Raises BadInput when it is no object."""
        if not isinstance(value, dict):
            complain(where, "an object", value)
        return cls(where, value)

    def within(self, name: str) -> "Fields":
        """The object in this field; an empty one when the field is missing."""
        return Fields.of(self._path(name), self._found(name, {}))

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.value.get(name) is not None

    def text(self, name: str, limit: int = 1024) -> str:
        """Text to be shown: printable and cut at `limit`; empty when missing."""
        return clean(self._string(name), limit)

    def exact(self, name: str) -> str:
        """Text that is sent back or compared: visible ASCII up to 512 characters, unchanged."""
        found = self._string(name)
        if _EXACT.fullmatch(found) is None:
            complain(self._path(name), "up to 512 visible ASCII characters", found)
        return found

    def number(self, name: str, default: int = 0) -> int:
        """A whole number from 0 to 2**63."""
        found = self._found(name, default)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < _LARGEST:
            complain(self._path(name), "a whole number", found)
        return found

    def flag(self, name: str) -> bool:
        """True or false; false when missing."""
        found = self._found(name, default=False)
        if not isinstance(found, bool):
            complain(self._path(name), "true or false", found)
        return found

    def moment(self, name: str) -> datetime | None:
        """A time of RFC 3339 in UTC; none when missing."""
        found = self._string(name)
        if not found:
            return None
        try:
            moment = datetime.fromisoformat(found[:40])
            known = moment.astimezone(UTC) if moment.tzinfo else None
        except (ValueError, OverflowError):
            known = None
        if known is None:
            complain(self._path(name), "a time of RFC 3339 with its zone", found)
        return known

    def each(self, name: str, limit: int) -> Iterator["Fields"]:
        """The objects of a list, at most `limit`; more of them is BadInput."""
        for place, item in enumerate(self._list(name, limit)):
            yield Fields.of(f"{self._path(name)}[{place}]", item)

    def texts(self, name: str, limit: int = _PAIRS) -> tuple[str, ...]:
        """A list of texts, unchanged."""
        found = self._list(name, limit)
        for item in found:
            if not isinstance(item, str):
                complain(self._path(name), "texts", item)
        return tuple(found)

    def pairs(self, name: str) -> dict[str, str]:
        """A map of text to text (labels, annotations, resources), unchanged."""
        found = self.within(name).value
        if len(found) > _PAIRS:
            complain(self._path(name), f"at most {_PAIRS} entries", len(found))
        for key, item in found.items():
            if not isinstance(item, str):
                complain(f"{self._path(name)}.{clean(key, _EXCERPT)}", "text", item)
        return dict(found)

    def _string(self, name: str) -> str:
        found = self._found(name, "")
        if not isinstance(found, str):
            complain(self._path(name), "text", found)
        return found

    def _list(self, name: str, limit: int) -> list[Any]:
        found = self._found(name, [])
        if not isinstance(found, list):
            complain(self._path(name), "a list", found)
        if len(found) > limit:
            complain(self._path(name), f"at most {limit} entries", len(found))
        return found

    def _found(self, name: str, default: Any) -> Any:  # noqa: ANN401  JSON of another system
        found = self.value.get(name)
        return default if found is None else found

    def _path(self, name: str) -> str:
        return f"{self.where}.{name}"


def complain(where: str, wanted: str, found: object) -> NoReturn:
    """Raise BadInput that says which field is wrong, with a bounded excerpt."""
    shown = clean(str(found)[:_EXCERPT], _EXCERPT)
    raise BadInput(f"{where}: expected {wanted}, found {type(found).__name__} {shown!r}")
