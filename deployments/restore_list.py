"""`runbook restore --list`: every backup, what it is worth, and why one is not used."""

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from deployments import terminal
from deployments.exits import COULD_NOT_TELL, GOOD
from tasks.domain.backup_worth import judge
from tasks.domain.backups import Backup, Kind
from tasks.domain.observation import Health
from tasks.domain.untrusted import visible
from tasks.work import catalogue, drill_records
from tasks.work.responder import ResponderAway

_KEY = 120
_REASON = 200
_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


def show(json_file: Path | None) -> int:
    """Print the backups, the newest first; 0 when one of them could be restored."""
    note = ""
    try:
        proofs = drill_records.proven()
    except ResponderAway:
        proofs = {}
        note = "the responder's database is away: what drills have proven is not known now"
    found = catalogue.list_all(proofs)[::-1]
    health, text = judge(found, datetime.now(UTC))
    console = terminal.console()
    console.print(table_of(found) if found else "no backups", markup=False)
    for line in (*_unusable(found), text, *([note] if note else [])):
        console.print(line, markup=False, soft_wrap=True)
    terminal.write_json(json_file, as_json(found, text))
    return COULD_NOT_TELL if health is Health.FAILED else GOOD


def table_of(found: list[Backup]) -> Table:
    """One line each. Times in UTC."""
    table = Table(
        Column("taken (UTC)", no_wrap=True),
        Column("what", overflow="fold"),
        Column("size", justify="right", no_wrap=True),
        Column("log", justify="right", no_wrap=True),
        Column("reaches to", no_wrap=True),
        Column("signed", no_wrap=True),
        Column("proven", no_wrap=True),
        Column("where", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for each in found:
        cells = (
            _moment(each.taken_at),
            what(each),
            size(each.size),
            f"{each.log_size:,}" if each.log_size else "",
            _moment(each.covers_until or each.taken_at),
            "yes" if each.trusted else "no",
            proven(each),
            where(each),
        )
        table.add_row(*cells, style="dim" if each.unusable else None)
    return table


def what(backup: Backup) -> str:
    """`dump, custom`; `dump of all databases, plain SQL in gzip`; an unusable one says so."""
    form = " in ".join([str(backup.format), *reversed(backup.layers)])
    text = str(backup.kind) if backup.kind is Kind.REPOSITORY else f"{backup.kind}, {form}"
    return f"{text}; unusable" if backup.unusable else text


def proven(backup: Backup) -> str:
    """When a drill brought it back, and how long that took."""
    if backup.unusable:
        return ""
    if backup.proven is None:
        return "never proven"
    return f"{_moment(backup.proven.at)}, {backup.proven.seconds:.0f} s"


def where(backup: Backup) -> str:
    """The address; nothing in it is believed."""
    root = f"s3://{backup.root}/" if backup.place == "object store" else f"{backup.root}/"
    return visible(root + backup.key, _KEY)


def size(amount: int) -> str:
    """Bytes for people: `1.3 GB`."""
    value, unit = float(amount), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{amount} B"


def as_json(found: list[Backup], summary: str) -> dict[str, Any]:
    """The same for programs; `proven` is null for what no drill has brought back."""
    return {"summary": summary, "backups": [_plain(asdict(each)) for each in found]}


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a dataclass holds
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, StrEnum) else value


def _unusable(found: list[Backup]) -> list[str]:
    lines = [
        f"  {visible(where(each), _KEY)}: {visible(each.unusable, _REASON)}"
        for each in found
        if each.unusable
    ]
    return ["unusable, because:", *lines] if lines else []


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else ""
