"""Recorded notifications of Alertmanager as people keep them: a file for each, or JSON lines."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.domain.alertmanager import Notification, parse
from tasks.domain.errors import BadInput
from tasks.sections.files import read_bytes

FILE_LIMIT = 64 * 1024 * 1024
ALERTS_LIMIT = 500_000
"""Of all files together: they are held in memory."""


def read_recorded(files: Sequence[Path]) -> list[Notification]:
    """The notifications in the order of the files and lines. BadInput names file and line."""
    found: list[Notification] = []
    alerts = 0
    for file in files:
        for notification in _notifications(file):
            alerts += len(notification.alerts)
            if alerts > ALERTS_LIMIT:
                raise BadInput(f"{file.name}: expected at most {ALERTS_LIMIT} alerts, found more")
            found.append(notification)
    return found


def _notifications(file: Path) -> Iterator[Notification]:
    data = read_bytes(file, FILE_LIMIT)
    lines = [(at, line) for at, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if len(lines) < 2 or not _is_whole(lines[0][1]):  # noqa: PLR2004  lines are several
        yield _parse(file.name, data)
        return
    for at, line in lines:
        yield _parse(f"{file.name}, line {at}", line)


def _is_whole(line: bytes) -> bool:
    """Whether a first line is a body by itself, rather than the beginning of an indented one."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(where: str, data: bytes) -> Notification:
    try:
        return parse(data)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
