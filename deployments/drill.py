"""`runbook drill`: would the backup come back? Here and now, in this process, without Prefect."""

import secrets
import time
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table

from deployments import terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.backups import Backup
from tasks.domain.drills import (
    Choice,
    DrillResult,
    Ending,
    Phase,
    choose_named,
    choose_newest,
    choose_older,
    no_backup,
)
from tasks.domain.metrics import duration
from tasks.domain.untrusted import visible
from tasks.settings import settings
from tasks.work import catalogue, drill_records, drills
from tasks.work.drill_ground import ground_of

_EXIT = {Ending.PASSED: GOOD, Ending.FAILED: BAD, Ending.UNKNOWN: COULD_NOT_TELL}
_SHOWN = 30
_DOING = {
    Phase.FETCH: "fetching",
    Phase.LOAD: "loading",
    Phase.CHECK: "checking",
    Phase.PROVE: "proving",
}


def run(key: str | None, json_file: Path | None, *, older: bool) -> int:
    """Choose, drill, keep and print the result, write `json_file`; the exit code."""
    known = settings()
    console = terminal.console()
    backup, choice, seed = _choose(catalogue.list_all(), key, older=older)
    if backup is None:
        result = no_backup().chosen(choice)
    else:
        _say(console, f"backup  {visible(backup.key, 200)} ({choice.value}, {backup.size:,} bytes)")
        shown = _Shown(console)
        with shown.status:
            result = drills.drill(backup, ground_of(known), progress=shown.tell)
            shown.end()
        result = result.chosen(choice, seed)
    drill_records.record(result)
    for line in _lines(result):
        _say(console, line)
    terminal.write_json(json_file, result.as_json())
    return _EXIT[result.ending]


def show_history(json_file: Path | None) -> int:
    """Print the last drills, newest first."""
    known = drill_records.history()
    table = Table("at (UTC)", "backup", "chosen", "result", "RTO", "RPO", "why", box=None)
    for each in known[:_SHOWN]:
        table.add_row(
            f"{each.at:%Y-%m-%d %H:%M}",
            visible(each.key, 60),
            each.choice.value,
            each.ending.value,
            duration(each.rto),
            "" if each.rpo.seconds is None else duration(each.rpo.seconds),
            visible(each.reason, 120),
        )
    console = terminal.console()
    if known:
        console.print(table, markup=False)
    else:
        _say(console, "No drill was made yet: no backup is known to come back.")
    terminal.write_json(json_file, [each.as_json() for each in known])
    return GOOD


def _choose(
    backups: list[Backup], key: str | None, *, older: bool
) -> tuple[Backup | None, Choice, str]:
    if key is not None:
        return choose_named(backups, key), Choice.NAMED, ""
    if not older:
        return choose_newest(backups), Choice.NEWEST, ""
    seed = secrets.token_bytes(16)
    return choose_older(backups, seed), Choice.OLDER, seed.hex()


class _Shown:
    """The phases as they go: one line each when it is done, a status while it is at work."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase: Phase | None = None
        self._began = 0.0
        self.status: Status = Console(stderr=True).status("looking at the signed log")

    def tell(self, phase: Phase, done: int, due: int) -> None:
        """As `drills.drill` wants it."""
        if phase is not self._phase:
            self.end()
            self._phase, self._began = phase, time.perf_counter()
        of = f" {done:,} of {due:,}" if due else ""
        self.status.update(f"{_DOING[phase]}{of}")

    def end(self) -> None:
        """The phase at work has ended."""
        if self._phase is not None:
            took = duration(time.perf_counter() - self._began)
            _say(self._console, f"{self._phase.value:7} {took}")
        self._phase = None


def _lines(result: DrillResult) -> list[str]:
    lines = [
        f"records {result.records:,} in the backup, {result.altered:,} altered or taken out",
        f"        {result.added:,} more from sealed segments",
        f"RTO     {duration(result.rto)}",
    ]
    if result.rpo.seconds is not None:
        lines.append(
            f"RPO     {duration(result.rpo.seconds)} behind the {result.rpo.against.value}"
        )
    if result.rpo.alone is not None:
        lines.append(f"        {duration(result.rpo.alone)} if the sealed segments were lost too")
    lines += [f"note    {visible(note)}" for note in result.notes]
    if result.ending is Ending.PASSED:
        return [*lines, f"PASSED  {result.signed:,} signed records give the root {result.root}"]
    if not result.phases:
        lines = []
    word = "FAILED" if result.ending is Ending.FAILED else "COULD NOT TELL"
    return [*lines, f"{word}  {visible(result.reason, 2000)}"]


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
