"""What a pgBackRest repository says of itself: `backup.info`, an INI file with JSON values.

Recognised and listed, so that on call one knows that it is there; pgBackRest itself restores it.
Source: pgBackRest's info files, format 5 (`backup:current`).
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.domain.errors import BadInput

_LABEL = re.compile(r"[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?")
_MOST = 10_000
_CURRENT = "[backup:current]"
_ENCRYPTED = b"Salted__"


@dataclass(frozen=True, slots=True)
class RepositoryBackup:
    """One backup of the repository: its label, when it ended, bytes in the repository."""

    label: str
    ended_at: datetime
    size: int


def backups_in(info: bytes) -> list[RepositoryBackup]:
    """The backups that `backup.info` names. Raises BadInput for anything else, saying what."""
    if info.startswith(_ENCRYPTED):
        raise BadInput("the repository is encrypted: ask `pgbackrest info`")
    try:
        text = info.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput("expected backup.info to be text, found other bytes") from error
    if "[backrest]" not in text:
        raise BadInput("expected the section [backrest] in backup.info, found none")
    _, _, rest = text.partition(_CURRENT)
    found: list[RepositoryBackup] = []
    for line in rest.lstrip("\r\n").splitlines():
        if line.startswith("[") or len(found) >= _MOST:
            break
        label, equals, value = line.partition("=")
        if equals and _LABEL.fullmatch(label):
            found.append(_backup(label, value))
    return found


def _backup(label: str, value: str) -> RepositoryBackup:
    try:
        said: dict[str, Any] = json.loads(value)
        ended_at = datetime.fromtimestamp(int(said["backup-timestamp-stop"]), UTC)
        size = int(said.get("backup-info-repo-size", said.get("backup-info-size", 0)))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BadInput(f"expected time and size of backup {label}, found something else") from error
    return RepositoryBackup(label, ended_at, max(0, size))
