r"""One line of a log: its level, its own time, and its words with everything variable masked.

What comes here is a stranger's: a megabyte without a break, control characters, half an escape
sequence, a line that only looks like JSON. So every line is cut before it is read, and every
pattern here is linear in the line: its repetitions are possessive or bounded.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

LINE_LIMIT = 2000
"""Characters of a line that are looked at; JSON is read up to JSON_LIMIT."""

JSON_LIMIT = 16_384
MASK = "<*>"


class Level(StrEnum):
    """How loud a line is, the loudest first; UNKNOWN when it does not say."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as it was read. `at` is the platform's time (UTC), None when only the text has one.

    `source` is who wrote it, for example "pod/container".
    """

    text: str
    at: datetime | None = None
    source: str = ""


_WORDS = {
    Level.FATAL: ("fatal", "panic", "critical", "crit", "emerg", "emergency", "alert"),
    Level.ERROR: ("error", "err", "severe"),
    Level.WARNING: ("warning", "warn"),
    Level.INFO: ("info", "notice", "log", "information"),
    Level.DEBUG: ("debug", "trace"),
}
_LEVELS = {word: level for level, words in _WORDS.items() for word in words}
_NUMBERS = {10: Level.DEBUG, 20: Level.DEBUG, 30: Level.INFO, 40: Level.WARNING, 50: Level.ERROR}
_KLOG = {"I": Level.INFO, "W": Level.WARNING, "E": Level.ERROR, "F": Level.FATAL}

_ANY = "|".join(sorted(_LEVELS, key=len, reverse=True))
_UPPER = _ANY.upper()
_LOUD = re.compile(
    rf"(?<![\w.])(?:({_UPPER})(?!\w)|(?i:level|severity|lvl)\"?[=:]\s?\"?((?i:{_ANY}))(?!\w)"
    rf"|[\[<]((?i:{_ANY}))[\]>])|^((?i:{_ANY})):"
)
_LOUD_WITHIN = 160  # a level stands at a line's beginning; further on it is somebody's word
_KLOG_HEAD = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d")
_RAISED = re.compile(
    r"(?:[A-Za-z_][\w.]{0,100}(?:Error|Exception|Exit|Interrupt)(?::|$)|Caused by:|Exception in )"
)
_STATUS = re.compile(r"(?:HTTP/\d(?:\.\d)?\"|(?i:status(?:[ _]code)?)\"?[=:]?) ?([1-5]\d\d)(?!\w)")
_SERVER_ERROR = 500
_REFUSALS = frozenset({401, 403, 429})

_TIME = re.compile(
    r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?)\]?\s*"
)
# A word with a digit in it is a value, and so are long hex digits. A HTTP status is none: it says
# what happened. Looked for last, behind a digit: this pattern sees every line.
_KEPT = (
    r"(?<=status[=: ]\d{3})|(?<=status\":\d{3})|(?<=status[:\"]\s\d{3})|(?<=status\":\s\d{3})"
    r"|(?<=HTTP/\d\.\d\"\s\d{3})"
)
_VALUE = re.compile(
    rf"\b(?:[A-Za-z_]*+\d(?!(?<=\b[1-5])\d\d\b(?:{_KEPT}))[\w.:+-]*+|[A-Fa-f]{{8,}}+\b)"
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,10}[@-~]?|\][^\x07\x1b]{0,400}\x07?|.)?")
_FRAME = re.compile(r"\s{1,40}(?:File \"|at [\w$.<]|\.\.\. \d+ more)")
_TRACE_HEAD = "Traceback (most recent call last)"

_MESSAGES = ("message", "msg", "event", "log", "text")
_REASONS = ("error", "err", "exception", "exc_info")
_LEVEL_KEYS = ("level", "severity", "levelname", "lvl", "loglevel")
_TIME_KEYS = ("timestamp", "time", "ts", "@timestamp", "asctime", "at")


def bounded(text: str) -> str:
    """The part of a line that is looked at, without terminal escapes and its line's end."""
    text = text[: JSON_LIMIT if text[:1] == "{" else LINE_LIMIT].rstrip("\r\n")
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def masked(text: str) -> str:
    """The words, with values replaced by MASK."""
    return _VALUE.sub(MASK, text)


def level_of(text: str) -> Level:
    """What a plain line says of itself, or what its HTTP status or exception says for it."""
    found = _LOUD.search(text, 0, _LOUD_WITHIN)
    if found is not None:
        level = _LEVELS[found[found.lastindex or 0].lower()]
    elif (klog := _KLOG_HEAD.match(text)) is not None:
        level = _KLOG[klog[1]]
    else:
        level = Level.ERROR if _RAISED.match(text) else Level.UNKNOWN
    status = _STATUS.search(text)
    return level if status is None else _at_least(level, int(status[1]))


def _at_least(level: Level, status: int) -> Level:
    """An access log calls every request INFO; a status of 5xx is an error all the same."""
    if status >= _SERVER_ERROR and level is not Level.FATAL:
        return Level.ERROR
    if status in _REFUSALS and level not in {Level.FATAL, Level.ERROR}:
        return Level.WARNING
    return level


def without_time(text: str) -> str:
    """The line without a time at its beginning."""
    found = _TIME.match(text)
    return text if found is None else text[found.end() :]


def time_in(text: str) -> datetime | None:
    """The time at a line's beginning, UTC where it names no zone."""
    found = _TIME.match(text)
    return None if found is None else moment(found[1])


def moment(text: str) -> datetime | None:
    """A written time; None when it is none."""
    try:
        at = datetime.fromisoformat(text.replace(",", ".").replace("UTC", "Z").replace(" Z", "Z"))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Fields:
    """What a JSON line says: words, level (UNKNOWN when it says none) and its time."""

    message: str
    level: Level
    at: datetime | None


def fields_of(text: str) -> Fields | None:
    """The fields of a JSON line; None when it is none, or has no words for people."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    message = _first_text(value, _MESSAGES)
    reason = _first_text(value, _REASONS)
    if message is None and reason is None:
        return None
    words = message or ""
    if reason:
        words = f"{words}: {reason.rstrip().rpartition(chr(10))[2]}"  # a trace says it at its end
    level = _level_in(value)
    status = value.get("status", value.get("status_code"))
    if type(status) is int and 100 <= status < 600:  # noqa: PLR2004  HTTP's statuses
        level = _at_least(level, status)
        words = f"{words} status={status}"
    written = _first_text(value, _TIME_KEYS)
    return Fields(words[:LINE_LIMIT], level, None if written is None else moment(written[:40]))


def _first_text(value: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((said for name in names if isinstance(said := value.get(name), str)), None)


def _level_in(value: dict[str, Any]) -> Level:
    for name in _LEVEL_KEYS:
        said = value.get(name)
        if isinstance(said, str):
            return _LEVELS.get(said[:20].lower(), Level.UNKNOWN)
        if type(said) is int:
            return Level.FATAL if said == 60 else _NUMBERS.get(said, Level.UNKNOWN)  # noqa: PLR2004
    return Level.UNKNOWN


TRACE_BEGINS = " \tT"
"""How a line that belongs to a stack trace can begin; most lines are told by this alone."""


def begins_trace(text: str) -> bool:
    """Whether the line opens a stack trace, or is a frame of one."""
    return text.startswith(_TRACE_HEAD) or _FRAME.match(text) is not None
