"""Secrets never leave in a log line: every record is redacted as it is made, before any sink.

Two nets: the values of all secrets of our settings, and the shapes of credentials (bearer tokens,
passwords in URLs, private keys, chat tokens), which also come from the systems under care.
"""

import logging
import re
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

import re2
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings

REDACTED = "[redacted]"

_SHORTEST = 6  # a shorter secret would blank half of every line, and is none
_SHAPES = re2.compile(  # linear in the text, which may be a stranger's
    r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|([a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,100}:)[^\s@]{1,200}(@)"
    r"|(\b(?:password|passwd|secret|token|api[_-]?key)\b[\"']?\s{0,3}[=:]\s{0,3})"
    r"(?:\"[^\"]{1,500}\"|'[^']{1,500}'|[^\s,;&\"']{1,500})"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
    r"|PRIVATE\+KEY\+[^\s\"']{1,500}"
    r"|\bxox[a-z]-[A-Za-z0-9-]{6,}"
    r"|\bAKIA[A-Z0-9]{16}\b"
)


class Redactor:
    """Removes these secrets, and what looks like one, from text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret that contains another must not leave its rest behind.
        known = sorted({each for each in secrets if len(each) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return str(_SHAPES.sub(_keep_the_name, text))


def _keep_the_name(found: re.Match[str]) -> str:
    scheme, user, at, word = found.groups()
    return f"{scheme or user or word or ''}{REDACTED}{at or ''}"


def secrets_of(settings: BaseSettings) -> Iterator[str]:
    """The value of every secret in a tree of settings."""
    return _secrets(settings)


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _secrets(each)


def redact_all_logs(redactor: Redactor) -> None:
    """Let every log record of this process be made without secrets, whoever writes it."""
    make = logging.LogRecord

    def redacted(*args: Any, **keywords: Any) -> logging.LogRecord:  # noqa: ANN401  logging's own
        record = make(*args, **keywords)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  logging itself reports it, and never the caller
            return record
        record.msg, record.args = redactor(message), ()
        if record.exc_info and record.exc_info[1] is not None:
            lines = traceback.format_exception(record.exc_info[1])
            record.exc_text = redactor("".join(lines).rstrip())
        return record

    logging.setLogRecordFactory(redacted)
