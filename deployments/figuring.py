"""`runbook figures`: the gateway's figures over incidents, as a table and as CSV."""

from pathlib import Path

from rich.table import Column, Table

from deployments import terminal
from deployments.console import Gateway, documented
from deployments.exits import GOOD
from tasks.domain.metrics import duration
from tasks.domain.untrusted import visible


def show(gateway: Gateway, days: int, csv_file: Path | None, json_file: Path | None) -> int:
    """Print the summary, and write the files that were asked for."""
    found = gateway.get(f"/figures.json?days={days}")
    table = Table(
        *("what", "severity", Column("n", justify="right"), Column("median", justify="right")),
        *(Column("p90", justify="right"), "trend"),
        box=None,
        pad_edge=False,
    )
    with documented("figures over incidents"):
        for row in found["summary"]:
            seconds = (_words(row["median_seconds"]), _words(row["p90_seconds"]))
            cells = (row["measured"], row["severity"], row["n"], *seconds, row["trend"])
            table.add_row(*(visible(cell, 60) for cell in cells))
        lines = str(found["csv"])
    console = terminal.console()
    console.print(table, markup=False)
    if csv_file is not None:
        csv_file.write_text(lines, encoding="utf-8")
        console.print(f"{csv_file}  {max(0, lines.count(chr(10)) - 1)} incidents", markup=False)
    terminal.write_json(json_file, found)
    return GOOD


def _words(seconds: float | None) -> str:
    return "-" if seconds is None else duration(float(seconds))
