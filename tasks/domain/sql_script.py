"""A dump in plain SQL, cut into statements and table data without running any of it.

psql must not read a dump that somebody else may have written: its backslash commands run programs.
So the text is cut here, by psql's own rules (quotes, dollar quotes, comments, parentheses, bodies
of BEGIN ATOMIC), and the pieces go to the server one by one. Whoever tricks the cutting gains
nothing: the server judges each piece by the rights of the role that sends it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tasks.domain.errors import BadInput

STATEMENT_LIMIT = 64 * 1024 * 1024
"""Bytes; PostgreSQL itself takes less than 1 GB, dumps write much less."""

_DATABASE, _CLUSTER = b"PostgreSQL database dump", b"PostgreSQL database cluster dump"
_COMPLETE = b" complete"
_WORD = rb"A-Za-z0-9_$\x80-\xff"
_TOKEN = re.compile(
    rb"(?P<escape>(?<![" + _WORD + rb"])[eE]')"
    rb"|(?P<quote>'|\")"
    rb"|(?P<dollar>(?<![" + _WORD + rb"])\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$)"
    rb"|(?P<remark>--)|(?P<comment>/\*)|(?P<end>;)|(?P<paren>[()])|(?P<meta>\\)"
    rb"|(?P<block>(?<![" + _WORD + rb"])(?:begin|case|end)(?![" + _WORD + rb"]))",
    re.IGNORECASE,
)
_COMMENT = re.compile(rb"/\*|\*/")
_ROUTINE = re.compile(rb"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)
_COPY = re.compile(rb"\s*COPY\s", re.IGNORECASE)
_FROM_STDIN = re.compile(rb"\sFROM\s{1,9}STDIN\b[^']*\Z", re.IGNORECASE)
_COPY_END = 1024  # what follows FROM STDIN is a few options; text of any length is not searched
_MARKED = re.compile(rb"\\\.\r?(?:\n.*)?", re.DOTALL)
_GATHERED = 1024 * 1024
_MARK = 4  # bytes of the longest end mark


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon and comments; `line` (from 1) is where it begins."""

    line: int
    text: bytes
    takes_data: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A backslash command at the beginning of a line, which psql would carry out."""

    line: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Data:
    """A stretch of the data of the COPY statement before it, of any length."""

    lines: bytes


@dataclass(frozen=True, slots=True)
class DataEnd:
    """The end mark of a COPY statement's data; `line` is where it stands."""

    line: int


Piece = Statement | Command | Data | DataEnd


