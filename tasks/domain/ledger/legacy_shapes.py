"""Events in their writer's own form, recognised whole without a parser.

rlhf-audit-trail 0.1 stores `json.dumps(event, sort_keys=True, separators=(",", ":"))`, so the
hashed bytes are the stored ones without three members. Cutting them out is only right where every
JSON parser would read the same members at the same places. The argument:

1. A shape is learned from an event that a strict parser has read: which keys in which objects, and
   where scalars and flat lists stand. It is a text of its own where our C takes events apart
   (`_shape.c`), else a regular expression. Either spells all keys out, sorted and unique because
   they come from a dict; so no text can bring a duplicate, a key out of order, one spelled with an
   escape, or a nested `_previous_hash` in place of the real one.
2. A text that has the shape, or matches it, from its first to its last mark is JSON of that shape.
   JSON's grammar is unambiguous, so a parser finds the same strings between the same quotes, and
   what is captured is what it would read. Text inside a string can't leave it: the text is
   printable ASCII, an escaped backslash or quote is masked by NULs from left to right (which is how
   a parser pairs them, as backslashes stand in strings only), and so every quote delimits a string.
   Our C leaves events with an escape to the regular expression.
3. Serialising again, with numbers spelled as they stand, gives the same bytes: keys are in order,
   there is no white space, and each escape is the one that Python writes. Numbers are valid, finite
   and short; their spelling is hashed as it is stored, here as by `legacy_events`.
4. Signature and time, the end of the text, are not left to the pattern, but are exact too: `null`
   or quoted hex digits, and a number. The text is the concatenation of all parts, so wherever the
   cuts were made, a whole match is a whole parse.

Whatever is not recognised is declined, never guessed. Time is linear in the text: each token is
told from the others by its first mark, and strings are runs up to the next quote.
"""

import re
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from tasks.domain.ledger.kernel import KERNEL
from tasks.domain.ledger.kernel_protocol import Kernel
from tasks.domain.ledger.legacy_events import (
    MAX_EVENT_BYTES,
    MAX_NAME,
    LegacyEvent,
    parse_event,
    written_form,
)

MAX_SHAPES = 256
"""Learned at most, since each costs a millisecond; beyond it events are parsed."""

_MAX_KEYS = 200
_MAX_KEY = 100
_MAX_LEVELS = 8
_CUT = len(',"hash":"","merkle_proof":null') + 64
_SESSION = len(',"session_id":""')
_SIGNATURE, _TIMESTAMP, _TYPE = b',"signature":', b',"timestamp":', ',"event_type":"'
_AFTER_SIGNATURE, _AFTER_TIMESTAMP, _AFTER_TYPE = len(_SIGNATURE), len(_TIMESTAMP), len(_TYPE)

_QUOTE = ord('"')
_PRINTABLE = bytes(range(0x20, 0x7F))
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_ODD_ESCAPE = re.compile(
    r"\\(?![bfnrt]|u(?:000[0-7bef]|001[0-9a-f]|007f|00[89a-f][0-9a-f]"
    r"|0[1-9a-f][0-9a-f]{2}|[1-9a-f][0-9a-f]{3}))"
)
_TEXT = r'"[^"]*+"'
_NAME = rf'"([^"]{{1,{MAX_NAME}}}+)"'
_INTEGER = r"-?(?:0|[1-9][0-9]{0,17}+)"
_POWER = r"e[-+][0-9]{1,2}+"
_NUMBER = rf"{_INTEGER}(?:\.[0-9]{{1,30}}+(?:{_POWER}|)|{_POWER}|)"
_SECONDS = r"[1-9][0-9]{0,14}+\.[0-9]{1,30}+"
_WORD = r"(?:true|false|null)"
_LINK = r'"([^"]{64})"'

_TIME = re.compile(_SECONDS).fullmatch
_LINK_KEY = "_previous_hash"

_Parts = tuple[str, str, str, str, str, str, bytes]
"""Link, event id, hash, session id, signature, time, as they stand; what the hash is over."""

_new = tuple.__new__
_Matcher = Callable[[str], re.Match[str] | None]


