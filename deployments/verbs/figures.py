"""The verb of figures over incidents."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import GATEWAY, JSON, TOKEN_FILE


@click.command()
@click.option("--days", default=183, show_default=True, type=click.IntRange(1, 730))
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a line an incident here.",
)
@GATEWAY
@TOKEN_FILE
@JSON
def figures(
    *,
    days: int,
    csv_file: Path | None,
    gateway: str | None,
    token_file: Path | None,
    json_file: Path | None,
) -> None:
    """How soon incidents are detected, acknowledged and recovered: n, median, p90, trend."""
    from deployments import console, figuring

    sys.exit(figuring.show(console.connect(gateway, token_file), days, csv_file, json_file))