class Script:
    """The pieces of one script, read once, in one pass, in little memory.

    Raises BadInput, with the line, for what cannot be a whole dump: no header of pg_dump or
    pg_dumpall, no mark of completeness at its end, a quote or data that never ends.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0
        self._ended = False
        self.line = 0
        self.is_cluster = False
        self._header = self._complete = False

    def pieces(self) -> Iterator[Piece]:
        """All of them in order. A Statement that takes data is followed by Data and a DataEnd."""
        cutter = _Cutter()
        while (text := self._next_line()) is not None:
            self.line += 1
            for piece in cutter.cut(text, self.line, self._remarked):
                if isinstance(piece, Statement) and piece.takes_data:
                    if cutter.rest.strip():
                        raise BadInput(f"line {self.line}: expected data on the line after COPY")
                    yield piece
                    yield from self._data(piece.line)
                else:
                    yield piece
        cutter.close(self.line)
        if not self._header:
            raise BadInput("expected the header of pg_dump or pg_dumpall, found none: not a dump")
        if not self._complete:
            raise BadInput(
                f"line {self.line}: expected the dump's mark of completeness at its end, found "
                "none: it was cut off"
            )

    def _remarked(self, remark: bytes) -> None:
        for title in (_DATABASE, _CLUSTER):
            if remark == title:
                self._header, self._complete = True, False
                self.is_cluster = self.is_cluster or title == _CLUSTER
            elif remark == title + _COMPLETE and (title == _CLUSTER or not self.is_cluster):
                self._complete = True

    def _more(self) -> None:
        """At least a megabyte more, or the end: so that no length of line costs its square."""
        parts, size = [self._buffer[self._at :]], 0
        while size < _GATHERED:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._ended = True
                break
            parts.append(chunk)
            size += len(chunk)
        self._buffer = b"".join(parts)
        self._at = 0

    def _next_line(self) -> bytes | None:
        searched = self._at
        while (end := self._buffer.find(b"\n", searched)) < 0:
            waiting = len(self._buffer) - self._at
            if waiting > STATEMENT_LIMIT:
                raise BadInput(f"line {self.line + 1}: expected a line of at most 64 MB")
            searched = waiting
            if not self._ended:
                self._more()
            else:
                rest, self._buffer, self._at = self._buffer[self._at :], b"", 0
                return rest or None
        text = self._buffer[self._at : end + 1]
        self._at = end + 1
        return text

    def _data(self, begun: int) -> Iterator[Piece]:
        """Stretches of any length, until a line that is only the end mark."""
        at_line_start = True
        while True:
            rest = self._buffer[self._at :]
            start, end = _end_mark(rest, at_line_start=at_line_start, ended=self._ended)
            if start > 0:
                yield self._counted(rest[:start])
                at_line_start = rest[start - 1 : start] == b"\n"
                self._at += start
            if end >= 0:
                self._at += end - start
                self.line += 1
                yield DataEnd(self.line)
                return
            if self._ended:
                raise BadInput(
                    f"line {begun}: expected the end of the table's data, found the end of the "
                    "file: it was cut off"
                )
            self._more()

    def _counted(self, lines: bytes) -> Data:
        self.line += lines.count(b"\n")
        return Data(lines)


def _end_mark(data: bytes, *, at_line_start: bool, ended: bool) -> tuple[int, int]:
    """Where the end mark begins and ends; (what surely is data before it, -1) without one."""
    at = -1 if at_line_start else data.find(b"\n\\.")
    while at_line_start or at >= 0:
        mark = data[at + 1 : at + 1 + _MARK]
        if _MARKED.fullmatch(mark) and (b"\n" in mark or ended):
            end = mark.find(b"\n") + 1 or len(mark)
            return at + 1, at + 1 + end
        if len(mark) < _MARK and not ended and b"\\.\r\n".startswith(mark):
            return at + 1, -1  # more must come before one can say
        at_line_start = False
        at = data.find(b"\n\\.", at + 1 if at >= 0 else 0)
    return len(data) if ended else max(0, len(data) - _MARK), -1


class _Cutter:
    """The state between lines: what is open, and the statement so far."""

    def __init__(self) -> None:
        self.rest = b""
        self._text = bytearray()  # not a list: a hostile file may have a token at each byte
        self._begun = 0
        self._open = b""  # the quote, dollar quote or "/*" that is open
        self._depth = 0  # of comments
        self._parens = 0
        self._blocks = 0

    def cut(self, text: bytes, line: int, remarked: Callable[[bytes], None]) -> Iterator[Piece]:
        """The pieces that end on this line."""
        at = 0
        while at < len(text):
            if self._open:
                at = self._skip_open(text, at)
                continue
            token = _TOKEN.search(text, at)
            if token is None:
                self._add(text[at:], line)
                return
            self._add(text[at : token.start()], line)
            at = token.end()
            match token.lastgroup:
                case "remark":
                    remarked(text[at:].strip())
                    self._add(b"\n", line)
                    return
                case "meta":
                    if self._text:
                        raise BadInput(
                            f"line {line}: expected no backslash inside a statement, found one"
                        )
                    yield Command(line, text[token.start() :].strip())
                    return
                case "end" if not self._parens and not self._blocks:
                    self.rest = text[at:]
                    if self._text:
                        yield self._statement()
                case kind:
                    self._track(kind or "", token.group(), line)

    def close(self, line: int) -> None:
        """The end of the file; nothing may be open."""
        if self._open or self._text:
            raise BadInput(
                f"line {self._begun or line}: expected the end of a statement, found the end of "
                "the file: it was cut off"
            )

    def _track(self, kind: str, token: bytes, line: int) -> None:
        match kind:
            case "comment":
                self._open, self._depth = b"/*", 1
                return
            case "quote" | "dollar":
                self._open = token
            case "escape":
                self._open = b"E'"
            case "paren":
                self._parens = max(0, self._parens + (1 if token == b"(" else -1))
            case "block" if _ROUTINE.match(self._text):
                closes = token.lower() == b"end"
                opens = token.lower() == b"begin" or self._blocks > 0
                self._blocks = max(0, self._blocks - 1) if closes else self._blocks + opens
        self._add(token, line)

    def _skip_open(self, text: bytes, at: int) -> int:
        """Where what is open ends on this line, or the line's end."""
        if self._open == b"/*":
            return self._skip_comment(text, at)
        if self._open == b"E'":
            end = at
            while end < len(text) and text[end : end + 1] != b"'":
                end += 2 if text[end : end + 1] == b"\\" else 1
            found = end if end < len(text) else -1
            closing = b"'"
        else:
            found, closing = text.find(self._open, at), self._open
        end = len(text) if found < 0 else found + len(closing)
        self._add(text[at:end], self._begun)
        if found >= 0:
            self._open = b""
        return end

    def _skip_comment(self, text: bytes, at: int) -> int:
        for mark in _COMMENT.finditer(text, at):
            self._depth += 1 if mark.group() == b"/*" else -1
            if not self._depth:
                self._open = b""
                self._add(b" ", self._begun)
                return mark.end()
        return len(text)

    def _add(self, text: bytes, line: int) -> None:
        if not self._text:
            text = text.lstrip()
            if not text:
                return
            self._begun = line
        self._text += text
        if len(self._text) > STATEMENT_LIMIT:
            raise BadInput(f"line {self._begun}: expected a statement of at most 64 MB")

    def _statement(self) -> Statement:
        text = bytes(self._text).rstrip()
        begun = self._begun
        self._text.clear()
        self._begun = self._blocks = 0
        return Statement(begun, text, _reads_stdin(text))


def _reads_stdin(statement: bytes) -> bool:
    """Whether data follow the statement: COPY ... FROM STDIN and perhaps options without quotes."""
    return (
        _COPY.match(statement) is not None
        and _FROM_STDIN.search(statement[-_COPY_END:]) is not None
    )
