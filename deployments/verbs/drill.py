"""The verb drill: try whether a backup comes back."""

import sys
from pathlib import Path

import click

from deployments.verbs.options import JSON


@click.command()
@click.option("--backup", "key", metavar="KEY", help="This one; else the newest.")
@click.option("--random", "older", is_flag=True, help="One of the older ones, drawn at random.")
@click.option("--history", is_flag=True, help="Show what drills have found so far, and stop.")
@JSON
def drill(*, key: str | None, older: bool, history: bool, json_file: Path | None) -> None:
    """Restore a backup in a throw-away instance and prove it; production is not touched.

    Fetched, loaded, checked, completed from sealed segments, compared record by record with what
    was signed. The result is kept. Exit 0: it passed, 1: it failed, 2: could not tell.
    """
    from deployments import drill as verb

    if [bool(key), older, history].count(True) > 1:
        raise click.UsageError("expected at most one of --backup, --random and --history")
    if history:
        sys.exit(verb.show_history(json_file))
    sys.exit(verb.run(key, json_file, older=older))
