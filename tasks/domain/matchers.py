r"""Alertmanager's matchers: `alertname="X"`, `severity=~"critical|high"`, `{a!=b, "c d"!~"e.*"}`.

The grammar is that of Alertmanager's UTF-8 parser (0.27 and later): names and values are quoted
with Go's escapes, or bare without whitespace and without any of {}!=~,\"'`. Regular expressions
are RE2 and must match the whole value; a label that is not there is the empty string. RE2 matches
in time linear in the label, whatever a stranger wrote into it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Never, Protocol

import re2

from tasks.domain.alertmanager import clean
from tasks.domain.errors import BadInput

TEXT_LIMIT = 4096
"""Characters of one text of matchers."""

MATCHERS_LIMIT = 32
"""Matchers in one text."""

_NAME_LIMIT = 128  # the limits of an alert's labels: nothing longer could match
_VALUE_LIMIT = 1024
_REGEXP_MEMORY = 1 << 20

_SPACE = r"\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Go's IsSpace
_RESERVED = _SPACE + r"{}!=~,\\\"'`"
_BARE = re.compile(rf"[^{_RESERVED}]+")
_TOKEN = re.compile(
    rf"(?P<blank>[{_SPACE}]+)"
    r"|(?P<mark>[{},])"
    r"|(?P<operator>=~|!=|!~|=)"
    r'|(?P<quoted>"(?:[^"\\]|\\.)*+")'
    rf"|(?P<bare>[^{_RESERVED}]+)",
    re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<letter>[abfnrtv\\\"])|x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<wrong>.?))",
    re.DOTALL,
)
_LETTERS = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
_WRITTEN = {text: f"\\{letter}" for letter, text in _LETTERS.items()}


class _Regexp(Protocol):
    def fullmatch(self, text: bytes) -> object | None: ...


class Operator(StrEnum):
    """As Alertmanager writes them."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


_ON_REGEXPS = frozenset({Operator.MATCHES, Operator.MATCHES_NOT})
_WANTED = frozenset({Operator.EQUAL, Operator.MATCHES})


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. Printed and parsed again it is the same."""

    name: str
    operator: Operator
    value: str
    _regexp: _Regexp | None = field(init=False, repr=False, compare=False)
    _wanted: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _NAME_LIMIT:
            raise BadInput(f"expected a label name of 1 to {_NAME_LIMIT} characters")
        if len(self.value) > _VALUE_LIMIT:
            raise BadInput(f"expected a value of at most {_VALUE_LIMIT} characters")
        regexp = _compile(self.value) if self.operator in _ON_REGEXPS else None
        object.__setattr__(self, "_regexp", regexp)
        object.__setattr__(self, "_wanted", self.operator in _WANTED)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition."""
        found = labels.get(self.name, "")
        if self._regexp is None:
            return (found == self.value) is self._wanted
        whole = self._regexp.fullmatch(found.encode(errors="replace"))
        return (whole is not None) is self._wanted

    def __str__(self) -> str:
        name = self.name if _BARE.fullmatch(self.name) else _quote(self.name)
        return f"{name}{self.operator}{_quote(self.value)}"


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a text, at least one. BadInput says at which character it is wrong."""
    if len(text) > TEXT_LIMIT:
        raise BadInput(f"expected at most {TEXT_LIMIT} characters of matchers, found {len(text)}")
    found = _Parser(text).parse()
    if not found:
        raise BadInput('expected a matcher such as alertname="X", found none')
    return found


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    """One pass from left to right over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def parse(self) -> tuple[Matcher, ...]:
        found: list[Matcher] = []
        in_braces = self._take_mark("{")
        while self._peek().kind in {"quoted", "bare"}:
            found.append(self._matcher())
            if len(found) > MATCHERS_LIMIT:
                raise BadInput(f"expected at most {MATCHERS_LIMIT} matchers, found more")
            if not self._take_mark(","):
                break
        if in_braces and not self._take_mark("}"):
            _complain(self._peek(), "a comma or a closing brace" if found else "a label name")
        end = self._peek()
        if end.kind != "end":
            _complain(end, "a comma or the end" if found else "a label name")
        return tuple(found)

    def _matcher(self) -> Matcher:
        name = self._take()
        operator = self._take()
        if operator.kind != "operator":
            _complain(operator, "one of =, !=, =~ and !~")
        value = self._take()
        if value.kind not in {"quoted", "bare"}:
            _complain(value, 'a value (an empty one is written "")')
        try:
            return Matcher(_unquote(name), Operator(operator.text), _unquote(value))
        except BadInput as error:
            raise BadInput(f"at character {name.at + 1}: {error}") from error

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)  # the end stays the end
        return token

    def _take_mark(self, mark: str) -> bool:
        token = self._peek()
        if token.kind != "mark" or token.text != mark:
            return False
        self._take()
        return True


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            if text[at] == '"':
                raise BadInput(f"at character {at + 1}: expected a closing quote, found none")
            wrong = _Token("wrong", text[at], at)
            _complain(wrong, "a name, an operator or a value (quote what is special)")
        if found.lastgroup != "blank":
            tokens.append(_Token(str(found.lastgroup), found[0], at))
        at = found.end()
    tokens.append(_Token("end", "", at))
    return tokens


def _unquote(token: _Token) -> str:
    """The text of a bare or quoted token, by the rules of Go's strconv.Unquote."""
    if token.kind == "bare":
        return _utf8(token.text.encode(errors="surrogatepass"))
    inner = token.text[1:-1]
    if "\n" in inner:
        raise BadInput("expected no line break within quotes: write \\n")
    parts: list[bytes] = []
    end = 0
    for found in _ESCAPE.finditer(inner):
        parts += (inner[end : found.start()].encode(errors="surrogatepass"), _escaped(found))
        end = found.end()
    parts.append(inner[end:].encode(errors="surrogatepass"))
    return _utf8(b"".join(parts))


def _escaped(found: re.Match[str]) -> bytes:
    """The bytes for which an escape stands; by number, one of them, not a character."""
    if found["letter"]:
        return _LETTERS[found["letter"]].encode()
    if found["hex"]:
        return bytes([int(found["hex"], 16)])
    if found["octal"] and int(found["octal"], 8) <= 0xFF:  # noqa: PLR2004  one byte
        return bytes([int(found["octal"], 8)])
    point = found["short"] or found["long"]
    try:
        return chr(int(point, 16)).encode()
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(
            f"expected an escape of Go, found {clean(found[0], 16)}: "
            "a backslash itself is written \\\\"
        ) from error


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput("expected UTF-8, found bytes that are not") from error


def _quote(text: str) -> str:
    return '"' + "".join(_WRITTEN.get(character, character) for character in text) + '"'


def _compile(regexp: str) -> _Regexp:
    options = re2.Options()
    options.log_errors = False  # they go to standard error, past every log
    options.never_capture = True
    options.max_mem = _REGEXP_MEMORY
    try:
        compiled: _Regexp = re2.compile(regexp.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise BadInput(f"expected a regular expression of RE2: {_why(error)}") from error
    return compiled


def _why(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return clean(said.decode(errors="replace") if isinstance(said, bytes) else str(error), 200)


def _complain(token: _Token, expected: str) -> Never:
    found = clean(token.text, 40) if token.text else "the end"
    raise BadInput(f"at character {token.at + 1}: expected {expected}, found {found}")
