"""What a collector offers: pieces of evidence that are opened, and read, only when they are sealed.

A piece is a stream, so that a dump of any size passes through as it comes. A list or an answer,
which is small, becomes one.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self

from tasks.clients.age import Source
from tasks.domain.collection import Part
from tasks.domain.errors import RunbookError

TOOL = "runbook"


@dataclass(frozen=True, slots=True)
class Piece:
    """One item to be. `source`: where it comes from, in words; never a password or a token.

    `remarks`: what is known of it beforehand.
    """

    part: Part
    source: str
    opened: Callable[[], AbstractContextManager[Source]]
    tool: str = TOOL
    version: str = ""
    arguments: tuple[str, ...] = ()
    remarks: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of the plan, and the pieces of which it turns out to consist when it is looked at.

    `system`: which system it asks; one that does not answer is not asked a second time.
    """

    part: Part
    system: str
    pieces: Callable[[], Iterable[Piece]]


def single(
    part: Part,
    system: str,
    source: str,
    opened: Callable[[], AbstractContextManager[Source]],
    *,
    tool: str = TOOL,
    arguments: tuple[str, ...] = (),
) -> Wanted:
    """A part that is one piece."""
    piece = Piece(part, source, opened, tool, own_version(), arguments)
    return Wanted(part, system, lambda: [piece])


def own_version() -> str:
    """Of this program."""
    return version("rlhf-audit-runbook")


@contextmanager
def as_json(look: Callable[[], Any]) -> Iterator[Source]:
    """What a look answers, as JSON; what JSON has no form for, as its text."""
    yield io.BytesIO(json.dumps(look(), indent=1, default=str).encode() + b"\n")


@contextmanager
def as_bytes(read: Callable[[], bytes]) -> Iterator[Source]:
    """Small bytes, as they are."""
    yield io.BytesIO(read())


@contextmanager
def as_stream(begin: Callable[[], Iterator[bytes]]) -> Iterator[Source]:
    """Bytes as they come; whoever makes them is told when the reader stops."""
    made = begin()
    try:
        yield _Stream(made)
    finally:
        close = getattr(made, "close", None)
        if close is not None:
            close()


class _Stream:
    """An iterator of bytes, to be read from."""

    def __init__(self, made: Iterator[bytes]) -> None:
        self._made = made
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            found = next(self._made, None)
            if found is None:
                return b""
            self._rest = memoryview(found)
        part = self._rest[: size if size >= 0 else None]
        self._rest = self._rest[len(part) :]
        return bytes(part)


class Offered:
    """The pieces of a part, one by one; what ends them early is kept: no more of them come."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._pieces: Iterator[Piece] | None = None
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()

    def next(self) -> Piece | None:
        """The next one, or None."""
        try:
            if self._pieces is None:
                self._pieces = iter(self._wanted.pieces())
            return next(self._pieces, None)
        except (RunbookError, OSError) as error:
            self.error = error
            return None


class Bounded:
    """Reads so many bytes and no more; `cut` says that there were."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._left = limit
        self.cut = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end and beyond the limit."""
        if self.cut:
            return b""
        wanted = self._left + 1 if size < 0 else min(size, self._left + 1)
        data = self._source.read(wanted)
        if len(data) > self._left:
            self.cut = True
            data = data[: self._left]
        self._left -= len(data)
        return data