class EventReader:
    """Reads stored events and learns their shapes, so that most need no parser.

    Not for several threads at once.
    """

    def __init__(self, kernel: Kernel = KERNEL) -> None:
        self._kernel = kernel
        self._shapes: set[bytes] = set()
        self._matchers: dict[str, list[_Matcher]] = {}
        self._known: set[str] = set()
        self._member = 0
        self._latest: _Matcher = re.compile(r"(?!)").fullmatch

    def read(self, stored: bytes) -> LegacyEvent:
        """The event; RecordError when it is no event or parsers could disagree about it."""
        return self.read_slices(stored) or self.parse(stored)

    def parse(self, stored: bytes) -> LegacyEvent:
        """The event by a strict parser and exact serialisation; its shape is learned."""
        event, members = parse_event(stored)
        if event.computed != event.stored or stored != written_form(members):
            return event
        self._learn(members["event_type"], members["data"])
        parts = self._kernel.read_event(stored)
        if parts is not None and len(self._shapes) < MAX_SHAPES:
            self._shapes.add(parts[0])
        return event._replace(is_sliced=True)

    def read_slices(self, stored: bytes) -> LegacyEvent | None:
        """The event by slices; None unless it is recognised, and as its own hash says.

        A text that its hash does not fit is left to the parser: what is said against an event
        never rests on slices.
        """
        found = self._by_shape(stored) or self._by_pattern(stored)
        if found is None or len(stored) > MAX_EVENT_BYTES:
            return None
        link, event_id, stored_hash, session, signed, seconds, hashed = found
        computed = sha256(hashed).digest()
        if computed.hex() != stored_hash:
            return None
        try:
            previous = unhexlify(link) if link else None
            signature = unhexlify(signed[1:-1]) if signed != "null" else None
        except (HexError, ValueError):
            return None
        return _new(
            LegacyEvent,
            (event_id, session, float(seconds), computed, computed, previous, signature, True),
        )

    def _by_shape(self, stored: bytes) -> _Parts | None:
        """By the shape that our C gives, where it is one that was learned."""
        parts = self._kernel.read_event(stored)
        if parts is None or parts[0] not in self._shapes or not _TIME(parts[6]):
            return None
        return parts[1:]

    def _by_pattern(self, stored: bytes) -> _Parts | None:
        """By a regular expression that was learned."""
        time_at = stored.rfind(_TIMESTAMP)
        end = time_at - self._member
        if stored[end : end + _AFTER_SIGNATURE] != _SIGNATURE:
            end = stored.rfind(_SIGNATURE, 0, max(0, time_at))
            self._member = time_at - end
        body = stored[:end] + stored[time_at:]
        if end < 0 or body.translate(None, _PRINTABLE):
            return None
        signature = stored[end + _AFTER_SIGNATURE : time_at]
        if signature != b"null" and not (
            len(signature) > 1 and signature[0] == signature[-1] == _QUOTE
        ):
            return None
        text = body.decode("ascii")
        is_escaped = "\\" in text
        if is_escaped:
            text = _masked(text)
        match = self._latest(text) or self._match(text)
        if match is None or not signature.isascii():
            return None
        link, event_id, stored_hash, session, seconds = match.groups()
        if is_escaped and not _are_plain(event_id, session):
            return None
        after = end - _SESSION - len(session)
        hashed = body[: after - _CUT] + body[after:]
        return link, event_id, stored_hash, session, signature.decode("ascii"), seconds, hashed

    def _match(self, text: str) -> re.Match[str] | None:
        """By the shapes of the event's type; the one that fits is tried first next time."""
        at = text.rfind(_TYPE) + _AFTER_TYPE
        for matcher in self._matchers.get(text[at : text.find('"', at)], ()):
            if match := matcher(text):
                self._latest = matcher
                return match
        return None

    def _learn(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Remember the shape of `data`, which a strict parser has read."""
        members = _members(data, 1)
        if members is None or members.count('":') > _MAX_KEYS or not _PLAIN.fullmatch(event_type):
            return
        link = "" if _LINK_KEY in data else "()"
        pattern = (
            rf'\{{"data":{link}{members},"event_id":{_NAME},"event_type":"{re.escape(event_type)}"'
            rf',"hash":"([^"]{{64}})","merkle_proof":null,"session_id":{_NAME}'
            rf',"timestamp":({_SECONDS})\}}'
        )
        if pattern not in self._known and len(self._known) < MAX_SHAPES:
            self._known.add(pattern)
            self._matchers.setdefault(event_type, []).append(re.compile(pattern).fullmatch)


def _masked(text: str) -> str:
    """The text with NULs for escaped backslashes and quotes; empty when an escape is not Python's.

    Same length, so places stay, and a NUL is in no text that comes here.
    """
    text = text.replace(r"\\", "\0\0").replace(r"\"", "\0\0")
    return "" if _ODD_ESCAPE.search(text) else text


def _is_quoted(value: bytes) -> bool:
    return len(value) > 1 and value[0] == value[-1] == _QUOTE


def _are_plain(*names: str) -> bool:
    """Whether these are the strings themselves: nothing masked, nothing escaped."""
    return not any("\\" in name or "\0" in name for name in names)


def _members(data: Mapping[str, Any], level: int) -> str | None:
    """The pattern of an object; None when it holds something that shapes do not describe."""
    parts = []
    for key in sorted(data):
        is_link = level == 1 and key == _LINK_KEY
        inner = _LINK if is_link else _value(data[key], level)
        if inner is None or len(key) > _MAX_KEY or not _PLAIN.fullmatch(key):
            return None
        parts.append(f'"{re.escape(key)}":{inner}')
    return r"\{" + ",".join(parts) + r"\}"


def _value(value: object, level: int) -> str | None:
    if isinstance(value, dict):
        return _members(value, level + 1) if level < _MAX_LEVELS else None
    if not isinstance(value, list):
        return _scalar(value)
    kinds = {_scalar(each) for each in value}
    if len(kinds) > 1 or None in kinds:
        return None
    return "".join(rf"\[{kind}(?:,{kind})*+\]" for kind in kinds) or r"\[\]"


def _scalar(value: object) -> str | None:
    if isinstance(value, str):
        return _TEXT
    if value is None or isinstance(value, bool):
        return _WORD
    return _NUMBER if isinstance(value, int | float) else None
