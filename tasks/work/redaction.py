"""Secrets never leave in a log line: every record is redacted as it is made, before any sink.

What is taken out: the values of all secrets of our settings, and what looks like a credential
(`tasks.domain.redaction`).
"""

import logging
import traceback
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings

from tasks.domain.redaction import Redactor


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
