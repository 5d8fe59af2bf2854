"""The game day: `make gameday`, or `python -m deployments.lab.gameday --only 'redis-*'`.

Ends with 1 when a round is wrong, and with 2 when it was asked for what there is not.
"""

import sys
import time
from pathlib import Path

import click
import httpx
import psycopg
from rich.console import Console

from deployments import terminal
from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from deployments.lab.errors import LabError
from deployments.lab.gameday import lines, rounds
from deployments.lab.gameday.playing import play
from tasks.domain.errors import BadInput, RunbookError
from tasks.domain.untrusted import visible

_RECORDS = 5000


@click.command()
@click.option("--only", multiple=True, metavar="PATTERN", help="Rounds by name: 'redis-*'.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice([each.value for each in rounds.Kind])
)
@click.option("--list", "list_only", is_flag=True, help="List the rounds and stop.")
@click.option("--records", type=click.IntRange(1_000, 1_000_000), default=_RECORDS)
@click.option("--reports", type=click.Path(file_okay=False, path_type=Path), default="reports")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--verbose", is_flag=True, help="Show each response as it happens.")
def gameday(
    *,
    only: tuple[str, ...],
    kinds: tuple[str, ...],
    list_only: bool,
    records: int,
    reports: Path,
    json_file: Path | None,
    verbose: bool,
) -> None:
    """Play every scenario, with its own alert and others, and what is none; judge each."""
    console = terminal.console()
    try:
        chosen = rounds.chosen(kinds, only)
    except BadInput as error:
        console.print(str(error), markup=False)
        sys.exit(COULD_NOT_TELL)
    if list_only:
        for each in chosen:
            click.echo(f"{each.kind.value:9} {each.name}")
        return
    played: list[lines.Line] = []
    for number, each in enumerate(chosen, 1):
        began = time.monotonic()
        found = _played(each, Console(quiet=not verbose), reports, records)
        played += found
        terminal.write_json(json_file, {"rounds": [line.as_json() for line in played]})
        verdict = "right" if all(one.right for one in found) else "WRONG"
        spent = time.monotonic() - began
        console.print(
            f"{number} of {len(chosen)}  {each.kind.value:9} {each.name}: {verdict}, {spent:.0f} s",
            markup=False,
        )
    console.print()
    lines.show(console, played)
    sys.exit(GOOD if all(each.right for each in played) else BAD)


def _played(each: rounds.Round, console: Console, reports: Path, records: int) -> list[lines.Line]:
    """A round that breaks is wrong, and the others are played all the same."""
    try:
        return play(each, console, reports, records)
    except (LabError, RunbookError, OSError, KeyError, httpx.HTTPError, psycopg.Error) as error:
        text = visible(f"{type(error).__name__}: {error}", 300)
        return [lines.of_failure(each, text)]


if __name__ == "__main__":
    gameday()
