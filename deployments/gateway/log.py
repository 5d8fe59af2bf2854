"""Log lines as JSON, one object per line, bound to the incident where there is one."""

import json
import logging
from datetime import UTC, datetime

from tasks.domain.redaction import Redactor
from tasks.settings import settings
from tasks.work.redaction import redact_all_logs, secrets_of

_BOUND = ("incident", "reason")


class JsonLines(logging.Formatter):
    """`at`, `level`, `logger`, `message`, and what the line is bound to."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redact = redactor

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback becomes a field of it."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            name: self._redact(str(getattr(record, name)))
            for name in _BOUND
            if hasattr(record, name)
        }
        if record.exc_info:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def log_as_json() -> None:
    """Make every logger of this process write such lines to standard error, without secrets."""
    redactor = Redactor(secrets_of(settings()))
    redact_all_logs(redactor)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(redactor))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per call of Prefect's API
